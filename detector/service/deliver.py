"""Deliveries of the service: each receiver is fed the alerts and decisions from their topics, at its own pace.

A receiver has a consumer group of its own, and in every worker a thread that reads and a delivery worker
(`detector.sinks.worker`), so one that is slow or away holds up nobody: not the detection, not the other receivers. While it is,
its partitions are paused and polling goes on; nothing is dropped, since the topics hold it all. Offsets are committed when the
receiver has what came before them, so after a crash some of it is delivered once more, with the same ids. What a receiver
refuses for good goes to the dead letters; the gauge ``detector_sink_lag_messages`` tells how much waits. A receiver that is new
begins with the oldest alerts there are.
"""

import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import structlog
from kafka import OffsetAndMetadata, TopicPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.errors import FencedInstanceIdError, KafkaError

from detector.config.elasticsearch import DELIVERY
from detector.contracts.dead_letter import Reason
from detector.errors import FatalError, ServiceError
from detector.service.kafka.connection import Connection
from detector.service.kafka.producer import Origin, Outbox
from detector.service.kafka.topics import Topics
from detector.service.telemetry.metrics import Metrics, records_waiting
from detector.sinks.delivery import Backoff
from detector.sinks.message import Kind
from detector.sinks.receiver import Receiver, Record
from detector.sinks.worker import DeliveryWorker, Entry, Manner

POLL_MS = 50
COMMIT_MS = 10_000
CLOSE_MS = 5_000
END_S = 5.0
LAST_S = 3.0  # of it, for the attempt that is under way
SHARE = 0.2  # of the time, for all deliveries together, where they compute besides the detection
WAITING_BATCHES = 2
WAITING_BYTES = 8 * 1024 * 1024

log = structlog.get_logger(__name__)


def group_of(group: str, delivery: str) -> str:
    """Return the consumer group of a delivery; that of ``[elasticsearch]`` has a shorter name, which deployments know it by.

    >>> group_of("detector", "splunk"), group_of("detector", "elasticsearch")
    ('detector-ship-splunk', 'detector.ship')
    """
    return f"{group}.ship" if delivery == DELIVERY else f"{group}-ship-{delivery}"


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What deliveries work with; `member` makes each a static member of its group, `share` is its share of the time."""

    connection: Connection
    topics: Topics
    group: str
    metrics: Metrics
    member: str | None = None
    share: float = 1.0

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """What each topic holds."""
        return {self.topics.alerts: "alert", self.topics.decisions: "decision"}


class Deliveries:
    """The stage: one thread per receiver; `step` only looks whether one of them has failed."""

    def __init__(self, receivers: Sequence[Receiver], dependencies: Dependencies) -> None:
        self._stop = threading.Event()
        self._threads = [DeliveryThread(receiver, dependencies, self._stop) for receiver in receivers]
        for thread in self._threads:
            thread.start()

    @property
    def ready(self) -> bool:
        """Whether every receiver's thread has joined its group; whether the receiver takes anything is not asked."""
        return all(thread.joined for thread in self._threads)

    @property
    def trouble(self) -> str | None:
        """What keeps any of them from delivering; None while all is well."""
        found = [
            f"delivery {thread.receiver}: {trouble}" for thread in self._threads if (trouble := thread.trouble) is not None
        ]
        return "; ".join(found) or None

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


class DeliveryThread(threading.Thread):
    """Keeps one receiver fed until `stop` is set; begins again from the last commit after a fault of Kafka's."""

    def __init__(self, receiver: Receiver, dependencies: Dependencies, stop: threading.Event) -> None:
        super().__init__(name=f"reading for {receiver.name}", daemon=True)
        self.failure: Exception | None = None
        self.receiver = receiver.name
        self._receiver = receiver
        self._dependencies = dependencies
        self._stop_asked = stop
        self._reading: Reading | None = None
        self._away: str | None = None

    @property
    def joined(self) -> bool:
        """Whether it is in its group; while the receiver is away it is, for the topics hold what waits."""
        return self._reading is not None and self._reading.joined

    @property
    def trouble(self) -> str | None:
        """What keeps the receiver from having it all, in a sentence; None while all is well."""
        reading = self._reading
        return self._away if reading is None or not reading.joined else reading.trouble

    def run(self) -> None:
        """Work; a broker that is away is waited for."""
        pauses = Backoff(first_s=1.0, longest_s=30.0)
        while not self._stop_asked.is_set():
            try:
                with ExitStack() as stack:
                    self._reading = Reading(self._receiver, self._dependencies, stack)
                    while not self._stop_asked.is_set():
                        self._reading.step(POLL_MS)
                        if self._reading.joined:
                            self._away = None
                            pauses.reset()
            except (FencedInstanceIdError, FatalError) as error:
                self.failure = error
                return
            except (ServiceError, KafkaError) as error:
                self._away = str(error)
                log.warning("delivering starts again from its last commit", delivery=self.receiver, cause=str(error))
            except Exception as error:
                # Detection must not end for it.
                self._away = f"an unforeseen fault: {error}"
                log.exception("delivering starts again from its last commit", delivery=self.receiver)
            self._reading = None
            self._stop_asked.wait(pauses.next())


