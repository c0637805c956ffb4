"""The ingest stage: prediction logs in, normalised events keyed by client out.

No serving stack keys its log by client, and a client's state must be in one place. So events are validated and written again,
keyed by their client. A record that cannot be used becomes a dead letter with its original bytes. Offsets are committed up to
10 times a second, and only for records whose results are acknowledged. After a crash some records are written twice; the engine
recognises them by their ids. The stage waits for neither acknowledgements nor commits, since reading on does not need them.

The stage computes a client's partition from the number of partitions that the state has. So partitions added to the queries
topic do not separate a client from its state. Partitions added to an input topic are read from their beginning.
"""

import time
from collections import Counter, deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeAlias

import structlog
from kafka import TopicPartition

from detector.baseline.secret import settings_of
from detector.baseline.store import Baseline, dimensions_of
from detector.clock import Clock
from detector.config import Config
from detector.engine.partition import partition_of
from detector.errors import BrokerError, ServiceError
from detector.ingest.assemble import Assembled, assembler_for
from detector.ingest.batch import usable
from detector.ingest.formats.decoder import Surroundings
from detector.ingest.places import Places as RecordPlaces
from detector.service.ingest.merge import Merger
from detector.service.ingest.pace import Pace, reached
from detector.service.kafka.codec import encode
from detector.service.kafka.connection import Connection
from detector.service.kafka.producer import Beside, RecordOrigin, RecordSource, StageProducer
from detector.service.kafka.record import whole
from detector.service.kafka.registry import decoder_of_topics
from detector.service.kafka.topics import Topics
from detector.service.refusals import RefusalMonitor, Refused
from detector.service.telemetry.metrics import Metrics, records_waiting

MOST_RECORDS = 2000
CLOSE_MS = 3000
LAST_S = 2.0  # for the last commit
PLACES_KNOWN = 100_000  # clients whose partition is remembered
COMMIT_EVERY_S = 0.1
LINGER_MS = 2
WARN_EVERY_S = 300.0  # of halves whose other half another worker may have read
AGAIN_S = 0.5  # before a failed commit is tried again
TELL_EVERY_S = 1.0  # between commits that tell other workers our progress while we wait for them

log = structlog.get_logger(__name__)

PIECE_BYTES = 1024 * 1024  # of values assembled at once: a record may hold thousands of events

Due: TypeAlias = list[tuple[TopicPartition, Any]]
Places = dict[TopicPartition, tuple[int, float]]  # the next offset of partitions, and the time of the record reached


def _log_format(topic: str, name: str, sign: str) -> None:
    log.info("format recognised", topic=topic, format=name, why=sign)


