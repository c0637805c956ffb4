"""The detect stage: normalised events in, alerts and decisions out, state and offsets in one transaction.

Each partition of the queries topic has a shard of its own. Alerts and decisions leave at once; repeating them is harmless by
their ids. Every few seconds a checkpoint writes the clients that changed to the state topic and the offsets reached to the
group, in one transaction: either both hold or neither. A new owner reads the offset first and the state after it, so that the
state is never older than the offset; an event that the state has already seen is known by its id.

A worker that has lost its partitions without noticing (a zombie) cannot commit: the transaction carries its generation of the
group, and the broker refuses it. It then forgets everything and starts from what was committed.
"""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import structlog
from kafka import TopicPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.errors import FencedInstanceIdError, KafkaError, KafkaTimeoutError

from detector import render
from detector.clock import Clock
from detector.config import Config
from detector.engine import Shard
from detector.errors import ServiceError, SnapshotError
from detector.ingest.batch import Batch
from detector.models.baseline import Baseline
from detector.pipeline import NO_BASELINE, assembler_for
from detector.service.archive import Archive
from detector.service.connection import Connection
from detector.service.metrics import Metrics, records_waiting
from detector.service.outbox import Origin, Outbox
from detector.service.topics import Topics
from detector.service.wire import decode

MOST_RECORDS = 2000
QUICK_MS = 2000
PATIENT_MS = 30_000

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Owned:
    """A partition that is ours: its shard, the offset to process next, and the one last committed."""

    shard: Shard
    position: int
    committed: int


class _Hand(ConsumerRebalanceListener):  # type: ignore[misc]  # the client ships without types
    """Takes partitions over and gives them up; called from the client's own thread."""

    def __init__(self, stage: "DetectStage") -> None:
        self._stage = stage

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._stage.gained(assigned)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._stage.giving_up(revoked)

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        self._stage.lost(lost)


