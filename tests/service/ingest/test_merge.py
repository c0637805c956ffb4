"""Merging partitions by time: nothing is lost or stuck, and catching up keeps the order of time."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition

from detector.service.ingest import merge
from detector.service.ingest.merge import Merger


@dataclass(frozen=True)
class Record:
    """What merging sees of a record."""

    timestamp: int
    offset: int
    value: bytes = b"x"


@dataclass
class Log:
    """Partitions that hand out a few records at a time, as a broker does, and none while they are paused."""

    partitions: dict[TopicPartition, list[Record]]
    at: dict[TopicPartition, int] = field(default_factory=dict)
    paused: set[TopicPartition] = field(default_factory=set)

    def position(self, partition: TopicPartition) -> int:
        return self.at.get(partition, 0)

    def highwater(self, partition: TopicPartition) -> int | None:
        return len(self.partitions[partition]) if partition in self.at else None

    def pause(self, *partitions: TopicPartition) -> None:
        self.paused.update(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self.paused.difference_update(partitions)

    def poll(self, partition: TopicPartition, count: int) -> dict[TopicPartition, list[Record]]:
        if partition in self.paused:
            return {}
        at = self.at.setdefault(partition, 0)
        self.at[partition] = min(at + count, len(self.partitions[partition]))
        return {partition: self.partitions[partition][at : at + count]}


def _log(times: list[list[int]]) -> Log:
    return Log(
        {
            TopicPartition("log", number): [Record(moment, offset) for offset, moment in enumerate(moments)]
            for number, moments in enumerate(times)
        }
    )


def _drain(log: Log, count: int, enough: int) -> list[tuple[TopicPartition, Record]]:
    merger = Merger()
    before, merge.ENOUGH = merge.ENOUGH, enough
    out: list[tuple[TopicPartition, Record]] = []
    try:
        for _ in range(10_000):
            for partition in log.partitions:
                merger.add(log.poll(partition, count), log.partitions)
                out += merger.due(log)
            if len(out) == sum(map(len, log.partitions.values())):
                break
    finally:
        merge.ENOUGH = before
    return out


@given(
    times=st.lists(st.lists(st.integers(0, 50), max_size=30), min_size=1, max_size=4),
    count=st.integers(1, 9),
    enough=st.integers(1, 12),
)
def test_everything_comes_out(times: list[list[int]], count: int, enough: int) -> None:
    """Whatever the times, every record comes out, once, and those of a partition in their order."""
    log = _log(times)
    out = _drain(log, count, enough)
    for partition, records in log.partitions.items():
        assert [record for place, record in out if place == partition] == records


@given(times=st.lists(st.lists(st.integers(0, 50), max_size=30).map(sorted), min_size=1, max_size=4), count=st.integers(1, 9))
def test_catching_up_keeps_the_order(times: list[list[int]], count: int) -> None:
    """When each partition is in the order of time, so is what comes out, however unevenly they are read."""
    out = [record.timestamp for _, record in _drain(_log(times), count, 100)]
    assert out == sorted(out)


def test_lost_partitions_are_forgotten() -> None:
    """What waits of a partition that somebody else has now is dropped, or it would be written twice."""
    log = _log([[1, 2], [3, 4]])
    merger = Merger()
    first, second = log.partitions
    merger.add(log.poll(first, 2) | log.poll(second, 2), [first, second])
    assert len(merger) == 4
    merger.add({}, [second])
    assert [record.timestamp for _, record in merger.due(log)] == [3, 4]


def test_a_backfill_holds_nobody_back() -> None:
    """Old records without end, on one partition, let the new ones of the others out after a while, and come out themselves."""
    now_ms, lateness_ms = 10_000_000, 600_000
    log = _log([[now_ms], [now_ms + 1]])
    now_s = 0.0
    merger = Merger(lateness_ms, lambda: now_s)
    fresh, old = log.partitions
    for partition in log.partitions:
        merger.add(log.poll(partition, 5), log.partitions)
    assert [record.timestamp for _, record in merger.due(log)] == [now_ms, now_ms + 1]
    log.partitions[old] += [Record(moment, offset) for offset, moment in enumerate(range(50_000), 1)]
    log.partitions[fresh] += [Record(now_ms + 5000 + i, i) for i in range(1, 10)]
    merger.add(log.poll(old, 500), log.partitions)
    merger.add(log.poll(fresh, 500), log.partitions)
    assert {place for place, _ in merger.due(log)} == {old}, "it may have been given away, and catch up"
    now_s = merge.PATIENCE_S + 1
    merger.add(log.poll(old, 500), log.partitions)
    out = list(merger.due(log))
    assert [record.timestamp for place, record in out if place == fresh] == [now_ms + 5000 + i for i in range(1, 10)]
    assert len([place for place, _ in out if place == old]) == 500


def test_what_is_not_too_late_is_waited_for() -> None:
    """A partition behind by less than the lateness allowed still holds the others back."""
    now_ms, lateness_ms = 10_000_000, 600_000
    log = _log([[now_ms], [now_ms - lateness_ms + 1, *range(now_ms - 1000, now_ms - 900)]])
    merger = Merger(lateness_ms)
    ahead, behind = log.partitions
    merger.add(log.poll(ahead, 5) | log.poll(behind, 0), log.partitions)
    assert not list(merger.due(log))
    merger.add(log.poll(behind, 1), log.partitions)
    assert [place for place, _ in merger.due(log)] == [behind]
