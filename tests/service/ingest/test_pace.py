"""Keeping in step: nobody runs far ahead of the slowest, and nobody waits for one that has nothing or does not get on."""

from dataclasses import dataclass, field

from kafka import TopicPartition

from detector.errors import NoAnswerError
from detector.service.ingest.pace import EVERY_S, NO_BOUND, Pace, reached
from detector.service.kafka.clients.protocol import Committed

SLACK_MS = 300
PATIENCE_S = 60.0
OURS, THEIRS = TopicPartition("log", 0), TopicPartition("log", 1)


@dataclass
class Group:
    """What a broker tells of the other worker's partition, and a clock."""

    offset: int | None = None
    moment: float | None = None
    begin: int = 0
    end: int = 0
    first_ms: int = 1000
    now_s: float = 100.0
    away: bool = False
    known: bool = True
    ours_ms: float | None = None
    next_ms: dict[int, int] = field(default_factory=dict)  # offset and time of the first record of use
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pace = Pace(self, ["log"], SLACK_MS, PATIENCE_S, lambda: self.now_s)

    def partitions_of(self, topic: str) -> set[int]:
        assert topic == "log"
        return {0, 1} if self.known else set()

    def committed(self, partitions: list[TopicPartition], timeout_ms: int) -> dict[TopicPartition, Committed]:
        assert timeout_ms
        if self.away:
            raise NoAnswerError
        ours = {} if self.ours_ms is None else reached({OURS: (9, self.ours_ms)})
        if self.offset is None:
            return ours
        text = "" if self.moment is None else next(iter(reached({THEIRS: (0, self.moment)}).values())).text
        return dict.fromkeys(partitions, Committed(self.offset, text)) | ours

    def end_offsets(self, partitions: list[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        assert timeout_ms
        return dict.fromkeys(partitions, self.end)

    def beginning_offsets(self, partitions: list[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        assert timeout_ms
        return dict.fromkeys(partitions, self.begin)

    def first_since(self, times_ms: dict[TopicPartition, int], timeout_ms: int) -> dict[TopicPartition, tuple[int, int] | None]:
        assert timeout_ms
        self.asked.append("first")
        found = [(0, self.first_ms)]
        if any(times_ms.values()):
            found = list(self.next_ms.items())
        return dict.fromkeys(times_ms, found[0] if found else None)

    def bound(self) -> float:
        self.now_s += EVERY_S
        return self.pace.bound({OURS})


def test_the_slowest_bounds() -> None:
    """A worker behind in its backlog lets the others come as far as its time and the slack, as it gets on."""
    group = Group(offset=10, moment=5000.0, end=100)
    assert group.bound() == 5000 + SLACK_MS
    group.offset, group.moment = 20, 7000.0
    assert group.bound() == 7000 + SLACK_MS


def test_one_that_has_read_to_the_end_does_not_bound() -> None:
    """Neither does one for which records have come since we last asked: that is no backlog."""
    group = Group(offset=100, moment=5000.0, end=100)
    assert group.bound() == NO_BOUND
    group.end = 103
    assert group.bound() == NO_BOUND
    assert group.bound() == 5000 + SLACK_MS, "by now it is one"


def test_one_that_has_not_begun_bounds_by_its_first_record() -> None:
    """Before a worker has committed anything, the earliest record of its partition is what it may still bring."""
    group = Group(end=100, first_ms=1234)
    assert group.bound() == 1234 + SLACK_MS
    empty = Group()
    assert empty.bound() == NO_BOUND
    assert not empty.asked


def test_one_that_does_not_get_on_is_waited_for_in_vain_only_for_a_while() -> None:
    """After the patience its partition bounds nobody, until it gets on again."""
    group = Group(offset=10, moment=5000.0, end=100)
    assert group.bound() == 5000 + SLACK_MS
    group.now_s += PATIENCE_S
    assert group.bound() == NO_BOUND
    group.offset = 11
    assert group.bound() == 5000 + SLACK_MS


def test_alone() -> None:
    """Who has all partitions has nobody to wait for, and asks nobody."""
    group = Group(end=100)
    assert group.pace.bound({OURS, THEIRS}) == NO_BOUND
    assert not group.asked


def test_a_silent_broker_leaves_the_last_bound() -> None:
    """When the broker does not answer, the bound stays; it is asked again later."""
    group = Group(offset=10, moment=5000.0, end=100)
    assert group.bound() == 5000 + SLACK_MS
    group.away, group.offset, group.moment = True, 20, 7000.0
    assert group.bound() == 5000 + SLACK_MS
    group.away = False
    assert group.bound() == 7000 + SLACK_MS


def test_a_partition_given_away_bounds_at_once() -> None:
    """From the moment that another worker has a partition nothing is written ahead of it, asked for or not."""
    group = Group(offset=10, moment=5000.0, end=100)
    assert group.pace.bound({OURS, THEIRS}) == NO_BOUND
    assert group.pace.bound({OURS}) == 5000 + SLACK_MS
    group.away = True
    assert group.pace.bound({OURS, THEIRS}) == NO_BOUND
    assert group.pace.bound({OURS}) == -NO_BOUND, "until there is an answer, nothing at all"


def test_who_does_not_know_the_topic_yet_writes_nothing() -> None:
    """A worker that has just joined is given partitions before it has heard how many the topic has."""
    group = Group(offset=10, moment=5000.0, end=100, known=False)
    assert group.bound() == -NO_BOUND
    group.known = True
    assert group.pace.bound({OURS}) == 5000 + SLACK_MS, "asked for at once"


def test_a_backfill_bounds_nobody() -> None:
    """Records older than what is written already, by more than the lateness allowed, are of no use to wait for."""
    group = Group(offset=10, moment=5000.0, end=100_000, ours_ms=5000.0 + 2 * SLACK_MS)
    assert group.bound() == 5000 + SLACK_MS, "not too late yet"
    group.ours_ms = 5001.0 + 2 * SLACK_MS
    assert group.bound() == 5000 + SLACK_MS, "it may have been given away, and catch up"
    group.offset, group.now_s = 11, group.now_s + PATIENCE_S
    assert group.bound() == NO_BOUND
    group.next_ms = {90_000: 9000}
    assert group.bound() == NO_BOUND, "what is of use comes long after"
    group.offset, group.moment = 12, 5002.0
    assert group.bound() == 5002 + SLACK_MS, "it has caught up"


def test_a_partition_that_was_quiet_bounds_by_its_next_record() -> None:
    """It has reached a time long past, but what comes next is new."""
    group = Group(offset=10, moment=5000.0, end=100, ours_ms=100_000.0, next_ms={10: 99_990})
    assert group.bound() == 99_990 + SLACK_MS
