"""Deliveries of the service: each receiver reads the alerts and decisions for itself, at its own pace.

A receiver has a consumer group of its own, ``<group>-ship-<name>``, and in every worker a thread of its own, so one that is
slow or away holds up nobody: not the detection, not the other receivers. Offsets are committed when the receiver has what came
before them, so after a crash some of it is sent once more, with the same ids. What a receiver refuses for good goes to the dead
letters with its name; everything else is tried again until it passes, and the gauge ``detector_sink_lag_messages`` tells how
much waits. A receiver that is new begins with the oldest alerts there are.
"""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import structlog
from kafka import OffsetAndMetadata, TopicPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.errors import FencedInstanceIdError, KafkaError

from detector.errors import FatalError, ServiceError
from detector.service.kafka.connection import Connection
from detector.service.kafka.producer import Origin, Outbox
from detector.service.kafka.topics import Topics
from detector.service.telemetry.metrics import Metrics, records_waiting
from detector.sinks.delivery import Backoff, Consignment, Delivery, RetryableError, wait_until
from detector.sinks.formats import read
from detector.sinks.message import Message
from detector.sinks.receivers import Receiver

POLL_MS = 200
COMMIT_MS = 10_000
CLOSE_MS = 5_000
END_S = 3.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """A record on its way; `message` is None for what the receiver is not meant to have."""

    partition: TopicPartition
    offset: int
    key: bytes | None
    value: bytes
    message: Message | None


class Deliveries:
    """The stage: one thread per receiver; `step` only looks whether one of them has failed."""

    def __init__(
        self,
        receivers: Sequence[Receiver],
        connection: Connection,
        topics: Topics,
        group: str,
        metrics: Metrics,
        member: str | None = None,
    ) -> None:
        self._stop = threading.Event()
        self._threads = [
            DeliveryThread(receiver, connection, topics, group, metrics, member, self._stop) for receiver in receivers
        ]
        for thread in self._threads:
            thread.start()

    @property
    def ready(self) -> bool:
        """Whether every receiver's thread has joined its group; whether the receiver takes anything is not asked."""
        return all(thread.joined for thread in self._threads)

    @property
    def trouble(self) -> str | None:
        """What keeps the first of them that has any from delivering; None while all is well."""
        found = (f"delivery {thread.receiver}: {thread.trouble}" for thread in self._threads if thread.trouble is not None)
        return next(found, None)

    def step(self, timeout_ms: int) -> int:
        """Wait a little; raises what a thread ended with, such as `FatalError` where a permission is missing."""
        if timeout_ms > 0:
            self._stop.wait(timeout_ms / 1000)
        for thread in self._threads:
            if thread.failure is not None:
                raise thread.failure
        return 0

    def close(self, patience_s: float = END_S) -> None:
        """End after the attempts that are under way, or without those that take long: they are made again."""
        self._stop.set()
        until = time.monotonic() + patience_s
        for thread in self._threads:
            thread.join(max(until - time.monotonic(), 0.0))

    abandon = close


class _Watch(ConsumerRebalanceListener):  # type: ignore[misc]  # the client ships without types
    """Notes partitions that are taken away; called from the client's own thread."""

    def __init__(self) -> None:
        self.gone: set[TopicPartition] = set()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        pass

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self.gone |= set(revoked)

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        self.gone |= set(lost)


