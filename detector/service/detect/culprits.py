"""Culprits: records that make the processing fail, found by halving, so that one of them does not stop the stream.

When a stretch of records fails, the state of its partition may be half changed. So the partition is restored from its last
checkpoint and read again from there; the stretch is then tried in halves, each behind a checkpoint of its own, until a single
record is left that fails. It is left out and goes to the dead letters, and everything else is processed as if it had never
been there. A new owner of the partition does not know of it and finds it again, in the same way. To find one among n records
takes up to log2(n) restores: 11 of the 2,000 that are taken at once.

Blind to: a fault that kills the process, and one that gives wrong results without failing.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from kafka import TopicPartition

from detector.errors import FatalError

# A fault of ours that every record hits would empty the stream into the dead letters, at a restore each. It shows after a
# start, when no record passes. Later, records of others pass between those that fail; a row of them with nothing in between is
# more than anybody sends by accident, and takes minutes. A lower number would let one client stop a quiet service.
MOST_AT_FIRST = 8
MOST_IN_A_ROW = 64
DETAIL_CHARACTERS = 200


class SuspectStretch(NamedTuple):
    """Consecutive records; `tried` says that they are part of a stretch that failed, `culprit` why a single one did."""

    records: Sequence[Any]
    tried: bool
    culprit: str | None


class _Range(NamedTuple):
    begin: int  # offsets
    end: int


class Culprits:
    """What is known of the partitions of one stage; it is forgotten with the process."""

    def __init__(self) -> None:
        self._ranges: dict[TopicPartition, list[_Range]] = {}
        self._known: dict[TopicPartition, dict[int, str]] = {}
        self._row: list[tuple[TopicPartition, int]] = []  # culprits since the last record that passed
        self._any_passed = False

    def stretches(self, partition: TopicPartition, records: Sequence[Any]) -> Iterator[SuspectStretch]:
        """Cut records, in the order of their offsets, into what is to be processed at once."""
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
        """Note that a stretch failed; return what is wrong with the record if it is a single one.

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
                f"of {partition.topic!r}: {detail}. That is hardly the records' fault. The service has stopped, and nothing is "
                "lost: what it has not written on is read again at the next start. Run another version, and report the fault"
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
        """Forget what lies before the offset at which a partition goes on."""
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
