"""Checkpoints beside the stream: what the partitions have reached is copied at once and committed while they go on.

A copy of the clients that changed takes milliseconds, to write them in a transaction takes most of a second. So the loop
copies, one partition at a time between two polls, and a thread writes and commits. It takes its time, or it would take the
processor's from the stream, unless somebody waits for it.

A partition's copy and its offset belong together, whatever is processed meanwhile. What was published before a copy has
arrived before the copy is committed. The transaction carries the generation of the group from after the last copy: where the
group has moved on since, the broker refuses it, and the same copies are committed under the new generation, provided that
their partitions have been ours all along. There is one commit at a time, so they hold in their order.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog
from kafka import TopicPartition
from kafka.errors import CommitFailedError

from detector.config import KafkaSection
from detector.errors import ServiceError
from detector.service.kafka.producer import StageProducer
from detector.service.state.restore import Owned
from detector.service.state.store import Checkpoint, StateStore
from detector.service.telemetry.metrics import Metrics

SPELL_S = 0.004  # of work between two rests
REST = 2.0  # so many times as long
LONGEST_REST_S = 0.1  # after a wait for the broker
LONGEST_RESTS_S = 5.0  # of one commit: a transaction has an end
SLICE_S = 0.5
END_S = 5.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Copy:
    """What a partition had to have saved at a moment, and whose it is."""

    owned: Owned
    checkpoint: Checkpoint


@dataclass(slots=True)
class Commit:
    """A commit under way, of copies made by `begun_s` (seconds since 1970); `error` is what came of it."""

    copies: Mapping[TopicPartition, Copy]
    member: Any
    begun_s: float
    done: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None


class Rhythm:
    """Work and rest of the thread that writes: called while it works, sleeps now and then; `rests_s` is how long in all.

    Raises `ServiceError` when the work was `given_up`.
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
            raise ServiceError("given up")
        worked = self._monotonic() - self._since
        if worked < SPELL_S:
            return
        rest = min(REST * worked, LONGEST_REST_S, self._left_s)
        if rest > 0 and not self._hurry.is_set():
            self._left_s -= rest
            self._hurry.wait(rest)
        self._since = self._monotonic()


