"""A stage that keeps state: one shard for each of its partitions, with state and offsets committed in one transaction.

Each partition of the topic that the stage reads has its own shard. Results leave at once; a repeat is harmless, since it has
the same id. Every few seconds a checkpoint writes what changed to the state topic and the offsets to the group, in one
transaction: both hold or neither does. A new owner of a partition continues where the state ends.

A worker that has lost its partitions without noticing (a zombie) cannot commit: the transaction contains its generation of the
group, and the broker refuses an old one. The worker then forgets everything and restarts from the last commit.

While the broker takes results more slowly than they are made, the partitions are paused. Polling goes on, so the worker stays a
member of its group.

A record that makes the processing fail is found and left out; see `culprits`.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any, Generic, TypeVar

import structlog
from kafka import TopicPartition

from detector.baseline.price import copies_of
from detector.baseline.secret import settings_of
from detector.baseline.settings import policy_settings
from detector.baseline.store import NO_BASELINE
from detector.config import Config
from detector.errors import DeniedError, FatalError, MemberFencedError, NotAssignedError, ServiceError
from detector.service.deployment import Deployment
from detector.service.kafka.producer import RecordOrigin, StageProducer
from detector.service.kafka.topics import grown
from detector.service.refusals import Refused
from detector.service.sharded.culprits import Culprits
from detector.service.sharded.given import Given, Reading, Understood
from detector.service.state.checkpoints import Checkpoints
from detector.service.state.codec import State
from detector.service.state.restore import Keeper, Owned, Restorer
from detector.service.state.seal import Seal
from detector.service.state.store import StateStore
from detector.service.telemetry.metrics import records_waiting
from detector.sinks import render

CLOSE_MS = 3000

log = structlog.get_logger(__name__)


S = TypeVar("S", bound=Keeper)
U = TypeVar("U", bound=Understood)


class ShardedStage(ABC, Generic[S, U]):
    """Reads its topic as one member of its group; partitions beyond those of the state are not read."""

    def __init__(self, given: Given, reading: Reading, fresh_shard: Callable[[], S]) -> None:
        config, baseline, connection = given.config, given.baseline, given.connection
        self._settings = settings_of(config, baseline).dealt(given.partitions)
        version = baseline.version if baseline else NO_BASELINE
        self._baseline, self._cost = baseline, config.cost
        copies = copies_of(baseline, config.cost, self._settings.policy)
        self._stamp = render.Stamp(version, config.version, self._settings.policy, config.cost, copies)
        self._stage = reading.stage
        self._topics = reading.topics
        self._session_s = reading.section.session_seconds
        self._closed_source = reading.closed
        self._clock = given.clock
        self._metrics = given.metrics
        self._measured = 0.0
        self._joined = False
        self._partitions = given.partitions
        deployment = Deployment.of(config, baseline)
        self._seal = Seal(self._settings.secret)
        group = reading.section.group_id
        beat = self._metrics.beat
        # A member of a group commits in transactions of its own client, so the state store has that of the reader.
        source = connection.bounded if reading.foreign else connection
        store = StateStore(source, reading.topics, group, given.partitions, self._seal, beat, str(deployment))
        self._owned: dict[TopicPartition, Owned[S]] = {}
        self._fresh: set[TopicPartition] = set()
        self._lock = threading.RLock()
        self._polled = time.monotonic()
        self._reader = source.reader(
            group=group, member=given.member, max_poll_records=reading.most_records, fetch_max_wait_ms=50
        )
        try:
            self._producer = StageProducer(connection, reading.topics, self._metrics, linger_ms=reading.linger_ms)
        except ServiceError:
            self._reader.close()
            raise
        member = self._reader.member
        self._checkpoints = Checkpoints(store, self._producer, member, reading.section, self._metrics, reading.stage)
        self._restorer = Restorer(
            self._reader,
            store,
            reading.topics,
            reading.section,
            given.partitions,
            fresh_shard,
            beat,
            given.stop.is_set,
            deployment,
            self._report_foreign,
        )
        self._reader.subscribe(list(reading.sources), self)
        self._held_up = False
        self._culprits = Culprits()
        self._misfit: TopicPartition | None = None
        self.processed = 0

    @abstractmethod
    def _understood(self, partition: TopicPartition, shard: S, records: Sequence[Any]) -> U:
        """Process records and render the findings. Nothing has been sent when this raises."""

    def _dispatch(self, partition: TopicPartition, records: Sequence[Any], understood: U) -> None:
        """Send what came of records; the dead letters first, then the results."""
        self._refuse(partition, records, [*understood.unreadable, *understood.refused])
        self._producer.publish(understood.results)
        self._metrics.published(understood.outputs, self._clock.now_ms())

    @abstractmethod
    def _check(self) -> None:
        """Do what is due about once a second, before the gauges are set."""

    @abstractmethod
    def _weigh(self, shards: Collection[S]) -> None:
        """Set the gauges of our shards."""

    @abstractmethod
    def _released(self, shard: S) -> None:
        """Note that another member has this shard's partition."""

    @abstractmethod
    def _told(self, shard: S) -> dict[str, Any]:
        """Return what the log says of a restored shard."""

    @abstractmethod
    def _instruct(self, shard: S) -> None:
        """Give a shard the policy in `_settings`."""

    @property
    def generation(self) -> int:
        """The group generation that we know of; it grows whenever a member joins or leaves."""
        return self._reader.generation

    @property
    def ready(self) -> bool:
        """Whether we are in the group and the state of all our partitions is restored."""
        return self._joined and not self._fresh

    @property
    def partitions(self) -> list[int]:
        """The partitions that are ours and restored."""
        return sorted(partition.partition for partition in self._owned)

    def gained(self, partitions: Iterable[TopicPartition]) -> None:
        """Note that partitions are ours now; their state is restored before the next event is processed."""
        with self._lock:
            ours = {partition for partition in partitions if partition.partition < self._partitions}
            self._fresh.update(ours)
            if self._closed_source:
                self._misfit = next(iter(set(partitions) - ours), self._misfit)

    def giving_up(self, partitions: Iterable[TopicPartition]) -> None:
        """Give partitions up: commit their state before another member gets them."""
        with self._lock:
            leaving = set(partitions)
            try:
                self.checkpoint()
            except ServiceError as error:
                log.warning("partitions given up without a commit", cause=str(error))
                self._forget()
            self.lost(leaving)

    def lost(self, partitions: Iterable[TopicPartition]) -> None:
        """Forget partitions that another member has already."""
        with self._lock:
            for partition in partitions:
                if (owned := self._owned.pop(partition, None)) is not None:
                    self._released(owned.shard)
                self._fresh.discard(partition)

    def step(self, timeout_ms: int) -> int:
        """Process what has arrived; return the number of records. Also advances the checkpoint; see `checkpoints`."""
        self._restore_one()
        self._hold_up()
        self._polled = time.monotonic()
        polled = self._reader.poll(timeout_ms)
        if self._misfit is not None:
            raise FatalError(grown(self._misfit.topic, self._topics.state, self._partitions))
        count = 0
        with self._lock:
            try:
                for partition, records in polled.items():
                    owned = self._owned.get(partition)
                    fresh = [record for record in records if owned is not None and record.offset >= owned.position]
                    if owned is not None and fresh:
                        self._take(partition, owned, fresh)
                        count += len(fresh)
                self._checkpoints.step(self._owned)
            except (FatalError, MemberFencedError, DeniedError):
                raise
            except ServiceError as error:
                log.warning("starting again from the last commit", cause=str(error))
                self._forget()
        self.processed += count
        self._measure()
        return count

    def adopt(self, config: Config) -> None:
        """Go on under the policy of another configuration; call it between two steps.

        What was done before is committed first, so that no repeated work is judged under another policy than before. Raises as
        `checkpoint` does.
        """
        with self._lock:
            self.checkpoint()
            policy = policy_settings(config)
            self._settings = replace(self._settings, policy=policy)
            copies = copies_of(self._baseline, self._cost, policy)
            self._stamp = replace(self._stamp, config_version=config.version, policy=policy, copies=copies)
            for owned in self._owned.values():
                self._instruct(owned.shard)

    def _hold_up(self) -> None:
        """Pause partitions without their state, and all of them while too many bytes are in flight."""
        try:
            held_up = self._producer.full or self._checkpoints.refused
        except ServiceError as error:
            log.warning("starting again from the last commit", cause=str(error))
            with self._lock:
                self._forget()
            held_up = False
        if held_up != self._held_up:
            log.info("Kafka takes the results slowly: partitions paused" if held_up else "partitions resumed")
        assigned = self._reader.assignment()
        with self._lock:
            paused = set(assigned) if held_up else assigned - self._owned.keys()
        before = self._reader.paused()
        self._reader.pause(*(paused - before))
        self._reader.resume(*(before - paused))
        self._held_up = held_up
        self._metrics.held_up(self._stage, held_up)

    def _measure(self) -> None:
        """Set the gauges, about once a second."""
        if time.monotonic() < self._measured + 1:
            return
        self._measured = time.monotonic()
        self._check()
        self._joined = self._reader.generation >= 0
        with self._lock:
            places = {partition: owned.position for partition, owned in self._owned.items()}
            self._metrics.lag(self._stage, records_waiting(self._reader, places))
            self._weigh([owned.shard for owned in self._owned.values()])

    def _take(self, partition: TopicPartition, owned: Owned[S], records: list[Any]) -> None:
        """Process records. Where that fails, stop there: the partition is restored first."""
        self._metrics.consumed(partition.topic, len(records))
        for stretch in self._culprits.stretches(partition, records):
            if stretch.culprit is not None:
                self._refuse(partition, stretch.records, [Refused(stretch.records[0].offset, "failed", stretch.culprit)])
            else:
                if stretch.tried:  # so that a failure repeats no other work
                    self.checkpoint()
                    self._polled = time.monotonic()  # the group has just taken our commit
                try:
                    understood = self._understood(partition, owned.shard, stretch.records)
                except (ServiceError, MemoryError):
                    raise
                except Exception as error:  # noqa: BLE001  # whatever a record leads to, the stream goes on
                    self._suspect(partition, stretch.records, error)
                    return
                self._send(partition, stretch.records, understood)
                self._culprits.passed(partition, stretch.records)
            owned.position = stretch.records[-1].offset + 1

    def _send(self, partition: TopicPartition, records: Sequence[Any], understood: U) -> None:
        if time.monotonic() - self._polled > self._session_s:
            # Stopped for so long, the partitions are somebody else's by now, whose decisions ours must not follow.
            raise ServiceError(
                f"this process was stopped for more than {self._session_s:g} seconds, so its partitions may be another member's"
            )
        self._dispatch(partition, records, understood)

    def _refuse(self, partition: TopicPartition, records: Sequence[Any], refused: Sequence[Refused]) -> None:
        """Send a dead letter for each record that was refused."""
        by_offset = {record.offset: record for record in records}
        for offset, reason, detail, *_ in sorted(refused, key=itemgetter(0)):
            record = by_offset.get(offset)
            value, key, headers = (None, None, ()) if record is None else (record.value, record.key, record.headers or ())
            origin = RecordOrigin(partition.topic, partition.partition, offset)
            self._producer.dead_letter(reason, detail, value, origin, key, self._headers(headers))

    def _headers(self, headers: Sequence[tuple[str, bytes | None]]) -> Sequence[tuple[str, bytes | None]]:
        """Return the headers of a record that its dead letter keeps; the service's own topics have none worth that."""
        del headers
        return ()

    def _suspect(self, partition: TopicPartition, records: Sequence[Any], error: Exception) -> None:
        """Go back to the last commit of a partition, and narrow down the record that made its processing fail.

        Raises `FatalError` when too many records fail, and as `checkpoint` does.
        """
        culprit = self._culprits.failed(partition, records, error)
        log.error(
            "processing failed: searching for the record" if culprit is None else "processing a record failed: it is left out",
            topic=partition.topic,
            partition=partition.partition,
            offset=records[0].offset,
            records=len(records),
            exc_info=error if culprit is not None else None,
            cause=repr(error)[:200],
        )
        self._metrics.set_back(self._stage)
        self._fresh.add(partition)
        del self._owned[partition]
        self.checkpoint()  # of the other partitions; and no commit may be running when this one is restored

    def _report_foreign(self, partition: int, state: State) -> None:
        """Report records of the state topic that this service did not write."""
        log.error(
            "records in the state topic were not written by this service, and are left out: only the service should have write "
            "access to it",
            topic=self._topics.state,
            partition=partition,
            records=state.foreign_count,
            first=state.foreign[0].whose[:200],
            offset=state.foreign[0].offset,
            models_lost=list(state.lost)[:5],
        )
        self._metrics.unsealed(state.foreign_count)
        with self._lock:
            for record in state.foreign:
                detail = f"a record of {record.whose} without the seal of this service"[:200]
                origin = RecordOrigin(self._topics.state, partition, record.offset)
                self._producer.dead_letter("schema", detail, record.value, origin, record.key)

    def checkpoint(self) -> None:
        """Commit all that was done, and wait for it.

        Raises `ServiceError` when that failed; the caller then has to `_forget`.
        """
        self._checkpoints.finish(self._owned)

    def _forget(self) -> None:
        """Start again from the last commit: the shards marked later changes as saved, and they are not."""
        self._checkpoints.drop()
        self._metrics.set_back(self._stage)
        self._fresh.update(self._owned)
        self._owned.clear()

    def _restore_one(self) -> None:
        """Restore one waiting partition; one at a time, so that the others are processed in between."""
        with self._lock:
            partition = min(self._fresh, default=None)
        if partition is None:
            return
        started = time.perf_counter()
        owned = self._restorer.restore(partition)
        with self._lock:
            if owned is None or partition not in self._fresh:
                return
            self._fresh.discard(partition)
            try:
                self._reader.seek(partition, owned.position)
                self._culprits.restored(partition, owned.position)
            except NotAssignedError:  # the group took it away meanwhile
                return
            self._owned[partition] = owned
        seconds = time.perf_counter() - started
        self._metrics.restored(seconds)
        told = self._told(owned.shard)
        log.info("state restored", stage=self._stage, partition=partition.partition, **told, seconds=round(seconds, 3))

    def close(self) -> None:
        """Commit what was done and leave the group."""
        with self._lock:
            try:
                self.checkpoint()
            except ServiceError:
                self._forget()
        self._reader.close(CLOSE_MS)
        self._checkpoints.close()
        self._producer.close()

    def abandon(self) -> None:
        """Drop everything at once, without a commit."""
        with self._lock:
            self._owned.clear()
            self._fresh.clear()
        self._producer.abandon()
        self._checkpoints.close()
        self._reader.close()
