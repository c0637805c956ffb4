"""A decision as one integer: a million of them fit into memory, where a million objects would take several times as much.

From the lowest bit: 3 bits rank on the ladder of actions, 1 bit simulated, 44 bits expiry in milliseconds, 20 bits number of
the details, and the revision, which may grow without limit.
"""

from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

__all__ = [
    "FOREVER_MS",
    "NO_DETAILS",
    "Details",
    "DetailsTable",
    "details_of",
    "expires_of",
    "is_simulated",
    "pack",
    "rank_of",
    "revision_of",
]

_RANK_BITS: Final = 3
_EXPIRY_AT: Final = _RANK_BITS + 1
_EXPIRY_BITS: Final = 44
_DETAILS_AT: Final = _EXPIRY_AT + _EXPIRY_BITS
_DETAILS_BITS: Final = 20
_REVISION_AT: Final = _DETAILS_AT + _DETAILS_BITS

_RANK: Final = (1 << _RANK_BITS) - 1
_SIMULATED: Final = 1 << _RANK_BITS
_EXPIRY: Final = (1 << _EXPIRY_BITS) - 1
_DETAILS: Final = (1 << _DETAILS_BITS) - 1

FOREVER_MS: Final = _EXPIRY
"""Expiry of a decision that holds until it is lifted; the year 2527."""


class Details(NamedTuple):
    """What few decisions differ in, so each combination is kept once."""

    requests_per_minute: int | None = None
    retry_after_seconds: int | None = None
    status_code: int | None = None
    routes: tuple[str, ...] | None = None


NO_DETAILS: Final = Details()


class DetailsTable:
    """Details by number. Full, with a million combinations in use, it gives those of the first, which has none.

    One thread asks for numbers, another reads `rows`.
    """

    def __init__(self) -> None:
        """Start with number 0: no details."""
        self.rows: list[Details] = [NO_DETAILS]
        self._numbers: dict[Details, int] = {NO_DETAILS: 0}
        self._unused: frozenset[int] = frozenset()  # when `keep` was last called
        self._free: list[int] = []  # and when it was called before that as well

    def __len__(self) -> int:
        """Return how many combinations are known."""
        return len(self._numbers)

    def number(self, details: Details) -> int:
        """Return the number of these details."""
        known = self._numbers.get(details)
        if known is None:
            if self._free:
                known = self._numbers[details] = self._free.pop()
                self._unused -= {known}
                self.rows[known] = details
                return known
            if len(self.rows) > _DETAILS:
                return 0
            known = self._numbers[details] = len(self.rows)
            self.rows.append(details)
        return known

    def keep(self, used: AbstractSet[int]) -> None:
        """Let other details have the numbers that are not `used`, now and when this was last called.

        A number that has just come out of use may be in the hands of the thread that reads.
        """
        unused = frozenset(range(1, len(self.rows))) - used
        self._free = sorted(unused & self._unused)
        for number in self._free:
            if self._numbers.get(self.rows[number]) == number:
                del self._numbers[self.rows[number]]
        self._unused = unused


def pack(rank: int, expires_ms: int, revision: int, details: int = 0, *, simulated: bool = False) -> int:
    """Return a decision as an integer.

    >>> entry = pack(4, 1_800_000_000_000, 7, 3, simulated=True)
    >>> rank_of(entry), expires_of(entry), revision_of(entry), details_of(entry), is_simulated(entry)
    (4, 1800000000000, 7, 3, True)
    """
    expiry = min(max(expires_ms, 0), FOREVER_MS)
    return rank | (_SIMULATED if simulated else 0) | expiry << _EXPIRY_AT | details << _DETAILS_AT | revision << _REVISION_AT


def rank_of(entry: int) -> int:
    """Return the place on the ladder of actions."""
    return entry & _RANK


def is_simulated(entry: int) -> bool:
    """Return whether it is counted only."""
    return bool(entry & _SIMULATED)


def expires_of(entry: int) -> int:
    """Return the expiry in milliseconds since 1970."""
    return entry >> _EXPIRY_AT & _EXPIRY


def details_of(entry: int) -> int:
    """Return the number of the details."""
    return entry >> _DETAILS_AT & _DETAILS


def revision_of(entry: int) -> int:
    """Return the revision."""
    return entry >> _REVISION_AT
