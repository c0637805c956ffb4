"""Asynchronous checkpoints: the state of a partition is copied in the loop, and committed by a thread meanwhile.

A copy of the changed clients takes milliseconds; writing them in a transaction takes most of a second. So the loop copies one
partition at a time, between two polls, and a thread writes and commits. The thread rests for twice its working time, since it
shares the CPU with the stream. It does not rest while the loop waits for it.

A partition's copy and its offset belong together, whatever is processed meanwhile. All that was published before a copy is
acknowledged before the copy is committed. The transaction contains the group generation as of the last copy. If the group has
rebalanced since, the broker refuses it. Then the same copies are committed under the new generation, for the partitions that
stayed ours without interruption. Only one commit runs at a time, so commits take effect in their order.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog
from kafka import TopicPartition

from detector.config import KafkaSection
from detector.errors import CommitRefusedError, ServiceError
from detector.service.kafka.clients.protocol import Delivery, Member
from detector.service.kafka.producer import StageProducer
from detector.service.state.restore import Owned
from detector.service.state.store import Checkpoint, StateStore
from detector.service.telemetry.metrics import Metrics, StageName

SPELL_S = 0.004  # of work before a rest
REST = 2.0  # times the working time
LONGEST_REST_S = 0.1  # of one rest, since the working time may include a wait for the broker
LONGEST_RESTS_S = 5.0  # of all rests in one commit, since a transaction times out
SLICE_S = 0.5
END_S = 5.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Copy:
    """A partition's checkpoint, and the `Owned` it was copied from."""

    owned: Owned[Any]
    checkpoint: Checkpoint


@dataclass(slots=True)
class Commit:
    """A running commit of copies made before `begun_s` (seconds since 1970); `error` is set if it failed."""

    copies: Mapping[TopicPartition, Copy]
    member: Member
    begun_s: float
    done: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None


