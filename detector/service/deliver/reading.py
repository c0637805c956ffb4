"""Reading for one receiver: a member of its consumer group, which keeps polling and commits what the receiver has."""

import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any

import structlog
from kafka import TopicPartition

from detector.errors import BrokerError, MemberFencedError
from detector.service.deliver.dependencies import DeadLetterTopic, Dependencies, group_of
from detector.service.kafka.clients.protocol import Committed
from detector.service.telemetry.metrics import records_waiting
from detector.sinks.entry import Entry, Manner
from detector.sinks.receiver import DeliveryRecord, Receiver
from detector.sinks.worker import DeliveryWorker

POLL_MS = 50
COMMIT_MS = 10_000
CLOSE_MS = 5_000
LAST_S = 3.0  # that the last attempt may take once the end is asked for
WAITING_BATCHES = 2
WAITING_BYTES = 8 * 1024 * 1024

log = structlog.get_logger(__name__)


class _Watch:
    """Records which partitions come and go."""

    def __init__(self) -> None:
        self.fresh: set[TopicPartition] = set()
        self.away: set[TopicPartition] = set()

    def gained(self, partitions: Iterable[TopicPartition]) -> None:
        self.fresh.update(partitions)

    def giving_up(self, partitions: Iterable[TopicPartition]) -> None:
        self.away.update(partitions)

    def lost(self, partitions: Iterable[TopicPartition]) -> None:
        self.away.update(partitions)


class DeliveryProgress:
    """The progress of a receiver: by partition, the offset before which everything is delivered.

    >>> progress, place = DeliveryProgress(), TopicPartition("alerts", 0)
    >>> first, second = (Entry(DeliveryRecord("alert", b"{}"), "alerts", number) for number in (7, 9))
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
        """Note what the receiver has; return the new offsets of the partitions whose progress changed.

        Entries of partitions that were forgotten meanwhile change nothing.
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
        """Forget partitions that are another member's now."""
        for place in places:
            self.reached.pop(place, None)
            self._read.pop(place, None)
            self._open.pop(place, None)


class DeliveryReader:
    """One member of a receiver's group: keeps polling, feeds the delivery worker, commits what it has delivered."""

    def __init__(self, receiver: Receiver, dependencies: Dependencies, stack: ExitStack) -> None:
        """Join the group; `stack` closes the consumer and the worker."""
        self.joined = False
        self._name = receiver.name
        self._metrics = dependencies.metrics
        self._kinds = dependencies.kinds
        self._watch = _Watch()
        self._progress = DeliveryProgress()
        self._waiting: deque[Entry] = deque()
        self._paused = False
        self._measured_s = 0.0
        self._reader = dependencies.connection.reader(
            group=group_of(dependencies.group, receiver.name),
            member=dependencies.member,
            max_poll_records=receiver.at_once,
            fetch_max_wait_ms=POLL_MS,
        )
        stack.callback(self._reader.close, CLOSE_MS)
        manner = Manner(WAITING_BATCHES * receiver.at_once, WAITING_BYTES, dependencies.share)
        self._worker = DeliveryWorker(receiver, DeadLetterTopic(dependencies), self._metrics, manner)
        stack.callback(self._end)
        wanted = [topic for topic, kind in self._kinds.items() if receiver.wants(kind)]
        self._reader.subscribe(wanted, self._watch)

    @property
    def trouble(self) -> str | None:
        """Why the receiver does not have everything; None while nothing is wrong."""
        return self._worker.trouble

    def step(self, timeout_ms: int) -> None:
        """Read what has arrived, pass it to the worker, and commit what is delivered.

        Raises the error that ended the worker, which comes from Kafka: its dead letters could not be written.
        """
        if self._worker.failure is not None:
            raise self._worker.failure
        self._pause(pause=bool(self._waiting))
        polled = self._reader.poll(timeout_ms)
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
            Entry(
                DeliveryRecord(kind, each.value or b""),
                place.topic,
                each.offset,
                place.partition,
                each.key,
                fresh and number == 0,
            )
            for number, each in enumerate(records)
        ]

    def _forget_lost(self) -> None:
        """Drop the records of partitions that are another member's now."""
        lost, self._watch.away = self._watch.away, set()
        if lost:
            self._progress.forget(lost)
            self._waiting = deque(entry for entry in self._waiting if _place(entry) not in lost)
            self._worker.drop(lambda entry: _place(entry) in lost)

    def _pause(self, *, pause: bool) -> None:
        """Fetch no more, or fetch again; a partition assigned while paused is paused at the next step."""
        if pause:
            self._reader.pause(*self._reader.assignment())
        elif self._paused:
            self._reader.resume(*self._reader.assignment())
        self._paused = pause

    def _commit(self, done: Sequence[Entry]) -> None:
        assigned = self._reader.assignment()
        news = {place: offset for place, offset in self._progress.finish(done).items() if place in assigned}
        if not news:
            return
        offsets = {place: Committed(offset) for place, offset in news.items()}
        try:
            self._reader.commit(offsets, timeout_ms=COMMIT_MS)
        except MemberFencedError:
            raise
        except BrokerError as error:
            # The receiver has them. The next member to read these records delivers them again, with the same ids.
            log.warning("offsets not committed", delivery=self._name, cause=str(error))

    def _measure(self) -> None:
        """Set the gauges, about once a second."""
        if time.monotonic() < self._measured_s + 1:
            return
        self._measured_s = time.monotonic()
        self.joined = self._reader.generation >= 0
        waiting = sum(records_waiting(self._reader, self._progress.reached).values())
        self._metrics.sink_waiting(self._name, waiting)
        if self.joined and not waiting and self._worker.trouble is None:
            self._metrics.sink_up(self._name, up=True)
            self._metrics.sink_current(self._name)

    def _end(self) -> None:
        """End the worker after its current attempt, and commit what is delivered."""
        self._worker.close(0.0, LAST_S)
        try:
            self._commit(self._worker.finished())
        except BrokerError as error:
            log.warning("closed without a last commit", delivery=self._name, cause=str(error))


def _place(entry: Entry) -> TopicPartition:
    return TopicPartition(entry.source, entry.partition)
