"""Culprits: records that make the processing fail. They are found by bisection, so that one record does not stop the stream.

When a range of records fails, the state of its partition may be half changed. So the partition is restored from its last
checkpoint and read again from there. The range is then tried in halves, each after its own checkpoint, until a single failing
record is left. That record becomes a dead letter; everything else is processed as if it had never been there. A new owner of
the partition does not know the culprit and finds it again in the same way. Finding one among n records takes up to log2(n)
restores: 11 for the 2,000 records that are taken at once.

Blind to: a fault that kills the process, and one that gives wrong results without an error.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from kafka import TopicPartition

from detector.errors import FatalError

# A bug that every record hits would turn the whole stream into dead letters, at one restore each. It shows right after a start,
# when no record passes: 8 failures in a row are enough. Later, good records pass between those that fail. 64 in a row with
# none in between take minutes and do not happen by accident; a lower number would let one client stop a quiet service.
MOST_AT_FIRST = 8
MOST_IN_A_ROW = 64
DETAIL_CHARACTERS = 200


class SuspectStretch(NamedTuple):
    """Consecutive records; `tried` says that they are part of a range that failed, `culprit` why a single record failed."""

    records: Sequence[Any]
    tried: bool
    culprit: str | None


class _Range(NamedTuple):
    begin: int  # offsets
    end: int


class Culprits:
    """The failing ranges and culprits of one stage's partitions; kept in memory only."""

    def __init__(self) -> None:
        self._ranges: dict[TopicPartition, list[_Range]] = {}
        self._known: dict[TopicPartition, dict[int, str]] = {}
        self._row: list[tuple[TopicPartition, int]] = []  # culprits since the last record that passed
        self._any_passed = False

    def stretches(self, partition: TopicPartition, records: Sequence[Any]) -> Iterator[SuspectStretch]:
        """Cut records, ordered by offset, into the stretches to be processed one at a time."""
        ranges, known = self._ranges.get(partition), self._known.get(partition, {})
        if not ranges and not known:
            yield SuspectStretch(records, tried=False, culprit=None)
            return

        def stretch_of(record: Any) -> tuple[int, bool]:
            if record.offset in known:
                return record.offset, True
            place = next((r.begin for r in ranges or () if r.begin <= record.offset < r.end), -1)
            return place, False

        for (place, bad), some in groupby(records, stretch_of):
            yield SuspectStretch(list(some), tried=place >= 0, culprit=known[place] if bad else None)

    def failed(self, partition: TopicPartition, records: Sequence[Any], error: Exception) -> str | None:
        """Note that a stretch failed; return the reason if it is a single record.

        Raises `FatalError` when too many records in a row have failed alone.
        """
        begin, end = records[0].offset, records[-1].offset + 1
        left = [_Range(*found) for found in _outside(self._ranges.get(partition, []), begin, end)]
        if len(records) > 1:
            middle = records[len(records) // 2].offset
            self._ranges[partition] = sorted([*left, _Range(begin, middle), _Range(middle, end)])
            return None
        self._ranges[partition] = left
        detail = f"processing it failed: {type(error).__name__}: {error}"[:DETAIL_CHARACTERS]
        self._known.setdefault(partition, {})[begin] = detail
        self._row.append((partition, begin))
        if len(self._row) >= (MOST_IN_A_ROW if self._any_passed else MOST_AT_FIRST):
            raise FatalError(
                f"{len(self._row)} records in a row failed, the last one at offset {begin} of partition {partition.partition} "
                f"of {partition.topic!r}: {detail}. The records are hardly the cause. The service has stopped, and nothing is "
                "lost: what it has not committed is read again at the next start. Run another version, and report the error"
            ) from error
        return detail

    def passed(self, partition: TopicPartition, records: Sequence[Any]) -> None:
        """Note that records were processed."""
        self._any_passed = True
        if self._row and (self._row[-1][0] != partition or self._row[-1][1] < records[-1].offset):
            self._row = []
        if ranges := self._ranges.get(partition):
            begin, end = records[0].offset, records[-1].offset + 1
            self._ranges[partition] = [_Range(*found) for found in _outside(ranges, begin, end)]

    def restored(self, partition: TopicPartition, position: int) -> None:
        """Forget culprits and ranges before the offset at which a partition continues."""
        known: Mapping[int, str] = self._known.get(partition, {})
        self._known[partition] = {offset: detail for offset, detail in known.items() if offset >= position}
        self._ranges[partition] = [found for found in self._ranges.get(partition, []) if found.end > position]


def _outside(ranges: Sequence[_Range], begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield what is left of the ranges without the offsets from `begin` to before `end`."""
    for found in ranges:
        if found.begin < min(begin, found.end):
            yield found.begin, min(begin, found.end)
        if max(end, found.begin) < found.end:
            yield max(end, found.begin), found.end