class Rhythm:
    """Throttles the writing thread, which calls it often: it sleeps when it is time, for `rests_s` seconds in total.

    Raises `ServiceError` once `given_up` is set.
    """

    def __init__(
        self,
        rests_s: float,
        hurry: threading.Event,
        given_up: threading.Event,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._left_s = rests_s
        self._hurry = hurry
        self._given_up = given_up
        self._since = monotonic()

    def __call__(self) -> None:
        """Rest, if it is time."""
        if self._given_up.is_set():
            raise ServiceError("the checkpoint was given up")
        worked = self._monotonic() - self._since
        if worked < SPELL_S:
            return
        rest = min(REST * worked, LONGEST_REST_S, self._left_s)
        if rest > 0 and not self._hurry.is_set():
            self._left_s -= rest
            self._hurry.wait(rest)
        self._since = self._monotonic()


class Checkpoints:
    """Makes the checkpoints of one stage, every `checkpoint_seconds`; `member` says who we are in the group.

    Not thread-safe. When a method raises, the copies are not saved: the caller must `drop`, and restore its partitions.
    """

    def __init__(
        self,
        store: StateStore,
        producer: StageProducer,
        member: Callable[[], Member],
        section: KafkaSection,
        metrics: Metrics,
        stage: StageName = "detect",
    ) -> None:
        self._store = store
        self._producer = producer
        self._member = member
        self._every_s = section.checkpoint_seconds
        self._session_s = section.session_seconds
        self._metrics = metrics
        self._stage = stage
        self._due = time.monotonic() + self._every_s
        self._copies: dict[TopicPartition, Copy] = {}
        self._commit: Commit | None = None
        self._refused_s: float | None = None
        self._hurry = threading.Event()
        self._given_up = threading.Event()

    @property
    def refused(self) -> bool:
        """Whether the group has rebalanced and we have not noticed yet: our partitions may be another member's already."""
        return self._refused_s is not None

    def step(self, owned: Mapping[TopicPartition, Owned[Any]]) -> None:
        """Do the next small step: copy a partition, start a commit, or handle one that has ended.

        Raises `ServiceError` when a commit failed.
        """
        if self._commit is not None:
            if self._commit.done.is_set():
                self._conclude(self._commit, owned)
        elif (self._copies or time.monotonic() >= self._due) and not self._copy_one(owned):
            self._begin(owned)

    def finish(self, owned: Mapping[TopicPartition, Owned[Any]]) -> None:
        """Commit everything processed so far, and wait for it; raises as `step` does."""
        self._hurry.set()
        try:
            self._see_through(owned)
            while self._copy_one(owned) or self._copies:
                while self._copy_one(owned):
                    pass
                self._begin(owned)
                self._see_through(owned)
            self._metrics.committed(self._stage)
        finally:
            self._hurry.clear()

    def drop(self) -> None:
        """Wait for a running commit, whatever its outcome, and forget all copies."""
        self._hurry.set()
        if self._commit is not None:
            self._wait(self._commit)
        self._hurry.clear()
        self._commit = self._refused_s = None
        self._copies = {}

    def close(self) -> None:
        """Give up a running commit."""
        self._given_up.set()
        self._hurry.set()
        self._store.close()
        if self._commit is not None:
            self._commit.done.wait(END_S)

    def _copy_one(self, owned: Mapping[TopicPartition, Owned[Any]]) -> bool:
        """Copy a partition that has advanced since its last commit; return whether there was one."""
        for partition, own in owned.items():
            if own.position > own.committed and partition not in self._copies:
                checkpoint = Checkpoint(own.shard.snapshot(changed_only=True), own.position)
                self._copies[partition] = Copy(own, checkpoint)
                return True
        return False

    def _begin(self, owned: Mapping[TopicPartition, Owned[Any]]) -> None:
        self._due = time.monotonic() + self._every_s
        copies, self._copies = _still_ours(self._copies, owned), {}
        if copies:
            self._start(copies)
        else:
            self._metrics.committed(self._stage)

    def _start(self, copies: Mapping[TopicPartition, Copy]) -> None:
        self._commit = commit = Commit(copies, self._member(), time.time())
        rhythm = Rhythm(min(self._every_s / 2, LONGEST_RESTS_S), self._hurry, self._given_up)
        work = partial(self._work, commit, self._producer.pending(), rhythm)
        threading.Thread(target=work, name="checkpoint", daemon=True).start()

    def _work(self, commit: Commit, published: Sequence[Delivery], rhythm: Rhythm) -> None:
        try:
            self._producer.arrive(published, rhythm)
            points = {partition: copy.checkpoint for partition, copy in commit.copies.items()}
            self._store.save(points, commit.member, rhythm)
        except Exception as error:  # noqa: BLE001  # the loop raises it
            commit.error = error
        finally:
            commit.done.set()

    def _wait(self, commit: Commit) -> None:
        while not commit.done.wait(SLICE_S):
            self._metrics.beat()

    def _see_through(self, owned: Mapping[TopicPartition, Owned[Any]]) -> None:
        """Wait until no commit runs; raises as `step` does, and when one is refused although the group has not changed."""
        while (commit := self._commit) is not None:
            self._wait(commit)
            self._conclude(commit, owned)
            if self._commit is commit and commit.error is not None:
                raise commit.error

    def _conclude(self, commit: Commit, owned: Mapping[TopicPartition, Owned[Any]]) -> None:
        """Handle the end of a commit; after a refusal, commit again once we have the new generation of the group."""
        if commit.error is None:
            for copy in commit.copies.values():
                copy.owned.committed = copy.checkpoint.offset
            self._metrics.committed(self._stage, commit.begun_s)
            self._commit = self._refused_s = None
        elif not isinstance(commit.error, CommitRefusedError):
            raise commit.error
        elif not (ours := _still_ours(commit.copies, owned)):
            self._commit = self._refused_s = None
        elif _known_as(self._member()) != _known_as(commit.member):
            log.info("the group has rebalanced: committing again", partitions=[partition.partition for partition in ours])
            self._refused_s = None
            self._start(ours)
        elif self._refused_s is None:
            self._refused_s = time.monotonic()
        elif time.monotonic() > self._refused_s + self._session_s:
            raise commit.error


def _still_ours(
    copies: Mapping[TopicPartition, Copy], owned: Mapping[TopicPartition, Owned[Any]]
) -> dict[TopicPartition, Copy]:
    """Return the copies of partitions that no other member can have owned since."""
    return {partition: copy for partition, copy in copies.items() if owned.get(partition) is copy.owned}


def _known_as(member: Member) -> tuple[int, str]:
    return member.generation_id, member.member_id