class DeliveryThread(threading.Thread):
    """Carries alerts and decisions to one receiver until `stop` is set."""

    def __init__(
        self,
        receiver: Receiver,
        connection: Connection,
        topics: Topics,
        group: str,
        metrics: Metrics,
        member: str | None,
        stop: threading.Event,
    ) -> None:
        super().__init__(name=f"delivery {receiver.name}", daemon=True)
        self.failure: Exception | None = None
        self.trouble: str | None = None
        self.joined = False
        self.receiver = receiver.name
        self._receiver = receiver
        self._connection = connection
        self._topics = topics
        self._group = f"{group}-ship-{receiver.name}"
        self._member = member
        self._metrics = metrics
        self._stop_asked = stop
        self._backoff = Backoff()
        self._away = Backoff(first_s=1.0, longest_s=30.0)
        self._outbox: Outbox | None = None

    def run(self) -> None:
        """Work; a broker that is away is waited for."""
        while not self._stop_asked.is_set():
            try:
                self._work()
            except (FencedInstanceIdError, FatalError) as error:
                self.failure = error
                return
            except (ServiceError, KafkaError) as error:
                self.trouble = str(error)
                pause_s = self._away.next()
                log.warning("delivering starts again from its last commit", delivery=self.receiver, cause=str(error))
                wait_until(self._stop_asked, pause_s)
            except Exception as error:
                # Detection must not end for it.
                self.trouble = str(error)
                log.exception("delivering failed in an unforeseen way, and starts again", delivery=self.receiver)
                wait_until(self._stop_asked, self._away.next())

    def _work(self) -> None:
        with ExitStack() as stack:
            delivery = self._receiver.open()
            stack.callback(delivery.close)
            consumer = self._connection.consumer(
                group=self._group, member=self._member, max_poll_records=self._receiver.at_once, fetch_max_wait_ms=POLL_MS
            )
            stack.callback(consumer.close, autocommit=False, timeout_ms=CLOSE_MS)
            stack.callback(self._close_outbox)
            self._consumer = consumer
            self._places: dict[TopicPartition, int] = {}
            self._watch = _Watch()
            self._measured = 0.0
            wanted = {self._topics.alerts: self._receiver.alerts, self._topics.decisions: self._receiver.decisions}
            consumer.subscribe([topic for topic, meant in wanted.items() if meant], listener=self._watch)
            while not self._stop_asked.is_set():
                self._watch.gone.clear()
                polled = consumer.poll(timeout_ms=POLL_MS)
                for partition, records in polled.items():
                    self._places.setdefault(partition, records[0].offset)
                self._measure()
                entries = [self._entry(partition, record) for partition, records in polled.items() for record in records]
                if entries:
                    self._carry(delivery, entries)

    def _close_outbox(self) -> None:
        if self._outbox is not None:
            self._outbox.close()
            self._outbox = None

    def _entry(self, partition: TopicPartition, record: Any) -> Entry:
        value: bytes = record.value or b""
        entry = Entry(partition, record.offset, record.key, value, None)
        if not value:  # a tombstone: the decision ran out long ago
            return entry
        try:
            document = read("alert" if partition.topic == self._topics.alerts else "decision", value)
        except ValueError as error:
            self._refuse(entry, f"not a document of this service: {error}")
            return entry
        try:
            return replace(entry, message=self._receiver.written(document))
        except (KafkaError, ServiceError, MemoryError):
            raise
        except Exception as error:
            # One document must not hold up all that come after it.
            log.exception("a document cannot be written for this receiver", delivery=self.receiver, offset=record.offset)
            self._refuse(entry, f"cannot be written for delivery {self.receiver}: {error!r}")
            return entry

    def _refuse(self, entry: Entry, detail: str) -> None:
        if self._outbox is None:
            self._outbox = Outbox(self._connection, self._topics, self._metrics)
        origin = Origin(entry.partition.topic, entry.partition.partition, entry.offset)
        self._outbox.dead_letter("schema", detail[:500], entry.value, origin, entry.key)

    def _carry(self, delivery: Delivery, entries: Sequence[Entry]) -> None:
        """Deliver all of it, however long that takes; what becomes somebody else's meanwhile is left to them."""
        name = self._receiver.name
        owners = {id(entry.message): entry for entry in entries if entry.message is not None}
        load = Consignment([entry.message for entry in owners.values() if entry.message is not None], self._receiver.at_once)
        while True:
            before = len(load.left)
            trouble = self._attempt(delivery, load, owners)
            if len(load.left) < before:
                self._backoff.reset()
            left = {id(message) for message in load.left}
            self._commit(_reached(entries, left))
            self.trouble = None if trouble is None else str(trouble)
            self._metrics.sink_up(name, up=trouble is None)
            if trouble is None:
                self._metrics.sink_current(name)
                return
            self._metrics.sending_again(name)
            pause_s = self._backoff.next(trouble.after_s)
            log.warning("not delivered, trying again", delivery=name, cause=str(trouble), in_seconds=round(pause_s, 1))
            self._hold(pause_s)
            if self._stop_asked.is_set():
                return
            entries = [entry for entry in entries if entry.partition not in self._watch.gone]
            load.left = [message for message in load.left if owners[id(message)].partition not in self._watch.gone]

    def _attempt(self, delivery: Delivery, load: Consignment, owners: Mapping[int, Entry]) -> RetryableError | None:
        """Deliver what can be; return what kept the rest."""
        name = self._receiver.name
        before = len(load.left)
        refused = 0

        def refuse(message: Message, why: str) -> None:
            nonlocal refused
            refused += 1
            log.warning("refused for good, see the dead letters", delivery=name, cause=why)
            self._refuse(owners[id(message)], f"delivery {name} does not take it: {why}")

        try:
            load.push(delivery, refuse)
        except RetryableError as error:
            return error
        finally:
            self._metrics.sent(name, "delivered", before - len(load.left) - refused)
            self._metrics.sent(name, "refused", refused)
        return None

    def _commit(self, reached: Mapping[TopicPartition, int]) -> None:
        """Commit how far the receiver has everything."""
        news = {
            partition: offset
            for partition, offset in reached.items()
            if partition not in self._watch.gone and offset > self._places.get(partition, -1)
        }
        if not news:
            return
        if self._outbox is not None:
            self._outbox.flush()
        self._places |= news
        offsets = {partition: OffsetAndMetadata(offset, "", -1) for partition, offset in news.items()}
        try:
            self._consumer.commit(offsets, timeout_ms=COMMIT_MS)
        except FencedInstanceIdError:
            raise
        except KafkaError as error:
            # The receiver has them; whoever reads these records again sends repeats, with the same ids.
            log.warning("offsets not committed", delivery=self._receiver.name, cause=str(error))

    def _hold(self, seconds: float) -> None:
        """Wait, and go on polling meanwhile, so that we stay a member; nothing more is taken in."""
        until = time.monotonic() + seconds
        while not self._stop_asked.is_set() and (left := until - time.monotonic()) > 0:
            self._consumer.pause(*self._consumer.assignment())
            polled = self._consumer.poll(timeout_ms=int(min(left * 1000, POLL_MS)) + 1)
            for partition, records in polled.items():  # it became ours just now
                self._consumer.seek(partition, records[0].offset)
            self._measure()
        self._consumer.resume(*self._consumer.assignment())

    def _measure(self) -> None:
        """Set the gauges, about once a second."""
        if time.monotonic() < self._measured + 1:
            return
        self._measured = time.monotonic()
        self.joined = self._consumer.group_metadata().generation_id >= 0
        assigned = self._consumer.assignment()
        self._places = {partition: offset for partition, offset in self._places.items() if partition in assigned}
        waiting = sum(records_waiting(self._consumer, self._places).values())
        self._metrics.sink_waiting(self._receiver.name, waiting)
        if self.joined:
            self._away.reset()
        if self.joined and not waiting:
            self.trouble = None
            self._metrics.sink_up(self._receiver.name, up=True)
            self._metrics.sink_current(self._receiver.name)


def _reached(entries: Sequence[Entry], left: set[int]) -> dict[TopicPartition, int]:
    """Return, by partition, the offset before which everything is through; `left` are the messages that are not."""
    reached: dict[TopicPartition, int] = {}
    stuck: set[TopicPartition] = set()
    for entry in entries:
        if id(entry.message) in left:
            stuck.add(entry.partition)
        elif entry.partition not in stuck:
            reached[entry.partition] = entry.offset + 1
    return reached