class DeadLetterTopic:
    """Sends what a receiver refuses for good to the topic of dead letters; connects with the first of them."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies
        self._outbox: Outbox | None = None

    def put(self, entry: Entry, reason: Reason, detail: str) -> None:
        """Send a record, with its origin and key."""
        if self._outbox is None:
            self._outbox = Outbox(self._dependencies.connection, self._dependencies.topics, self._dependencies.metrics)
        origin = Origin(entry.source, entry.partition, entry.number)
        self._outbox.dead_letter(reason, detail, entry.record.data, origin, entry.key)

    def flush(self) -> None:
        """Wait until Kafka has all of them; raises `ServiceError` when it does not take one."""
        if self._outbox is not None:
            self._outbox.flush()

    def close(self) -> None:
        """Let the producer go."""
        if self._outbox is not None:
            self._outbox.close()


class _Watch(ConsumerRebalanceListener):  # type: ignore[misc]  # the client ships without types
    """Hears of partitions, in the client's own thread."""

    def __init__(self) -> None:
        self.fresh: set[TopicPartition] = set()
        self.lost: set[TopicPartition] = set()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self.fresh.update(assigned)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self.lost.update(revoked)

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        self.lost.update(lost)


class Progress:
    """How far a receiver has what was read: by partition, the offset before which everything is through.

    >>> progress, place = Progress(), TopicPartition("alerts", 0)
    >>> first, second = (Entry(Record("alert", b"{}"), "alerts", number) for number in (7, 9))
    >>> progress.read(place, [first, second])
    >>> progress.finish([second]), progress.finish([first]) == {place: 10}
    ({}, True)
    """

    def __init__(self) -> None:
        self.reached: dict[TopicPartition, int] = {}
        self._read: dict[TopicPartition, int] = {}
        self._open: dict[TopicPartition, dict[int, Entry]] = {}

    def read(self, place: TopicPartition, entries: Sequence[Entry]) -> None:
        """Note what was read next of a partition."""
        self.reached.setdefault(place, entries[0].number)
        self._read[place] = entries[-1].number + 1
        self._open.setdefault(place, {}).update((entry.number, entry) for entry in entries)

    def finish(self, entries: Iterable[Entry]) -> dict[TopicPartition, int]:
        """Note what the receiver has; return how far the partitions are where that has changed.

        Entries of partitions that were forgotten meanwhile change nothing, though they be read again.
        """
        touched: set[TopicPartition] = set()
        for entry in entries:
            place = TopicPartition(entry.source, entry.partition)
            if self._open.get(place, {}).get(entry.number) is entry:
                del self._open[place][entry.number]
                touched.add(place)
        found = {place: next(iter(self._open[place]), self._read[place]) for place in touched}
        news = {place: offset for place, offset in found.items() if offset > self.reached[place]}
        self.reached |= news
        return news

    def forget(self, places: Iterable[TopicPartition]) -> None:
        """Leave partitions to others."""
        for place in places:
            self.reached.pop(place, None)
            self._read.pop(place, None)
            self._open.pop(place, None)


