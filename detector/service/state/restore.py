"""Taking a partition over: how far its former owner came, its state, and where to go on.

The state bears a mark of the offset it has seen, which is where to go on; what the group has committed is for lag tools, and
the evidence that there ought to be state. The offset is asked for first, which waits for a commit that is under way; one that
a dead owner has left open is ended.

What may be wrong, and what is done then:

- the offset is no longer in the topic (retention): on from the beginning of what is left, with a warning;
- the group's offsets have expired, or were moved: on from the mark, with a warning where the two differ;
- there are offsets and no state (the topic was deleted, emptied or truncated): refused, unless the settings say to rebuild;
- clients were dealt over another number of partitions: refused, since they would be looked for in the wrong one;
- records do not bear our seal: left out, reported and sent to the dead letters, since one record that somebody has forged must
  not stop the service; where the mark itself is gone, on at the offset of the group, which was committed with it;
- there are offsets, and nothing bears our seal (another seed, or an older version): refused like state that is lost;
- the state is of another version, baseline or layout, or damaged: refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from kafka import TopicPartition
from kafka.errors import KafkaTimeoutError

from detector.config import KafkaSection
from detector.engine.shard import Shard
from detector.errors import SnapshotError
from detector.service.deployment import Deployment, inherited
from detector.service.kafka.topics import Topics
from detector.service.state.codec import State
from detector.service.state.store import StateStore

QUICK_MS = 2000
PATIENT_MS = 10_000
ASKS = 6  # a transaction that cannot be ended times out by then

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Owned:
    """A partition that is ours: its shard, the offset to process next, and the one last committed."""

    shard: Shard
    position: int
    committed: int


class Restorer:
    """Restores partitions for one stage; `stopping` tells that it need not be finished.

    `strangers` is told of a partition whose state holds records that are not ours.
    """

    def __init__(
        self,
        consumer: Any,
        store: StateStore,
        topics: Topics,
        section: KafkaSection,
        partitions: int,
        fresh_shard: Callable[[], Shard],
        beat: Callable[[], None],
        stopping: Callable[[], bool],
        deployment: Deployment,
        strangers: Callable[[int, State], None],
    ) -> None:
        self._consumer = consumer
        self._store = store
        self._topics = topics
        self._section = section
        self._partitions = partitions
        self._fresh_shard = fresh_shard
        self._beat = beat
        self._stopping = stopping
        self._deployment = deployment
        self._strangers = strangers

    def restore(self, partition: TopicPartition) -> Owned | None:
        """Return the partition with its state; None when it was told to stop meanwhile.

        Raises `SnapshotError` when the state cannot be used, `ServiceError` or the client's own error when Kafka cannot.
        """
        committed = self._committed(partition)
        state = self._store.read(partition.partition, self._stopping)
        if state is None:
            return None
        self._check(partition, committed, state)
        if state.strangers:
            self._strangers(partition.partition, state)
        if state.mark is not None and (said := inherited(state.mark.deployment, self._deployment)) is not None:
            log.warning("the state goes on", **_where(partition), finding=said)
        shard = self._fresh_shard()
        try:
            shard.restore(state.values)
        except SnapshotError as error:
            raise SnapshotError(f"{self._place(partition)}: {error}") from error
        reached = committed if state.mark is None else state.mark.offset
        begin = self._consumer.beginning_offsets([partition], timeout_ms=PATIENT_MS)[partition]
        end = self._consumer.end_offsets([partition], timeout_ms=PATIENT_MS)[partition]
        if state.mark is None and reached is not None and not state.values:
            log.warning("rebuilding lost state from what the topic still holds", **_where(partition), begins=begin)
            return Owned(shard, begin, -1)
        if reached is None or not begin <= reached <= end:
            if reached is not None:
                log.warning(
                    "the topic no longer holds the offset reached: going on at the beginning of what is left",
                    **_where(partition),
                    reached=reached,
                    begins=begin,
                    ends=end,
                )
            return Owned(shard, begin, -1)
        if committed != reached:
            log.warning(
                "going on where the state ends, not at the offset of the group",
                **_where(partition),
                state_ends=reached,
                group_offset=committed,
            )
        return Owned(shard, reached, reached if committed == reached else -1)

    def _check(self, partition: TopicPartition, committed: int | None, state: State) -> None:
        mark = state.mark
        if mark is None and state.values and committed is None:
            raise SnapshotError(
                f"{self._place(partition)}: the mark was overwritten by somebody else, and group {self._section.group_id!r} "
                "has no offset to go on at: use another [kafka] prefix and group_id, whose state begins empty, and let nobody "
                "else write to the topic"
            )
        if mark is None and not state.values and state.strangers and committed is not None and not self._rebuilds:
            raise SnapshotError(
                f"{self._place(partition)}: none of {state.strangers:,} records bears the seal of our seed: they were written "
                "under another seed, by an older version, or by somebody else. Set [engine] seed to what it was, or, to build "
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
                f"{self._place(partition)}: the state was saved when clients were dealt over {mark.partitions} partitions, now "
                f"there are {self._partitions}, and most clients would be looked for in the wrong one: use another [kafka] "
                "prefix and group_id, with topics of the new size, whose state begins empty"
            )

    @property
    def _rebuilds(self) -> bool:
        return self._section.lost_state == "rebuild"

    def _place(self, partition: TopicPartition) -> str:
        return f"topic {self._topics.state!r}, partition {partition.partition}"

    def _committed(self, partition: TopicPartition) -> int | None:
        """Return the offset of the group; an unfinished commit of a former owner is ended first."""
        try:
            return self._offset(partition, QUICK_MS)
        except KafkaTimeoutError:
            self._store.release(partition.partition)
        for _ in range(ASKS - 1):
            self._beat()
            try:
                return self._offset(partition, PATIENT_MS)
            except KafkaTimeoutError:
                if self._stopping():
                    return None
        return self._offset(partition, PATIENT_MS)

    def _offset(self, partition: TopicPartition, timeout_ms: int) -> int | None:
        offset: int | None = self._consumer.committed(partition, timeout_ms=timeout_ms)
        return offset


def _where(partition: TopicPartition) -> dict[str, Any]:
    return {"topic": partition.topic, "partition": partition.partition}