class DetectStage:
    """Reads the queries topic as one member of the detect group."""

    def __init__(
        self,
        config: Config,
        baseline: Baseline | None,
        connection: Connection,
        topics: Topics,
        clock: Clock,
        member: str | None,
        metrics: Metrics | None = None,
    ) -> None:
        self._settings = config.engine_settings()
        self._baselines = dict(baseline.models) if baseline else {}
        self._stamp = render.Stamp(baseline.version if baseline else NO_BASELINE, config.version, self._settings.terms)
        self._assembler = assembler_for(config, self._baselines, clock)
        self._topics = topics
        self._session_s = config.kafka.session_seconds
        self._every_s = config.kafka.checkpoint_seconds
        self._keyed = config.kafka.keyed
        self._clock = clock
        self._metrics = metrics or Metrics()
        self._measured = 0.0
        self._joined = False
        self._archive = Archive(connection, topics, config.kafka.group_id, self._metrics.beat)
        self._owned: dict[TopicPartition, Owned] = {}
        self._fresh: set[TopicPartition] = set()
        self._lock = threading.RLock()
        self._due = time.monotonic() + self._every_s
        self._polled = time.monotonic()
        self._consumer = connection.consumer(
            group=config.kafka.group_id, member=member, max_poll_records=MOST_RECORDS, fetch_max_wait_ms=50
        )
        try:
            self._outbox = Outbox(connection, topics, self._metrics)
        except ServiceError:
            self._consumer.close(autocommit=False, timeout_ms=1000)
            raise
        names = list(config.kafka.input_topics) if self._keyed else [topics.queries]
        self._consumer.subscribe(names, listener=_Hand(self))
        self.processed = 0

    @property
    def ready(self) -> bool:
        """Whether we are in the group and every partition that is ours has its state back."""
        return self._joined and not self._fresh

    @property
    def partitions(self) -> list[int]:
        """The partitions that are ours and restored."""
        return sorted(partition.partition for partition in self._owned)

    def gained(self, partitions: Iterable[TopicPartition]) -> None:
        """Note that partitions are ours now; their state is restored before the next event is processed."""
        with self._lock:
            self._fresh.update(partitions)

    def giving_up(self, partitions: Iterable[TopicPartition]) -> None:
        """Hand partitions over: their state is committed before anybody else may have them."""
        with self._lock:
            leaving = set(partitions)
            try:
                self.checkpoint()
            except (ServiceError, KafkaError) as error:
                log.warning("partitions given up without a commit", cause=str(error))
                self._forget()
            self.lost(leaving)

    def lost(self, partitions: Iterable[TopicPartition]) -> None:
        """Forget partitions that somebody else has already."""
        with self._lock:
            for partition in partitions:
                if (owned := self._owned.pop(partition, None)) is not None:
                    self._metrics.evicted("handed_over", owned.shard.clients)
                self._fresh.discard(partition)

    def step(self, timeout_ms: int) -> int:
        """Take what has arrived; return how many records that were. A checkpoint is made when it is due."""
        self._restore()
        self._polled = time.monotonic()
        polled = self._consumer.poll(timeout_ms=timeout_ms)
        count = 0
        with self._lock:
            try:
                for partition, records in polled.items():
                    owned = self._owned.get(partition)
                    fresh = [record for record in records if owned is not None and record.offset >= owned.position]
                    if owned is not None and fresh:
                        self._take(partition, owned, fresh)
                        count += len(fresh)
                if time.monotonic() >= self._due:
                    self.checkpoint()
            except FencedInstanceIdError:
                raise
            except (ServiceError, KafkaError) as error:
                log.warning("starting again from the last commit", cause=str(error))
                self._forget()
        self.processed += count
        self._measure()
        return count

    def _measure(self) -> None:
        """Set the gauges, about once a second."""
        if time.monotonic() < self._measured + 1:
            return
        self._measured = time.monotonic()
        self._joined = self._consumer.group_metadata().generation_id >= 0
        with self._lock:
            self._metrics.tracked(sum(owned.shard.clients for owned in self._owned.values()))
            places = {partition: owned.position for partition, owned in self._owned.items()}
            self._metrics.lag("detect", records_waiting(self._consumer, places))

    def _take(self, partition: TopicPartition, owned: Owned, records: list[Any]) -> None:
        values = [record.value or b"" for record in records]
        offsets = [record.offset for record in records]
        by_offset = dict(zip(offsets, values, strict=True))
        batches: list[Batch]
        if self._keyed:
            batches, rejections = self._assembler.assemble(values, partition.topic, first_line=1, first_sequence=0)
            for batch in batches:
                batch.sequence[:] = [offsets[place] for place in batch.sequence.tolist()]
            refused = [(offsets[entry.sequence], entry.reason, entry.detail) for entry in rejections]
        else:
            batches, unreadable = decode(values, offsets)
            refused = [(offsets[entry.place], "schema", entry.detail) for entry in unreadable]
        self._metrics.consumed(partition.topic, len(records))
        started = time.perf_counter()
        outputs = owned.shard.process(*batches)
        self._metrics.scored(time.perf_counter() - started)
        if time.monotonic() - self._polled > self._session_s:
            # Stopped for so long, the partitions are somebody else's by now, whose decisions ours must not follow.
            raise ServiceError(f"this process stood still for more than {self._session_s:g} seconds")
        refused += [(refusal.sequence, refusal.reason, refusal.detail) for refusal in outputs.refusals]
        for offset, reason, detail in sorted(refused):
            self._outbox.dead_letter(
                reason, detail, by_offset.get(offset), Origin(partition.topic, partition.partition, offset)
            )
        self._outbox.publish(outputs, self._stamp)
        self._metrics.published(outputs, self._clock.now_ms())
        owned.position = offsets[-1] + 1

    def checkpoint(self) -> None:
        """Commit the clients that changed and the offsets reached, in one transaction.

        Raises `ServiceError` or the client's own error when that failed; the caller then has to `_forget`.
        """
        self._due = time.monotonic() + self._every_s
        moved = {partition: owned for partition, owned in self._owned.items() if owned.position > owned.committed}
        if not moved:
            self._metrics.committed("detect")
            return
        self._outbox.flush()
        self._archive.save(
            {partition.partition: owned.shard.snapshot(changed_only=True) for partition, owned in moved.items()},
            {partition: owned.position for partition, owned in moved.items()},
            self._consumer.group_metadata(),
        )
        for owned in moved.values():
            owned.committed = owned.position
        self._metrics.committed("detect")

    def _forget(self) -> None:
        """Start again from what is committed: the changes since then were marked as saved and are not."""
        self._metrics.set_back("detect")
        self._fresh.update(self._owned)
        self._owned.clear()

    def _restore(self) -> None:
        with self._lock:
            waiting = sorted(self._fresh)
        for partition in waiting:
            started = time.perf_counter()
            committed = self._committed(partition)
            shard = Shard(self._settings, self._baselines)
            try:
                shard.restore(self._archive.read(partition.partition))
            except SnapshotError as error:
                raise SnapshotError(f"topic {self._topics.state!r}, partition {partition.partition}: {error}") from error
            begin = self._consumer.beginning_offsets([partition])[partition]
            end = self._consumer.end_offsets([partition])[partition]
            start = begin if committed is None or not begin <= committed <= end else committed
            with self._lock:
                if partition not in self._fresh:
                    continue
                try:
                    self._consumer.seek(partition, start)
                except ValueError:  # it was taken away meanwhile
                    self._fresh.discard(partition)
                    continue
                self._owned[partition] = Owned(shard, start, start if start == committed else -1)
                self._fresh.discard(partition)
            self._metrics.restored(time.perf_counter() - started)
            if committed is not None and start != committed:
                log.warning(
                    "the topic no longer holds the offset reached: going on at the beginning of what is left",
                    topic=partition.topic,
                    partition=partition.partition,
                    reached=committed,
                    begins=begin,
                    ends=end,
                )

    def _committed(self, partition: TopicPartition) -> int | None:
        """Return the offset reached; an unfinished commit of a former owner is ended first."""
        try:
            return self._offset(partition, QUICK_MS)
        except KafkaTimeoutError:
            self._archive.release(partition.partition)
            return self._offset(partition, PATIENT_MS)

    def _offset(self, partition: TopicPartition, timeout_ms: int) -> int | None:
        offset: int | None = self._consumer.committed(partition, timeout_ms=timeout_ms)
        return offset

    def close(self) -> None:
        """Commit what was done and leave the group."""
        with self._lock:
            try:
                self.checkpoint()
            except (ServiceError, KafkaError):
                self._forget()
        self._consumer.close(autocommit=False)
        self._archive.close()
        self._outbox.close()

    def abandon(self) -> None:
        """Drop everything at once, without a commit."""
        with self._lock:
            self._owned.clear()
            self._fresh.clear()
        self._outbox.abandon()
        self._archive.close()
        self._consumer.close(autocommit=False, timeout_ms=1000)