class Reading:
    """One member of a receiver's group: polls whatever happens, feeds the delivery worker, commits behind it."""

    def __init__(self, receiver: Receiver, dependencies: Dependencies, stack: ExitStack) -> None:
        """Join; what has to be ended is left to `stack`."""
        self.joined = False
        self._name = receiver.name
        self._metrics = dependencies.metrics
        self._kinds = dependencies.kinds
        self._watch = _Watch()
        self._progress = Progress()
        self._waiting: deque[Entry] = deque()
        self._paused = False
        self._measured_s = 0.0
        self._consumer = dependencies.connection.consumer(
            group=group_of(dependencies.group, receiver.name),
            member=dependencies.member,
            max_poll_records=receiver.at_once,
            fetch_max_wait_ms=POLL_MS,
        )
        stack.callback(self._consumer.close, autocommit=False, timeout_ms=CLOSE_MS)
        manner = Manner(WAITING_BATCHES * receiver.at_once, WAITING_BYTES, dependencies.share)
        self._worker = DeliveryWorker(receiver, DeadLetterTopic(dependencies), self._metrics, manner)
        stack.callback(self._end)
        wanted = [topic for topic, kind in self._kinds.items() if receiver.wants(kind)]
        self._consumer.subscribe(wanted, listener=self._watch)

    @property
    def trouble(self) -> str | None:
        """What keeps the receiver from having it all."""
        return self._worker.trouble

    def step(self, timeout_ms: int) -> None:
        """Take in what has arrived, hand it on, and commit what is done.

        Raises what the worker ended with, which is a fault of Kafka's.
        """
        if self._worker.failure is not None:
            raise self._worker.failure
        self._pause(pause=bool(self._waiting))
        polled = self._consumer.poll(timeout_ms=timeout_ms)
        self._forget_lost()
        for place, records in polled.items():
            entries = self._entries(place, records)
            self._progress.read(place, entries)
            self._waiting.extend(entries)
        while self._waiting and self._worker.put(self._waiting[0]):
            self._waiting.popleft()
        self._commit(self._worker.finished())
        self._measure()

    def _entries(self, place: TopicPartition, records: Sequence[Any]) -> list[Entry]:
        kind = self._kinds[place.topic]
        fresh = place in self._watch.fresh
        self._watch.fresh.discard(place)
        return [
            Entry(Record(kind, each.value or b""), place.topic, each.offset, place.partition, each.key, fresh and number == 0)
            for number, each in enumerate(records)
        ]

    def _forget_lost(self) -> None:
        """Leave what is somebody else's now to them."""
        lost, self._watch.lost = self._watch.lost, set()
        if lost:
            self._progress.forget(lost)
            self._waiting = deque(entry for entry in self._waiting if _place(entry) not in lost)
            self._worker.drop(lambda entry: _place(entry) in lost)

    def _pause(self, *, pause: bool) -> None:
        """Take nothing more in; a partition that is assigned meanwhile is paused, too, at the next turn."""
        if pause:
            self._consumer.pause(*self._consumer.assignment())
        elif self._paused:
            self._consumer.resume(*self._consumer.assignment())
        self._paused = pause

    def _commit(self, done: Sequence[Entry]) -> None:
        assigned = self._consumer.assignment()
        news = {place: offset for place, offset in self._progress.finish(done).items() if place in assigned}
        if not news:
            return
        offsets = {place: OffsetAndMetadata(offset, "", -1) for place, offset in news.items()}
        try:
            self._consumer.commit(offsets, timeout_ms=COMMIT_MS)
        except FencedInstanceIdError:
            raise
        except KafkaError as error:
            # The receiver has them; whoever reads these records again delivers them again, with the same ids.
            log.warning("offsets not committed", delivery=self._name, cause=str(error))

    def _measure(self) -> None:
        """Set the gauges, about once a second."""
        if time.monotonic() < self._measured_s + 1:
            return
        self._measured_s = time.monotonic()
        self.joined = self._consumer.group_metadata().generation_id >= 0
        waiting = sum(records_waiting(self._consumer, self._progress.reached).values())
        self._metrics.sink_waiting(self._name, waiting)
        if self.joined and not waiting and self._worker.trouble is None:
            self._metrics.sink_up(self._name, up=True)
            self._metrics.sink_current(self._name)

    def _end(self) -> None:
        """End the worker after the attempt that is under way, and commit what is done."""
        self._worker.close(0.0, LAST_S)
        try:
            self._commit(self._worker.finished())
        except KafkaError as error:
            log.warning("left without a last commit", delivery=self._name, cause=str(error))


def _place(entry: Entry) -> TopicPartition:
    return TopicPartition(entry.source, entry.partition)
