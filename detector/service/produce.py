"""Streaming a recorded log into Kafka, line by line, as a serving stack would write it.

For trials, load tests and demonstrations: at full speed, at a fixed rate, or with the gaps between the events' own times.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from kafka.errors import KafkaError

from detector.config import Config
from detector.errors import ServiceError, SourceError
from detector.ingest.formats.decoder import Record, several
from detector.ingest.formats.event import DecodedEvent
from detector.ingest.formats.routing import decoder_for
from detector.ingest.paths import expand
from detector.ingest.source import Position, read_lines
from detector.service.kafka.connection import Connection
from detector.service.kafka.topics import partitions_of

MOST_IN_FLIGHT = 8 * 1024 * 1024  # bytes; the client itself has no limit
PATIENCE_S = 30.0
LAST_PATIENCE_S = 5.0  # after Ctrl-C


@dataclass(slots=True)
class Produced:
    """Progress: lines sent, lines acknowledged by the broker, their bytes, and the log being read."""

    sent: int = 0
    acknowledged: int = 0
    bytes: int = 0
    source: str = ""
    line: int = 0
    interrupted: bool = False
    problems: tuple[str, ...] = ()


Progress = Callable[[Position, Produced], None]
Pace = float | Literal["fastest", "realtime"]


class Sending(Protocol):
    """The part of the Kafka client that `Flow` uses."""

    def send(self, topic: str, value: bytes | None = None, key: bytes | None = None) -> Any:
        """Send a record and return its future."""


class Flow:
    """Sends with a bound on unacknowledged bytes, and counts what was acknowledged."""

    def __init__(self, producer: Sending, topic: str, produced: Produced, most_bytes: int = MOST_IN_FLIGHT) -> None:
        """Send to `topic` through `producer`, counting in `produced`."""
        self._producer = producer
        self._topic = topic
        self._produced = produced
        self._most = most_bytes
        self._pending: deque[tuple[Any, int]] = deque()
        self._flying = 0

    def send(self, key: bytes | None, value: bytes) -> None:
        """Send a record; waits while too many bytes are in flight.

        Raises `ServiceError` when an earlier record was refused.
        """
        while self._pending and (self._flying + len(value) > self._most or self._pending[0][0].is_done):
            self._settle(PATIENCE_S)
        try:
            self._pending.append((self._producer.send(self._topic, value=value, key=key), len(value)))
        except KafkaError as error:
            raise ServiceError(f"Kafka did not take a record: {error}") from error
        self._flying += len(value)
        self._produced.sent += 1

    def drain(self, patience_s: float = PATIENCE_S) -> None:
        """Wait until everything is acknowledged; raises `ServiceError` when something was refused or takes too long."""
        until = time.monotonic() + patience_s
        while self._pending:
            self._settle(max(until - time.monotonic(), 0.001))

    def _settle(self, patience_s: float) -> None:
        future, size = self._pending[0]
        try:
            future.get(timeout=patience_s)
        except KafkaError as error:
            raise ServiceError(f"Kafka did not take a record: {error}") from error
        self._pending.popleft()
        self._flying -= size
        self._produced.acknowledged += 1
        self._produced.bytes += size


class Pacer:
    """Computes when the next line is due: at a fixed rate in lines a second, or by the gaps between the events' own times.

    >>> pacer = Pacer(4.0, now_s=100.0)
    >>> [pacer.due_s(None), pacer.due_s(None), pacer.due_s(None)]
    [100.0, 100.25, 100.5]
    >>> pacer = Pacer("realtime", now_s=100.0)
    >>> [pacer.due_s(5_000), pacer.due_s(None), pacer.due_s(7_500), pacer.due_s(6_000)]
    [100.0, 100.0, 102.5, 102.5]
    """

    def __init__(self, pace: Pace, now_s: float) -> None:
        """Start at `now_s`, in monotonic seconds."""
        self._pace = pace
        self._start_s = self._last_s = now_s
        self._lines = 0
        self._first_ms: int | None = None

    def due_s(self, time_ms: int | None) -> float:
        """Return when a line with this event time (None where it has none) is due; never before the previous line."""
        if isinstance(self._pace, float):
            self._last_s = self._start_s + self._lines / self._pace
        elif self._pace == "realtime" and time_ms is not None:
            if self._first_ms is None:
                self._first_ms = time_ms
            self._last_s = max(self._last_s, self._start_s + (time_ms - self._first_ms) / 1000)
        self._lines += 1
        return self._last_s


def produce(
    logs: Sequence[str],
    topic: str,
    config: Config,
    *,
    pace: Pace = "fastest",
    keyed: bool = False,
    progress: Progress | None = None,
) -> Produced:
    """Send every line of `logs` to `topic`, malformed ones too, and return when all are acknowledged.

    With `keyed` the key of a record is its client (no key where the client cannot be read). A record's timestamp is the time of
    sending. Ctrl-C ends it early, with `interrupted`; logs that cannot be read to their end are listed in `problems`.

    Raises `ServiceError` when the topic does not exist or Kafka refuses a record.
    """
    connection = Connection(config.kafka)
    _must_exist(connection, topic)
    producer = connection.producer(linger_ms=5)
    produced = Produced()
    flow = Flow(producer, topic, produced)
    try:
        try:
            produced.problems = tuple(_run(logs, topic, config, flow, produced, pace, progress, keyed=keyed))
            flow.drain()
        except KeyboardInterrupt:
            produced.interrupted = True
            flow.drain(LAST_PATIENCE_S)
    except ServiceError as error:
        failed = connection.failure(error, f"{topic!r} cannot be written")
        raise type(failed)(f"{failed}\n{summary(produced)}") from error
    finally:
        if produced.acknowledged < produced.sent:
            Connection.drop(producer)
        else:
            producer.close()
    return produced


def summary(produced: Produced) -> str:
    """Return the progress as a sentence."""
    sent = f"{produced.acknowledged:,} lines ({produced.bytes / 1e6:,.1f} MB) are in Kafka"
    if produced.acknowledged < produced.sent:
        sent += f", {produced.sent - produced.acknowledged:,} more were not acknowledged yet"
    return f"{sent}; the last one sent was line {produced.line:,} of {produced.source}" if produced.interrupted else sent


def _must_exist(connection: Connection, topic: str) -> None:
    admin = connection.admin()
    try:
        if not partitions_of(admin, [topic]):
            raise ServiceError(
                f"topic {topic!r} does not exist: create it, or let `detector topics create --inputs` create the input topics "
                "of the configuration"
            )
    except KafkaError as error:
        raise connection.failure(error, "the topics cannot be checked") from error
    finally:
        admin.close()


def _run(
    logs: Sequence[str],
    topic: str,
    config: Config,
    flow: Flow,
    produced: Produced,
    pace: Pace,
    progress: Progress | None,
    *,
    keyed: bool,
) -> Iterator[str]:
    decode = keyed or pace == "realtime"
    decoder = decoder_for(config)
    pacer = Pacer(pace, time.monotonic())
    for log in expand(logs):
        produced.source = log
        position = Position()
        try:
            for chunk in read_lines(log, max_record_bytes=config.engine.max_record_bytes, position=position):
                for at, line in enumerate(chunk.lines):
                    found = several(decoder.decode(Record(line, topic=topic))) if decode else ()
                    event = next((one for one in found if isinstance(one, DecodedEvent)), None)
                    client, time_ms = (None, None) if event is None else (event.client.id, int(event.time))
                    if pace != "fastest" and (ahead_s := pacer.due_s(time_ms) - time.monotonic()) > 0:
                        time.sleep(ahead_s)
                    flow.send(client.encode() if keyed and client is not None else None, line)
                    produced.line = chunk.origin(at).line
                    if progress is not None and (pace != "fastest" or produced.sent % 100 == 0):
                        progress(position, produced)
                if chunk.damaged is not None:
                    yield f"{log}:{chunk.damaged.line}: left out: {chunk.damaged.detail}"
        except SourceError as error:
            yield str(error)