class Checkpoints:
    """Makes the checkpoints of one stage, every so many seconds; `member` returns what the group knows us by.

    For one thread at a time. Where a method raises, what was copied is not saved: the caller has to `drop`, and to restore its
    partitions.
    """

    def __init__(
        self, store: StateStore, outbox: StageProducer, member: Callable[[], Any], section: KafkaSection, metrics: Metrics
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._member = member
        self._every_s = section.checkpoint_seconds
        self._session_s = section.session_seconds
        self._metrics = metrics
        self._due = time.monotonic() + self._every_s
        self._copies: dict[TopicPartition, Copy] = {}
        self._commit: Commit | None = None
        self._refused_s: float | None = None
        self._hurry = threading.Event()
        self._given_up = threading.Event()

    @property
    def refused(self) -> bool:
        """Whether the group has moved on without us noticing yet: what we process now may be somebody else's already."""
        return self._refused_s is not None

    def step(self, owned: Mapping[TopicPartition, Owned]) -> None:
        """Do the next small part of what is due: copy a partition, begin a commit, or take note of one that has ended.

        Raises `ServiceError` or the client's own error when a commit failed.
        """
        if self._commit is not None:
            if self._commit.done.is_set():
                self._conclude(self._commit, owned)
        elif (self._copies or time.monotonic() >= self._due) and not self._copy_one(owned):
            self._begin(owned)

    def finish(self, owned: Mapping[TopicPartition, Owned]) -> None:
        """Commit all that was done, and wait for it; raises as `step` does."""
        self._hurry.set()
        try:
            self._see_through(owned)
            while self._copy_one(owned) or self._copies:
                while self._copy_one(owned):
                    pass
                self._begin(owned)
                self._see_through(owned)
            self._metrics.committed("detect")
        finally:
            self._hurry.clear()

    def drop(self) -> None:
        """Wait for the end of a commit under way, whatever comes of it, and forget what was copied."""
        self._hurry.set()
        if self._commit is not None:
            self._wait(self._commit)
        self._hurry.clear()
        self._commit = self._refused_s = None
        self._copies = {}

    def close(self) -> None:
        """Give up what is not committed."""
        self._given_up.set()
        self._hurry.set()
        self._store.close()
        if self._commit is not None:
            self._commit.done.wait(END_S)

    def _copy_one(self, owned: Mapping[TopicPartition, Owned]) -> bool:
        """Copy a partition that has got on since it was last saved, and tell whether there was one."""
        for partition, own in owned.items():
            if own.position > own.committed and partition not in self._copies:
                checkpoint = Checkpoint(own.shard.snapshot(changed_only=True), own.position)
                self._copies[partition] = Copy(own, checkpoint)
                return True
        return False

    def _begin(self, owned: Mapping[TopicPartition, Owned]) -> None:
        self._due = time.monotonic() + self._every_s
        copies, self._copies = _still_ours(self._copies, owned), {}
        if copies:
            self._start(copies)
        else:
            self._metrics.committed("detect")

    def _start(self, copies: Mapping[TopicPartition, Copy]) -> None:
        self._commit = commit = Commit(copies, self._member(), time.time())
        rhythm = Rhythm(min(self._every_s / 2, LONGEST_RESTS_S), self._hurry, self._given_up)
        work = partial(self._work, commit, self._outbox.pending(), rhythm)
        threading.Thread(target=work, name="checkpoint", daemon=True).start()

    def _work(self, commit: Commit, published: Sequence[Any], rhythm: Rhythm) -> None:
        try:
            self._outbox.arrive(published, rhythm)
            points = {partition: copy.checkpoint for partition, copy in commit.copies.items()}
            self._store.save(points, commit.member, rhythm)
        except Exception as error:  # noqa: BLE001  # raised again in the loop
            commit.error = error
        finally:
            commit.done.set()

    def _wait(self, commit: Commit) -> None:
        while not commit.done.wait(SLICE_S):
            self._metrics.beat()

    def _see_through(self, owned: Mapping[TopicPartition, Owned]) -> None:
        """Wait until no commit is under way; raises as `step` does, and when one is refused where the group stands still."""
        while (commit := self._commit) is not None:
            self._wait(commit)
            self._conclude(commit, owned)
            if self._commit is commit and commit.error is not None:
                raise commit.error

    def _conclude(self, commit: Commit, owned: Mapping[TopicPartition, Owned]) -> None:
        """Take note of how a commit has ended; where it was refused, make it again as soon as the group knows us anew."""
        if commit.error is None:
            for copy in commit.copies.values():
                copy.owned.committed = copy.checkpoint.offset
            self._metrics.committed("detect", commit.begun_s)
            self._commit = self._refused_s = None
        elif not isinstance(commit.error, CommitFailedError):
            raise commit.error
        elif not (ours := _still_ours(commit.copies, owned)):
            self._commit = self._refused_s = None
        elif _known_as(self._member()) != _known_as(commit.member):
            log.info("the group has moved on: committing again", partitions=[partition.partition for partition in ours])
            self._refused_s = None
            self._start(ours)
        elif self._refused_s is None:
            self._refused_s = time.monotonic()
        elif time.monotonic() > self._refused_s + self._session_s:
            raise commit.error


def _still_ours(copies: Mapping[TopicPartition, Copy], owned: Mapping[TopicPartition, Owned]) -> dict[TopicPartition, Copy]:
    """Return the copies of partitions that nobody else can have had since."""
    return {partition: copy for partition, copy in copies.items() if owned.get(partition) is copy.owned}


def _known_as(member: Any) -> tuple[int, str]:
    return member.generation_id, member.member_id
