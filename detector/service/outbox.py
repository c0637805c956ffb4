"""What a stage writes: records, alerts, decisions and dead letters, with the bytes in flight bounded.

The client would take any number of bytes while the broker is slow or away. So a stage asks `full` before it takes more in, and
pauses its partitions until what is on its way has arrived; it goes on polling meanwhile, or it would lose them. One batch can
go beyond the bound; where it goes far beyond, `send` itself waits. Nobody else need wait: `arrived` tells how far it has come.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from kafka.errors import AuthorizationError, KafkaError, KafkaTimeoutError

from detector import render
from detector.contracts import to_json
from detector.errors import ServiceError
from detector.findings import Outputs
from detector.service.connection import Connection
from detector.service.metrics import Metrics
from detector.service.topics import LARGEST_RECORD, Topics
from detector.service.unpacking import Packed

MOST_IN_FLIGHT = 16 * 1024 * 1024  # bytes; the client itself would take any number
FAR_BEYOND = 4  # so many times as much, and `send` waits
PATIENCE_S = 120.0
CLOSE_S = 5.0
SLICE_S = 1.0
MARGIN = 64 * 1024  # of the largest record: what surrounds its value
NOT_TAKEN = "Kafka did not take a record"
SOURCE_KEY = "source_key"  # header of a dead letter whose record had a key


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record came from."""

    topic: str
    partition: int
    offset: int


class Outbox:
    """Sends through one idempotent producer; `flush` returns when everything is acknowledged."""

    def __init__(self, connection: Connection, topics: Topics, metrics: Metrics | None = None, *, linger_ms: int = 2) -> None:
        self._connection = connection
        self._producer = connection.producer(linger_ms=linger_ms)
        self._topics = topics
        self._metrics = metrics or Metrics()
        self._pending: deque[tuple[Any, int]] = deque()
        self._bytes = 0
        self.sent = 0

    @property
    def in_flight(self) -> int:
        """How many bytes are on their way, at most.

        Raises `ServiceError` when a record was not taken.
        """
        while self._pending and self._pending[0][0].is_done:
            future, size = self._pending.popleft()
            self._bytes -= size
            if future.failed():
                raise self._connection.failure(future.exception, NOT_TAKEN) from future.exception
        return self._bytes

    @property
    def arrived(self) -> int:
        """How many of the records `sent` so far are acknowledged, as are all before them; raises as `in_flight` does."""
        return self.sent - (len(self._pending) if self.in_flight or self._pending else 0)

    def pending(self) -> list[Any]:
        """Return the futures of what was sent and may not have arrived yet; raises as `in_flight` does."""
        return [future for future, _ in self._pending] if self.in_flight or self._pending else []

    @property
    def full(self) -> bool:
        """Whether so much is on its way that no more should be taken in; raises as `in_flight` does."""
        return self.in_flight > MOST_IN_FLIGHT

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, bytes]] | None = None,
        *,
        partition: int | None = None,
    ) -> None:
        """Hand one record over; waits when far too many bytes are on their way. Without `partition` the key decides on it."""
        try:
            future = self._producer.send(topic, key=key, value=value, headers=headers or [], partition=partition)
        except AuthorizationError as error:
            raise self._connection.failure(error, NOT_TAKEN) from error
        size = len(value or b"")
        self._pending.append((future, size))
        self._bytes += size
        self.sent += 1
        if self._bytes > FAR_BEYOND * MOST_IN_FLIGHT and self.in_flight > FAR_BEYOND * MOST_IN_FLIGHT:
            self.flush()

    def dead_letter(self, reason: str, detail: str, record: bytes | None, origin: Origin, key: bytes | None = None) -> None:
        """Send a record that could not be used: its own bytes, and in headers why and whence, and its key if it had one.

        One that is larger than the topic takes is cut, and a header says how long it was. A batch that was not unpacked is one
        letter, with the offset of its first record.
        """
        if isinstance(record, Packed):
            reason, detail, origin, key = record.reason, record.detail, replace(origin, offset=record.first), None
        headers = [
            ("reason", reason.encode()),
            ("detail", detail.encode()),
            ("source_topic", origin.topic.encode()),
            ("source_partition", str(origin.partition).encode()),
            ("source_offset", str(origin.offset).encode()),
            ("detector_version", render.VERSION.encode()),
        ]
        if key is not None:
            headers.append((SOURCE_KEY, key))
        # A record without key and value cannot be sent: a missing value becomes an empty one.
        whole = record or b""
        if len(whole) > LARGEST_RECORD - MARGIN or isinstance(record, Packed):
            # Neither is the record as it was, so it is never sent back.
            headers.append(("cut_from_bytes", str(len(whole)).encode()))
            whole = whole[: LARGEST_RECORD - MARGIN]
        self.send(self._topics.dead_letters, None, whole, headers)
        self._metrics.invalid(reason)

    def publish(self, outputs: Outputs, stamp: render.Stamp) -> None:
        """Send decisions, keyed by subject, which a gateway waits for, and then alerts, keyed by client."""
        for order in outputs.orders:
            decision = render.decision(order, stamp)
            self.send(self._topics.decisions, decision.key.encode(), to_json(decision))
        for finding in outputs.findings:
            self.send(self._topics.alerts, finding.client.encode(), to_json(render.alert(finding, stamp)))

    def flush(self) -> None:
        """Wait until everything is acknowledged.

        Raises `ServiceError` when something was not.
        """
        pending = [future for future, _ in self._pending]
        self._pending.clear()
        self._bytes = 0
        try:
            settle(self._producer, pending, self._metrics.beat)
        except KafkaError as error:
            raise self._connection.failure(error, NOT_TAKEN) from error

    def arrive(self, pending: Sequence[Any], beat: Callable[[], None]) -> None:
        """Wait, in whatever thread, until all of `pending` have arrived; what is sent meanwhile is not hurried.

        Raises as `flush` does.
        """
        until = time.monotonic() + PATIENCE_S
        for future in pending:
            while not future.is_done:
                beat()
                if time.monotonic() > until:
                    raise ServiceError(f"{NOT_TAKEN} within {PATIENCE_S:g} seconds")
                with suppress(KafkaError):  # told below
                    future.get(timeout=SLICE_S)
            if future.failed():
                raise self._connection.failure(future.exception, NOT_TAKEN) from future.exception

    def settled(self, patience_s: float = SLICE_S) -> bool:
        """Wait a little; tell whether everything is acknowledged.

        Raises `ServiceError` when something was not taken.
        """
        if self.in_flight or self._pending:
            with suppress(KafkaTimeoutError):
                self._producer.flush(timeout=patience_s)
        return self.in_flight == 0 and not self._pending

    def close(self) -> None:
        """Send what is left and close; what the broker does not take in a few seconds is dropped."""
        try:
            self._producer.close(timeout=CLOSE_S)
        except KafkaError:
            Connection.drop(self._producer)

    def abandon(self) -> None:
        """Drop what is not acknowledged."""
        Connection.drop(self._producer)


def settle(producer: Any, pending: list[Any], beat: Callable[[], None], patience_s: float = PATIENCE_S) -> None:
    """Wait until everything has arrived or failed, with a `beat` now and then: waiting for a broker is not being stuck.

    Empties `pending`. Raises the client's own error for the first record that was not taken, `KafkaTimeoutError` after
    `patience_s`.
    """
    until = time.monotonic() + patience_s
    while True:
        try:
            producer.flush(timeout=SLICE_S)
        except KafkaTimeoutError:
            if time.monotonic() > until:
                raise
        else:
            break
        beat()
    for future in pending:
        future.get(timeout=patience_s)
    pending.clear()
