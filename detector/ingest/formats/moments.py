"""Times of events as text, read fast: each second is parsed once, and the thousandths are added to it."""

import datetime as dt
from typing import Final

from detector.contracts.moment import event_ms

__all__ = ["Moments"]

_CACHED_SECONDS: Final = 1 << 14
_THOUSANDTHS: Final = {f"{i:03}": i for i in range(1000)}


class Moments:
    """Reads texts like `event_ms`, and remembers the seconds that it has read; one for each thread.

    >>> Moments(None).of("2026-05-04T10:31:07.412Z")
    1777890667412
    """

    def __init__(self, zone: dt.tzinfo | None) -> None:
        """Start with an empty cache; text without an offset is local time of `zone`, and refused where that is None."""
        self._zone = zone
        # Two, because text with its fraction cut out must not be mistaken for text without one.
        self._seconds: dict[str, int] = {}
        self._whole_seconds: dict[str, int] = {}

    def of(self, text: str) -> int:
        """Return a time in milliseconds. Raises ValueError."""
        start = self._seconds.get(text[:20] + text[23:])  # all but three decimals, the usual form
        added = _THOUSANDTHS.get(text[20:23])
        if start is None or added is None:
            return self._read(text)
        return start + added

    def _read(self, text: str) -> int:
        if text[19:20] != ".":
            time = self._whole_seconds.get(text)
            if time is None:
                time = _keep(self._whole_seconds, text, event_ms(text, self._zone))
            return time
        fraction = text[20:]
        second = text[:20] + fraction.lstrip("0123456789")
        start, added = self._seconds.get(second), _THOUSANDTHS.get(fraction[:3])
        if start is not None and added is not None:
            return start + added
        time = event_ms(text, self._zone)
        if added is not None and text[17:19] != "60":  # the fraction of a leap second does not count
            _keep(self._seconds, second, time - added)
        return time


def _keep(cache: dict[str, int], text: str, time: int) -> int:
    if len(cache) >= _CACHED_SECONDS:
        cache.clear()
    cache[text] = time
    return time