class IngestStage:
    """Reads the input topics as one member of the ingest group; clients are spread over `partitions`."""

    def __init__(
        self,
        config: Config,
        connection: Connection,
        topics: Topics,
        partitions: int,
        clock: Clock,
        baseline: Baseline | None,
        metrics: Metrics | None = None,
        member: str | None = None,
    ) -> None:
        known = baseline.models if baseline else {}
        watching = Surroundings(recognized=_log_format)
        decoder = decoder_of_topics(config, baseline.schemas if baseline else None, watching)
        self._assembler = assembler_for(config, dimensions_of(known), clock, decoder, settings_of(config, baseline).secret)
        self._topics = topics
        self._place = lru_cache(PLACES_KNOWN)(partial(partition_of, partitions=partitions))
        self._reader = connection.bounded.reader(
            group=f"{config.kafka.group_id}.ingest", member=member, max_poll_records=MOST_RECORDS, fetch_max_wait_ms=50
        )
        self._metrics = metrics or Metrics()
        self.refusals = RefusalMonitor("ingest", config.kafka.dead_letter_ratio, self._metrics)
        self._reached: dict[TopicPartition, int] = {}
        self._told = 0.0
        self._again = 0.0
        self._held_up = False
        self._on_its_way: deque[tuple[int, Places]] = deque()  # with the number of records sent by then
        self._written: Places = {}
        self._committing = False
        self._measured = 0.0
        self._halves_s = config.ingest.join_seconds
        self._taken = time.monotonic()
        self._held: dict[TopicPartition, int] = {}
        self._last: Places = {}
        self._warned = -WARN_EVERY_S
        self._inputs = config.kafka.input_topics
        try:
            self._producer = StageProducer(connection, topics, self._metrics, linger_ms=LINGER_MS)
        except ServiceError:
            self._reader.close()
            raise
        self._reader.subscribe(list(config.kafka.input_topics))
        lateness_ms = config.engine.lateness_minutes * 60_000
        self._merger = Merger(lateness_ms)
        self._pace = Pace(
            self._reader,
            config.kafka.input_topics,
            slack_ms=int(lateness_ms / 2),
            patience_s=config.kafka.session_seconds + 15.0,
        )
        self.read = 0
        self.invalid = 0

    @property
    def generation(self) -> int:
        """The group generation that we know of; it grows whenever a member joins or leaves."""
        return self._reader.generation

    def step(self, timeout_ms: int) -> int:
        """Read what has arrived, write what is due and commit what was written; return the number of records written.

        Raises `ServiceError` when something written was not acknowledged; a new stage then starts from the last commit.
        """
        if self._held_up:
            self._reader.pause(*self._reader.assignment())
        polled = self._reader.poll(timeout_ms)
        assigned = self._reader.assignment()
        self._merger.add(polled, assigned)
        for partition, records in polled.items():
            self._reached.setdefault(partition, records[0].offset)
        self._measure()
        due = [] if self._held_up else list(self._merger.due(self._reader, self._pace.bound(assigned)))
        self._join_late(assigned, quiet=not due)
        if due:
            for piece in _pieces(due):
                self._take(piece)
            self._note_held()
            places = {partition: (record.offset + 1, record.timestamp) for partition, record in due}
            self._on_its_way.append((self._producer.sent, places))
        self._note_arrivals(assigned)
        self._hold_up(held_up=self._producer.full)
        self._commit()
        self.read += len(due)
        return len(due)

    def _join_late(self, assigned: Collection[TopicPartition], *, quiet: bool) -> None:
        """Give up halves of calls when nothing came for as long as they may wait; forget those that other workers read."""
        now = time.monotonic()
        if not quiet:
            self._taken = now
        if not self._held:
            return
        lost = self._held.keys() - assigned
        if lost:
            self._assembler.forget(lambda place: isinstance(place, RecordOrigin) and _partition_of(place) in lost)
            self._note_held()
        if now - self._taken > self._halves_s:
            self._give(self._assembler.finish(first_sequence=0), [])
            self._taken = now
            self._note_held()

    def _note_given_up(self, halves: int) -> None:
        """Count the halves that found no other, and say where it may have gone: into a partition that another worker reads."""
        if not halves:
            return
        self._metrics.given_up(halves)
        now = time.monotonic()
        there = 0
        with suppress(BrokerError):  # it is told without
            there = sum(len(self._reader.partitions_of(topic)) for topic in self._inputs)
        ours = len(self._reader.assignment())
        if ours < there and now - self._warned >= WARN_EVERY_S:
            self._warned = now
            log.warning(
                "halves of calls given up: the others may be in partitions of other workers, unless both have one key",
                halves=halves,
                partitions=ours,
                of=there,
            )

    def _note_held(self) -> None:
        """Remember the first record of each partition that is held back: it is not committed, so a restart reads it again."""
        self._held = {}
        for place in self._assembler.held():
            if isinstance(place, RecordOrigin):
                partition = _partition_of(place)
                self._held[partition] = min(place.offset, self._held.get(partition, place.offset))

    def _hold_up(self, *, held_up: bool) -> None:
        """Stop fetching while too many bytes are in flight. Polling goes on, so that we stay a member."""
        if held_up != self._held_up:
            log.info("Kafka takes the events slowly: partitions paused" if held_up else "partitions resumed")
        self._held_up = held_up  # the merger resumes them
        self._metrics.held_up("ingest", held_up)

    def _note_arrivals(self, assigned: Collection[TopicPartition]) -> None:
        """Find what was acknowledged and may be committed, for the partitions that are still ours."""
        arrived = self._producer.arrived
        while self._on_its_way and self._on_its_way[0][0] <= arrived:
            self._written |= self._on_its_way.popleft()[1]
        self._written = {partition: place for partition, place in self._written.items() if partition in assigned}
        self._last = {partition: place for partition, place in self._last.items() if partition in assigned}

    def _commit(self) -> None:
        """Start to commit what was written, with the record time reached in each partition.

        With nothing new, it commits once a second while records wait, so that other workers see our progress. A commit that
        fails, for instance during a rebalance, is tried again as long as the partition is ours.
        """
        now = time.monotonic()
        if self._committing or now < self._again:
            return
        due = self._written or (len(self._merger) and now > self._told + TELL_EVERY_S)
        if due and (places := self._committable()):
            self._committing = True
            self._again = now + COMMIT_EVERY_S
            written = {place: reach for place, reach in self._written.items() if place not in self._held}
            self._reader.commit_async(reached(places), partial(self._committed, places, written))

    def _committable(self) -> Places:
        """Return up to where everything is written: for a partition with nothing in flight, the next waiting record."""
        flying = {partition for _, places in self._on_its_way for partition in places}
        heads = self._merger.heads().items()
        waiting = {partition: (record.offset, record.timestamp) for partition, record in heads if partition not in flying}
        places = self._up_to_held(self._written | waiting)
        # While a record is held back nothing may change for long: what was committed last is not committed again.
        return {place: reach for place, reach in places.items() if self._last.get(place) != reach} if self._held else places

    def _up_to_held(self, places: Places) -> Places:
        """Return places with no offset beyond a record that is held back."""
        return {place: (min(offset, self._held.get(place, offset)), moment) for place, (offset, moment) in places.items()}

    def _committed(self, places: Places, written: Places, error: BrokerError | None) -> None:
        self._committing = False
        if error is not None:
            # The events are written. The next owner writes them again, and the engine recognises the repeats.
            log.warning("offsets not committed", cause=str(error))
            self._again = time.monotonic() + AGAIN_S
            return
        self._told = time.monotonic()
        self._last |= places
        self._metrics.committed("ingest")
        self._reached |= {partition: offset for partition, (offset, _) in written.items()}
        self._written = {partition: place for partition, place in self._written.items() if place != written.get(partition)}

    def _measure(self) -> None:
        """Set the gauges, about once a second."""
        if time.monotonic() < self._measured + 1:
            return
        self._measured = time.monotonic()
        self.refusals.check()
        assigned = self._reader.assignment()
        self._reached = {partition: reached for partition, reached in self._reached.items() if partition in assigned}
        self._metrics.lag("ingest", records_waiting(self._reader, self._reached))
        if not (len(self._merger) or self._written or self._on_its_way):
            self._metrics.committed("ingest")

    def _take(self, due: Due) -> None:
        values = [record.value or b"" for _, record in due]
        assembled = self._assembler.assemble(
            values,
            "log",
            first_line=1,
            first_sequence=0,
            record_at=lambda at: whole(*due[at]),
        )
        for topic, records in Counter(partition.topic for partition, _ in due).items():
            self._metrics.consumed(topic, records)
        self._give(assembled, due)

    def _give(self, assembled: Assembled, due: Due) -> None:
        """Write events and dead letters; those of held records stand for themselves, the others came of `due`."""
        batches, rejections, places = assembled
        self._note_given_up(sum(entry.held is not None for entry in rejections))
        origins = _Origins(due, places)
        self.refusals.note(usable(batches), map(Refused.of, rejections), (), lambda at: _partition_of(origins.of(at).origin))
        ordered: dict[int, tuple[str, bytes]] = {}
        for batch in batches:
            for place, client, value in zip(batch.sequence.tolist(), batch.client, encode(batch), strict=True):
                ordered[place] = (client, value)
        for place in sorted(ordered):
            client, value = ordered[place]
            source = partial(origins.source, place)  # known only where the event is too large
            self._producer.send(self._topics.queries, client.encode(), value, partition=self._place(client), source=source)
        kept = None
        for rejection in rejections:
            refused = origins.of(rejection.sequence)
            record = replace(refused.origin, index=0)
            stored = Beside() if record == kept else refused.record
            self._producer.dead_letter(rejection.reason, rejection.detail, stored, refused.origin, refused.key, refused.headers)
            kept = record
        self.invalid += len(rejections)

    def close(self) -> None:
        """Commit what was written and leave the group."""
        with suppress(ServiceError):  # whoever reads these records again writes repeats
            self._producer.settled(LAST_S)
            self._note_arrivals(self._reader.assignment())
            if self._written:
                self._reader.commit(reached(self._up_to_held(self._written)), timeout_ms=int(LAST_S * 1000))
        self._producer.close()
        self._reader.close(CLOSE_MS)

    def abandon(self) -> None:
        """Drop everything at once."""
        self._producer.abandon()
        self._reader.close()


