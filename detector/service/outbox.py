"""What a stage writes: records, alerts, decisions and dead letters, with the bytes in flight bounded."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kafka.errors import KafkaError, KafkaTimeoutError

from detector import render
from detector.contracts import to_json
from detector.errors import ServiceError
from detector.findings import Outputs
from detector.service.connection import Connection
from detector.service.metrics import Metrics
from detector.service.topics import Topics

MOST_IN_FLIGHT = 16 * 1024 * 1024  # bytes; the client itself would take any number
PATIENCE_S = 120.0
SLICE_S = 5.0


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record came from."""

    topic: str
    partition: int
    offset: int


class Outbox:
    """Sends through one idempotent producer; `flush` returns when everything is acknowledged."""

    def __init__(self, connection: Connection, topics: Topics, metrics: Metrics | None = None) -> None:
        self._producer = connection.producer(linger_ms=2)
        self._topics = topics
        self._metrics = metrics or Metrics()
        self._pending: list[Any] = []
        self._bytes = 0

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, bytes]] | None = None,
        *,
        partition: int | None = None,
    ) -> None:
        """Hand one record over; waits when too many bytes are on their way. Without `partition` the key decides on it."""
        self._pending.append(self._producer.send(topic, key=key, value=value, headers=headers or [], partition=partition))
        self._bytes += len(value or b"")
        if self._bytes > MOST_IN_FLIGHT:
            self.flush()

    def dead_letter(self, reason: str, detail: str, record: bytes | None, origin: Origin) -> None:
        """Send a record that could not be used: its own bytes, and in headers why and whence."""
        headers = [
            ("reason", reason.encode()),
            ("detail", detail.encode()),
            ("source_topic", origin.topic.encode()),
            ("source_partition", str(origin.partition).encode()),
            ("source_offset", str(origin.offset).encode()),
            ("detector_version", render.VERSION.encode()),
        ]
        # A record without key and value cannot be sent: a missing value becomes an empty one.
        self.send(self._topics.dead_letters, None, record or b"", headers)
        self._metrics.invalid(reason)

    def publish(self, outputs: Outputs, stamp: render.Stamp) -> None:
        """Send alerts, keyed by client, and decisions, keyed by subject."""
        for finding in outputs.findings:
            self.send(self._topics.alerts, finding.client.encode(), to_json(render.alert(finding, stamp)))
        for order in outputs.orders:
            decision = render.decision(order, stamp)
            self.send(self._topics.decisions, decision.key.encode(), to_json(decision))

    def flush(self) -> None:
        """Wait until everything is acknowledged.

        Raises `ServiceError` when something was not.
        """
        try:
            flush(self._producer, self._metrics.beat)
            for future in self._pending:
                future.get(timeout=PATIENCE_S)
        except KafkaError as error:
            raise ServiceError(f"Kafka did not take a record: {error}") from error
        finally:
            self._pending.clear()
            self._bytes = 0

    def close(self) -> None:
        """Send what is left and close; what the broker does not take in `PATIENCE_S` is dropped."""
        try:
            self._producer.close(timeout=PATIENCE_S)
        except KafkaError:
            Connection.drop(self._producer)

    def abandon(self) -> None:
        """Drop what is not acknowledged."""
        Connection.drop(self._producer)


def flush(producer: Any, beat: Callable[[], None]) -> None:
    """Wait until everything has arrived or failed, with a `beat` now and then: waiting for a broker is not being stuck.

    Raises the client's `KafkaTimeoutError` after `PATIENCE_S`.
    """
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            producer.flush(timeout=SLICE_S)
        except KafkaTimeoutError:
            if time.monotonic() > until:
                raise
        else:
            return
        beat()
