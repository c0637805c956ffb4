"""Checkpoints beside the stream: what holds after them, and what is done when the group has moved on meanwhile."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from kafka import TopicPartition

from detector.config import KafkaSection
from detector.engine.shard import Shard
from detector.errors import CommitRefusedError, NoAnswerError, ServiceError
from detector.service.kafka.clients.protocol import Member
from detector.service.state.checkpoints import Checkpoints, Rhythm
from detector.service.state.restore import Owned
from detector.service.state.store import Checkpoint
from detector.service.telemetry.metrics import Metrics

ONE, TWO = TopicPartition("queries", 0), TopicPartition("queries", 1)
REFUSED = CommitRefusedError("another generation")


class Broker:
    """Takes commits one after the other, with the outcomes that a test gives it; holds them back while it is `busy`."""

    def __init__(self, *outcomes: Exception | None) -> None:
        self.generation = 1
        self.commits: list[tuple[int, dict[TopicPartition, int]]] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self._outcomes = list(outcomes)

    def member(self) -> Member:
        return Member(self.generation, "me")

    def save(self, points: Mapping[TopicPartition, Checkpoint], member: Any, beat: Callable[[], None]) -> None:
        beat()
        assert self.may_go_on.wait(60)
        self.commits.append((member.generation_id, {partition: point.offset for partition, point in points.items()}))
        outcome = self._outcomes.pop(0) if self._outcomes else None
        if outcome is not None:
            raise outcome

    def close(self) -> None:
        """Be an archive."""

    def pending(self) -> Sequence[Any]:
        return ()

    def arrive(self, pending: Sequence[Any], beat: Callable[[], None]) -> None:
        """Be a producer from which everything has arrived."""


def _made(broker: Any, **settings: float) -> Checkpoints:
    section = KafkaSection(checkpoint_seconds=0.001, **settings)
    return Checkpoints(broker, broker, broker.member, section, Metrics())


def _owned(position: int) -> Owned[Shard]:
    return Owned(Shard(), position, 0)


def _until(condition: Callable[[], object], made: Checkpoints, owned: Mapping[TopicPartition, Owned[Shard]]) -> None:
    pause = threading.Event()
    for _ in range(6000):
        if condition():
            return
        made.step(owned)
        pause.wait(0.01)
    raise AssertionError("it did not come to that")


def test_what_comes_after_the_copy_is_not_committed() -> None:
    """While a commit is under way its partition goes on; what is committed is what was copied, and then the rest."""
    broker = Broker()
    broker.may_go_on.clear()
    owned = {ONE: _owned(5)}
    made = _made(broker)
    _until(lambda: made._commit is not None, made, owned)
    owned[ONE].position = 9
    broker.may_go_on.set()
    _until(lambda: owned[ONE].committed == 5, made, owned)
    made.finish(owned)
    assert owned[ONE].committed == 9
    assert [offsets for _, offsets in broker.commits] == [{ONE: 5}, {ONE: 9}]


def test_refused_because_the_group_has_moved_on() -> None:
    """The same copies are committed under the new generation; until then the stage is to process nothing."""
    broker = Broker(REFUSED)
    owned = {ONE: _owned(5)}
    made = _made(broker)
    _until(lambda: made.refused, made, owned)
    assert owned[ONE].committed == 0
    broker.generation = 2
    _until(lambda: owned[ONE].committed == 5, made, owned)
    assert not made.refused
    assert broker.commits == [(1, {ONE: 5}), (2, {ONE: 5})]


def test_refused_and_a_partition_was_lost_meanwhile() -> None:
    """Only what has been ours all along is committed again: a partition that came back is another one."""
    broker = Broker(REFUSED)
    kept, lost = _owned(5), _owned(7)
    made = _made(broker)
    _until(lambda: made.refused, made, {ONE: kept, TWO: lost})
    broker.generation = 2
    again = _owned(8)
    again.committed = 8
    _until(lambda: kept.committed == 5, made, {ONE: kept, TWO: again})
    assert broker.commits[-1] == (2, {ONE: 5})
    assert lost.committed == 0


def test_refused_for_good() -> None:
    """Where the group stands still, whoever has to give partitions up is told, and so is who waits longer than a session."""
    owned = {ONE: _owned(5)}
    with pytest.raises(CommitRefusedError):
        _made(Broker(REFUSED)).finish(owned)
    made = _made(Broker(REFUSED), session_seconds=1)
    with pytest.raises(CommitRefusedError):
        _until(lambda: False, made, owned)


def test_failed() -> None:
    """Any other failure is handed to the loop, and what was dropped is not committed later."""
    broker = Broker(NoAnswerError("no answer"))
    owned = {ONE: _owned(5)}
    made = _made(broker)
    with pytest.raises(NoAnswerError):
        _until(lambda: False, made, owned)
    made.drop()
    assert len(broker.commits) == 1
    assert owned[ONE].committed == 0


def test_rests_are_bounded() -> None:
    """Who writes rests longer than it works, up to what it was given, not when it is hurried, and ends when given up."""
    now = [100.0]
    slept = []

    class Hurry(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout is not None
            slept.append(timeout)
            now[0] += timeout
            return self.is_set()

    hurry, given_up = Hurry(), threading.Event()
    rhythm = Rhythm(1.0, hurry, given_up, lambda: now[0])
    for _ in range(1000):
        now[0] += 0.01
        rhythm()
    assert slept[0] == pytest.approx(0.02)
    assert sum(slept) == pytest.approx(1.0)
    hurried = Rhythm(1.0, hurry, given_up, lambda: now[0])
    hurry.set()
    count = len(slept)
    now[0] += 0.01
    hurried()
    assert len(slept) == count
    given_up.set()
    with pytest.raises(ServiceError):
        hurried()