class _Origins:
    """Which record each position of a stretch came from, those included that had been held back."""

    def __init__(self, due: Due, places: RecordPlaces) -> None:
        self._due = due
        self._places = places

    def source(self, sequence: int) -> RecordSource:
        return RecordSource(*self.of(sequence))

    def of(self, sequence: int) -> "_Source":
        held = self._places.held.get(sequence)
        if held is not None and isinstance(held.place, RecordOrigin):
            return _Source(held.place, held.key, held.value, held.headers)
        at, index = self._places.find(sequence)
        partition, record = self._due[at]
        origin = RecordOrigin(partition.topic, partition.partition, record.offset, index)
        return _Source(origin, record.key, record.value, record.headers or ())


class _Source(NamedTuple):
    """A `RecordSource` that has an origin."""

    origin: RecordOrigin
    key: bytes | None
    record: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


def _partition_of(origin: RecordOrigin) -> TopicPartition:
    return TopicPartition(origin.topic, origin.partition)


def _pieces(due: list[tuple[TopicPartition, Any]]) -> Iterator[list[tuple[TopicPartition, Any]]]:
    """Cut records into pieces of about `PIECE_BYTES`, so that memory stays bounded where a record holds many events."""
    piece: list[tuple[TopicPartition, Any]] = []
    size = 0
    for entry in due:
        piece.append(entry)
        size += len(entry[1].value or b"")
        if size >= PIECE_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece
