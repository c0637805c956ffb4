"""Restoring a partition from its former owner: the committed offset, the state, and where to continue.

The mark in the state holds the offset to continue at. The group's committed offset serves lag tools, and shows that there
should be state. It is requested first, since the broker answers only after a running commit; a commit that a dead owner left
open is aborted.

What may be wrong, and what the restore does:

- the offset is no longer in the topic (retention): continue at the first offset left, with a warning;
- the group's offsets have expired or were moved: continue at the mark, with a warning where the two differ;
- there are offsets and no state (the topic was deleted, emptied or truncated): refuse, unless the settings say to rebuild;
- clients were spread over another number of partitions: refuse, since most clients would not be found;
- records have no valid seal: leave them out, report them and keep them as dead letters, since one forged record must not stop
  the service. Where the mark itself was overwritten, continue at the group's offset, which was committed with it;
- there are offsets, and no record has a valid seal (another seed, or an older version): refuse, as for lost state;
- the state is of another version, baseline or layout, or damaged: refuse.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import structlog
from kafka import TopicPartition

from detector.config import KafkaSection
from detector.errors import NoAnswerError, SnapshotError
from detector.service.deployment import Deployment, inherited
from detector.service.kafka.clients.protocol import Reader
from detector.service.kafka.topics import Topics
from detector.service.state.codec import Key, State
from detector.service.state.store import StateStore

QUICK_MS = 2000
PATIENT_MS = 10_000
ASKS = 6  # requests; a transaction that cannot be aborted has timed out by the last

log = structlog.get_logger(__name__)


class Keeper(Protocol):
    """What keeps the state of one partition: a shard of clients, or one of links between them."""

    def snapshot(self, *, changed_only: bool = False) -> Mapping[Key, bytes]:
        """Return the state by key; with `changed_only` only what changed since the last call, empty bytes for what is gone."""

    def restore(self, saved: Mapping[Key, bytes]) -> None:
        """Restore what `snapshot` returned into one that has processed nothing; raises `SnapshotError`."""


S = TypeVar("S", bound=Keeper)


@dataclass(slots=True)
class Owned(Generic[S]):
    """A partition that is ours: its shard, the offset to process next, and the one last committed."""

    shard: S
    position: int
    committed: int


class Restorer(Generic[S]):
    """Restores partitions for one stage; it ends early once `stopping` returns true.

    `report_foreign` is called for a partition whose state holds records without a valid seal.
    """

    def __init__(
        self,
        reader: Reader,
        store: StateStore,
        topics: Topics,
        section: KafkaSection,
        partitions: int,
        fresh_shard: Callable[[], S],
        beat: Callable[[], None],
        stopping: Callable[[], bool],
        deployment: Deployment,
        report_foreign: Callable[[int, State], None],
    ) -> None:
        self._reader = reader
        self._store = store
        self._topics = topics
        self._section = section
        self._partitions = partitions
        self._fresh_shard = fresh_shard
        self._beat = beat
        self._stopping = stopping
        self._deployment = deployment
        self._report_foreign = report_foreign

    def restore(self, partition: TopicPartition) -> Owned[S] | None:
        """Return the partition with its state; None when it was stopped meanwhile.

        Raises `SnapshotError` when the state cannot be used, `ServiceError` when Kafka cannot.
        """
        committed = self._committed(partition)
        state = self._store.read(partition.partition, self._stopping)
        if state is None:
            return None
        self._check(partition, committed, state)
        if state.foreign_count:
            self._report_foreign(partition.partition, state)
        if state.mark is not None and (said := inherited(state.mark.deployment, self._deployment)) is not None:
            log.warning("the state is kept", **_where(partition), finding=said)
        shard = self._fresh_shard()
        try:
            shard.restore(state.values)
        except SnapshotError as error:
            raise SnapshotError(f"{self._place(partition)}: {error}") from error
        reached = committed if state.mark is None else state.mark.offset
        begin = self._reader.beginning_offsets([partition], timeout_ms=PATIENT_MS)[partition]
        end = self._reader.end_offsets([partition], timeout_ms=PATIENT_MS)[partition]
        if state.mark is None and reached is not None and not state.values:
            log.warning("rebuilding lost state from what the topic still holds", **_where(partition), begins=begin)
            return Owned(shard, begin, -1)
        if reached is None or not begin <= reached <= end:
            if reached is not None:
                log.warning(
                    "the topic no longer holds the offset reached: continuing at the first offset left",
                    **_where(partition),
                    reached=reached,
                    begins=begin,
                    ends=end,
                )
            return Owned(shard, begin, -1)
        if committed != reached:
            log.warning(
                "continuing where the state ends, not at the offset of the group",
                **_where(partition),
                state_ends=reached,
                group_offset=committed,
            )
        return Owned(shard, reached, reached if committed == reached else -1)

    def _check(self, partition: TopicPartition, committed: int | None, state: State) -> None:
        mark = state.mark
        if mark is None and state.values and committed is None:
            raise SnapshotError(
                f"{self._place(partition)}: another program has overwritten the mark, and group {self._section.group_id!r} "
                "has no offset to continue at: use another [kafka] prefix and group_id, whose state begins empty, and let no "
                "other program write to the topic"
            )
        if mark is None and not state.values and state.foreign_count and committed is not None and not self._rebuilds:
            raise SnapshotError(
                f"{self._place(partition)}: none of {state.foreign_count:,} records has a valid seal: they were written under "
                "another seed, by an older version, or by another program. Set [engine] seed to what it was, or, to build "
                "the state anew from the events that are left, [kafka] lost_state (DETECTOR_KAFKA__LOST_STATE) to rebuild"
            )
        if mark is None and not state.values and committed is not None and not self._rebuilds:
            raise SnapshotError(
                f"{self._place(partition)}: there is no state, but group {self._section.group_id!r} has processed "
                f"{partition.topic!r} up to offset {committed}: was the topic deleted or emptied? To build the state anew from "
                "the events that are left, set [kafka] lost_state (DETECTOR_KAFKA__LOST_STATE) to rebuild"
            )
        if mark is not None and mark.partitions != self._partitions:
            raise SnapshotError(
                f"{self._place(partition)}: the state was saved when there were {mark.partitions} partitions; now there are "
                f"{self._partitions}, and most clients would not be found. Use another [kafka] prefix and group_id, with "
                "topics of the new number of partitions; its state begins empty"
            )

    @property
    def _rebuilds(self) -> bool:
        return self._section.lost_state == "rebuild"

    def _place(self, partition: TopicPartition) -> str:
        return f"topic {self._topics.state!r}, partition {partition.partition}"

    def _committed(self, partition: TopicPartition) -> int | None:
        """Return the offset of the group; an unfinished commit of a former owner is aborted first."""
        try:
            return self._offset(partition, QUICK_MS)
        except NoAnswerError:
            self._store.release(partition.partition)
        for _ in range(ASKS - 1):
            self._beat()
            try:
                return self._offset(partition, PATIENT_MS)
            except NoAnswerError:
                if self._stopping():
                    return None
        return self._offset(partition, PATIENT_MS)

    def _offset(self, partition: TopicPartition, timeout_ms: int) -> int | None:
        found = self._reader.committed([partition], timeout_ms=timeout_ms).get(partition)
        return None if found is None else found.offset


def _where(partition: TopicPartition) -> dict[str, Any]:
    return {"topic": partition.topic, "partition": partition.partition}
