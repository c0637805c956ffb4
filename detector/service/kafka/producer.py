"""The producer of a stage: it sends records, alerts, decisions and dead letters, with the bytes in flight bounded.

The client would buffer any number of bytes while the broker is slow or away. So a stage checks `full` before it reads more, and
pauses its partitions until the broker has acknowledged enough. It goes on polling meanwhile, or it would lose its partitions.
One batch may exceed the bound; beyond four times the bound `send` itself waits. Nothing else waits: `arrived` counts what is
acknowledged.

A record that is too large for its topic is sent in a smaller form, and in the end as a dead letter that says so: sending the
same record again would fail for ever.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

import structlog

from detector.distribution import VERSION
from detector.errors import BrokerError, NoAnswerError, RecordTooLargeError, ServiceError
from detector.service.kafka.clients.protocol import Delivery, Header, Writer
from detector.service.kafka.connection import BATCH_BYTES, Connection
from detector.service.kafka.parcel import Form, limits_of, whole_size
from detector.service.kafka.results import Result
from detector.service.kafka.topics import LARGEST_RECORD, Topics
from detector.service.kafka.unpacking import Packed
from detector.service.telemetry.metrics import Metrics

__all__ = ["MOST_IN_FLIGHT", "Beside", "RecordOrigin", "RecordSource", "StageProducer", "settle"]

MOST_IN_FLIGHT = 16 * 1024 * 1024  # bytes; the client itself would take any number
FAR_BEYOND = 4  # times `MOST_IN_FLIGHT`, beyond which `send` waits
PATIENCE_S = 120.0
CLOSE_S = 5.0
SLICE_S = 1.0
MARGIN = 64 * 1024  # bytes of the largest record that are left for everything besides its value
NOT_TAKEN = "Kafka did not take a record"
SOURCE_KEY = "source_key"  # header of a dead letter whose record had a key
SOURCE_HEADER = "source_header:"  # before the name of each header that the record of a dead letter had
CUT_FROM = "cut_from_bytes"  # header of a dead letter whose record was cut
LITTLE = 16 * 1024  # bytes kept of a record where the topic of dead letters takes no large ones

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RecordOrigin:
    """Where a record came from; `index` tells the events of one record apart, counted from 0."""

    topic: str
    partition: int
    offset: int
    index: int = 0


class Beside(bytes):
    """Stands for a record whose bytes another dead letter holds: only the first refused event of a record stores them.

    Otherwise a request with a thousand wrong rows would be stored a thousand times.
    """


class RecordSource(NamedTuple):
    """A record that was refused, or that an event was made of; `origin` is None for what this service made."""

    origin: RecordOrigin | None
    key: bytes | None
    record: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()


class StageProducer:
    """Sends through one idempotent producer; `flush` returns when everything is acknowledged."""

    def __init__(self, connection: Connection, topics: Topics, metrics: Metrics | None = None, *, linger_ms: int = 2) -> None:
        self._connection = connection
        self._linger_ms = linger_ms
        self._topics = topics
        self._metrics = metrics or Metrics()
        self._limits = limits_of(connection, topics)
        self._writer = self._made()
        self._pending: deque[tuple[Delivery, int]] = deque()
        self._bytes = 0
        self.sent = 0

    def _made(self) -> Writer:
        """Return a writer whose batches fit into every topic, which takes none that is larger than its records may be."""
        batch_bytes = min(BATCH_BYTES, *self._limits.values())
        return self._connection.writer(linger_ms=self._linger_ms, batch_bytes=batch_bytes)

    @property
    def in_flight(self) -> int:
        """An upper bound of the bytes not acknowledged yet.

        Raises `ServiceError` when a record was refused.
        """
        try:
            self._writer.serve()
        except BrokerError as error:
            raise self._refused(error) from error
        while self._pending and self._pending[0][0].is_done:
            delivery, size = self._pending.popleft()
            self._bytes -= size
            if (refusal := delivery.error) is not None:
                raise self._refused(refusal) from refusal
        return self._bytes

    @property
    def arrived(self) -> int:
        """How many of the `sent` records are acknowledged without a gap; raises as `in_flight` does."""
        return self.sent - (len(self._pending) if self.in_flight or self._pending else 0)

    def pending(self) -> list[Delivery]:
        """Return the records that may not be acknowledged yet; raises as `in_flight` does."""
        return [delivery for delivery, _ in self._pending] if self.in_flight or self._pending else []

    @property
    def full(self) -> bool:
        """Whether too many bytes are in flight to read more; raises as `in_flight` does."""
        return self.in_flight > MOST_IN_FLIGHT

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[Header] = (),
        *,
        partition: int | None = None,
        source: Callable[[], RecordSource] | None = None,
    ) -> None:
        """Send one record; waits when far too many bytes are in flight. Without `partition` the key selects the partition.

        If the record is too large, its `source` becomes a dead letter; without a `source` the record itself does.
        """
        if not self._sent(topic, key, value, headers, partition):
            form = Form(topic, key, value, headers, partition)
            self._send_fitting(self._instead(form, source), form)

    def publish(self, results: Iterable[Result]) -> None:
        """Send decisions and alerts, in the given order."""
        for result in results:
            if not self._submit(result.whole):
                self._send_fitting(chain(result.smaller(), self._instead(result.whole, None)), result.whole)

    def dead_letter(
        self,
        reason: str,
        detail: str,
        record: bytes | None,
        origin: RecordOrigin,
        key: bytes | None = None,
        headers: Sequence[tuple[str, bytes | None]] = (),
    ) -> None:
        """Send a dead-letter record: the record's bytes, and in headers the reason, the origin, its key and its headers.

        A record that is larger than the topic takes is cut, and a header holds its full size. A batch that was not decompressed
        is one dead letter, with the offset of its first record.
        """
        if isinstance(record, Packed):
            reason, detail, origin, key = record.reason, record.detail, replace(origin, offset=record.first), None
        self._send_fitting(
            _dead_letter_forms(self._topics.dead_letters, reason, detail, RecordSource(origin, key, record, headers))
        )
        self._metrics.invalid(reason)

    def _instead(self, form: Form, source: Callable[[], RecordSource] | None) -> Iterator[Form]:
        """Yield the dead letter that replaces a record too large for its topic, and count it."""
        self._metrics.invalid("oversized")
        detail = f"topic {form.topic!r} takes no record of {form.size} bytes: see its max.message.bytes"
        whence = RecordSource(None, form.key, form.value) if source is None else source()
        yield from _dead_letter_forms(self._topics.dead_letters, "oversized", detail, whence)

    def _send_fitting(self, forms: Iterable[Form], refused: Form | None = None) -> None:
        """Send the first of the forms that is small enough for its topic; `refused` was not."""
        for form in forms:
            if refused is not None:
                self._tell(refused, f"{form.size} bytes to {form.topic}")
            if self._submit(form):
                return
            refused = form
        if refused is not None:
            self._tell(refused, "nothing")

    def _submit(self, form: Form) -> bool:
        return self._sent(*form)

    def _sent(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Sequence[Header], partition: int | None
    ) -> bool:
        """Send a record, unless it is too large for its topic or the client; return whether it was sent."""
        size = len(value) if value else 0
        if whole_size(size, key, headers) > self._limits.get(topic, LARGEST_RECORD):
            return False
        try:
            delivery = self._writer.send(topic, key, value, headers, partition)
        except RecordTooLargeError:
            return False
        except BrokerError as error:
            raise self._refused(error) from error
        self._pending.append((delivery, size))
        self._bytes += size
        self.sent += 1
        if self._bytes > FAR_BEYOND * MOST_IN_FLIGHT and self.in_flight > FAR_BEYOND * MOST_IN_FLIGHT:
            self.flush()
        return True

    def _tell(self, form: Form, instead: str) -> None:
        self._metrics.too_large(form.topic)
        log.warning(
            "a record is larger than its topic accepts: see max.message.bytes",
            topic=form.topic,
            bytes=form.whole_size,
            most=self._limits.get(form.topic, LARGEST_RECORD),
            sent_instead=instead,
        )

    def _refused(self, error: BrokerError) -> ServiceError:
        """Return the error for a refused record. After one that was too large, the writer must be replaced."""
        if self._writer.broken or isinstance(error, RecordTooLargeError):  # the limit was lowered since it was requested
            self._writer.drop()
            self._pending.clear()
            self._bytes = 0
            self._limits = limits_of(self._connection, self._topics)
            self._writer = self._made()
        return self._connection.failure(error, NOT_TAKEN)

    def flush(self) -> None:
        """Wait until everything is acknowledged.

        Raises `ServiceError` when something was not.
        """
        pending = [delivery for delivery, _ in self._pending]
        self._pending.clear()
        self._bytes = 0
        try:
            settle(self._writer, pending, self._metrics.beat)
        except BrokerError as error:
            raise self._refused(error) from error

    def arrive(self, pending: Sequence[Delivery], beat: Callable[[], None]) -> None:
        """Wait, in any thread, until all of `pending` are acknowledged; records sent meanwhile are not flushed.

        Raises as `flush` does.
        """
        until = time.monotonic() + PATIENCE_S
        for delivery in pending:
            while not delivery.is_done:
                beat()
                if time.monotonic() > until:
                    raise ServiceError(f"{NOT_TAKEN} within {PATIENCE_S:g} seconds")
                with suppress(BrokerError):  # reported below
                    delivery.wait(SLICE_S)
            if (error := delivery.error) is not None:
                raise self._connection.failure(error, NOT_TAKEN) from error

    def settled(self, patience_s: float = SLICE_S) -> bool:
        """Wait up to `patience_s`; return whether everything is acknowledged.

        Raises `ServiceError` when a record was refused.
        """
        if self.in_flight or self._pending:
            with suppress(NoAnswerError):
                self._writer.flush(patience_s)
        return self.in_flight == 0 and not self._pending

    def close(self) -> None:
        """Send what is left and close; what the broker does not acknowledge within `CLOSE_S` is dropped."""
        self._writer.close(CLOSE_S)

    def abandon(self) -> None:
        """Drop what is not acknowledged."""
        self._writer.drop()


def settle(writer: Writer, pending: list[Delivery], beat: Callable[[], None], patience_s: float = PATIENCE_S) -> None:
    """Wait until every record is acknowledged or failed; `beat` is called each second, so that waiting does not look stuck.

    Empties `pending`. Raises the error of the first refused record, `NoAnswerError` after `patience_s`.
    """
    until = time.monotonic() + patience_s
    while True:
        try:
            writer.flush(SLICE_S)
        except NoAnswerError:
            if time.monotonic() > until:
                raise
        else:
            break
        beat()
    for delivery in pending:
        delivery.wait(patience_s)
    pending.clear()


def _dead_letter_forms(topic: str, reason: str, detail: str, source: RecordSource) -> Iterator[Form]:
    """Yield a dead-letter record: whole up to the largest record, then with its first bytes only, then with headers only."""
    known = [("reason", reason.encode()), ("detail", detail.encode(errors="replace"))]
    if (origin := source.origin) is not None:
        known += [
            ("source_topic", origin.topic.encode()),
            ("source_partition", str(origin.partition).encode()),
            ("source_offset", str(origin.offset).encode()),
        ]
        if origin.index:
            known.append(("source_index", str(origin.index).encode()))
    known.append(("detector_version", VERSION.encode()))
    key = source.key
    # A record without key and value cannot be sent: a missing value becomes an empty one.
    whole = b"" if source.record is None else source.record
    own = [(SOURCE_HEADER + name, value or b"") for name, value in source.headers]
    size = sum(len(name) + len(value) for name, value in own)
    for kept in (LARGEST_RECORD - MARGIN, LITTLE, 0):
        keyed = key is not None and len(key) <= kept
        room = kept - len(key or b"") if keyed else kept
        headers = [*known, (SOURCE_KEY, key or b"")] if keyed else [*known]
        if size <= room:
            headers += own
            room -= size
        # A batch that was not decompressed is not the original record, so it is marked as cut and never replayed.
        if (
            len(whole) > room
            or (own and own[-1] not in headers)
            or keyed != (key is not None)
            or isinstance(whole, Packed | Beside)
        ):
            headers.append((CUT_FROM, str(len(whole)).encode()))
        yield Form(topic, None, whole[:room], headers)
