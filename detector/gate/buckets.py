"""Rates per key, one number each: when the bucket will be full again.

A bucket that is full equals no bucket, so full ones are dropped, and callers who make up keys cannot fill the memory.
"""

from typing import Final

__all__ = ["Buckets"]

_SWEEP_AT: Final = 10_000


class Buckets:
    """Lets `burst` requests of a key through at once, and `per_second` on average.

    >>> buckets = Buckets()
    >>> [buckets.take("a", 2.0, 1.0, now_s) for now_s in (0.0, 0.1, 0.5)]
    [0.0, 0.4, 0.0]
    """

    def __init__(self) -> None:
        """Start with every bucket full."""
        self._full_s: dict[str, float] = {}
        self._sweep_at = _SWEEP_AT

    def __len__(self) -> int:
        """Return how many buckets are not known to be full."""
        return len(self._full_s)

    def take(self, key: str, per_second: float, burst: float, now_s: float) -> float:
        """Take one request; return 0.0, or for how many seconds there will be none left."""
        gap_s = 1.0 / per_second
        full_s = max(self._full_s.get(key, now_s), now_s)
        wait_s = full_s - now_s - (burst - 1.0) * gap_s
        if wait_s > 1e-9:
            return wait_s
        self._full_s[key] = full_s + gap_s
        if len(self._full_s) > self._sweep_at:
            self._sweep(now_s)
        return 0.0

    def _sweep(self, now_s: float) -> None:
        self._full_s = {key: full_s for key, full_s in self._full_s.items() if full_s > now_s}
        self._sweep_at = max(_SWEEP_AT, 2 * len(self._full_s))
