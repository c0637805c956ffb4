"""Places: which record each position of a stream came from."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

__all__ = ["Places"]


class Places:
    """Which record each stream position of a stretch came from, and which of the record's events it was.

    A record takes as many positions as it has outcomes: one in nearly every format, several where it holds several events, none
    where it holds none. `records` (ascending) are the record of each position, None where each record has one.

    >>> places = Places(100, 4, [0, 0, 2, 3])
    >>> [places.find(sequence) for sequence in range(100, 104)]
    [(0, 0), (0, 1), (2, 0), (3, 0)]
    """

    def __init__(self, first: int, length: int, records: Sequence[int] | None = None) -> None:
        """Hold `length` positions from `first` on."""
        self.first = first
        self.held: dict[int, Any] = {}
        """Positions of records that had been held back, and those records: they stand for themselves."""
        self._length = length
        self._records = records

    def __len__(self) -> int:
        """Return how many positions the stretch took."""
        return self._length

    def record(self, sequence: int) -> int:
        """Return which record of the stretch a position came from, counted from 0."""
        at = sequence - self.first
        return at if self._records is None else self._records[at]

    def find(self, sequence: int) -> tuple[int, int]:
        """Return which record a position came from, and which of its events it is, both counted from 0."""
        at = sequence - self.first
        if self._records is None:
            return at, 0
        record = self._records[at]
        return record, at - bisect_left(self._records, record)
