"""The decisions topic for people: read to its end, written by hand, followed; and the audit topic beside it.

Reading keeps the records of the latest decisions in memory, a million of them take about a gigabyte. Only `read_committed`
records count. Blind to: whether the gateways have read what was written.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from detector.contracts import to_json
from detector.contracts.audit import Audit
from detector.contracts.decision import Decision
from detector.decisions.register import Register
from detector.errors import ServiceError
from detector.service.kafka.connection import Connection
from detector.service.kafka.topics import Topics, partitions_of

__all__ = ["KafkaDecisions"]

POLL_MS = 500
PATIENCE_POLLS = 60
AT_ONCE = 2000  # records
SENT_S = 30.0


class KafkaDecisions:
    """The decisions topic and the audit topic. See `detector.decisions.log.DecisionLog`."""

    def __init__(self, connection: Connection, topics: Topics) -> None:
        self._connection = connection
        self._topics = topics
        self._ends: dict[TopicPartition, int] = {}

    def register(self) -> Register:
        """Read the topic to its end. Raises `ServiceError` where it does not exist or cannot be read."""
        register = Register()
        with self._reading() as (consumer, partitions):
            begins, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
            for record in _between(consumer, begins, ends):
                register.take(record.value, _text(record.key))
            self._ends = dict(ends)
        return register

    def add(self, decision: Decision, trail: Audit) -> bool:
        """Write the audit record, then the decision; see `DecisionLog.add`. Raises `ServiceError` where Kafka fails."""
        self._check_audit()
        key = decision.key.encode()
        with self._writing() as producer:
            self._send(producer, self._topics.audit, key, to_json(trail))
            written = self._send(producer, self._topics.decisions, key, to_json(decision))
        place = TopicPartition(written.topic, written.partition)
        begin = self._ends.get(place, 0)
        if written.offset <= begin:
            return True
        with self._reading() as (consumer, _):
            consumer.assign([place])
            return all(record.key != key for record in _between(consumer, {place: begin}, {place: written.offset}))

    def note(self, trail: Audit) -> None:
        """Write an audit record. Raises `ServiceError` where Kafka does not take it."""
        with self._writing() as producer:
            self._send(producer, self._topics.audit, None, to_json(trail))

    def records(self, *, beginning: bool, stop: Callable[[], bool]) -> Iterator[tuple[str | None, bytes | None]]:
        """Follow the topic. Raises `ServiceError` where it does not exist or cannot be read."""
        with self._reading() as (consumer, partitions):
            starts = consumer.beginning_offsets(partitions) if beginning else consumer.end_offsets(partitions)
            for partition, start in starts.items():
                consumer.seek(partition, start)
            while not stop():
                for records in consumer.poll(timeout_ms=POLL_MS).values():
                    for record in records:
                        yield _text(record.key), record.value

    def _check_audit(self) -> None:
        try:
            admin = self._connection.admin()
            try:
                found = partitions_of(admin, [self._topics.audit])
            finally:
                admin.close()
        except KafkaError as error:
            raise self._connection.failure(error, f"topic {self._topics.audit!r} cannot be written") from error
        if not found:
            raise ServiceError(
                f"topic {self._topics.audit!r} does not exist, and nobody decides without a trail: create it with "
                "`detector topics create`"
            )

    @contextmanager
    def _reading(self) -> Iterator[tuple[Any, list[TopicPartition]]]:
        topic = self._topics.decisions
        try:
            admin = self._connection.admin()
            try:
                count = partitions_of(admin, [topic]).get(topic)
            finally:
                admin.close()
            if count is None:
                raise ServiceError(f"topic {topic!r} does not exist: create it with `detector topics create`")
            consumer = self._connection.consumer(max_poll_records=AT_ONCE, fetch_max_wait_ms=50)
            try:
                partitions = [TopicPartition(topic, number) for number in range(count)]
                consumer.assign(partitions)
                yield consumer, partitions
            finally:
                consumer.close(autocommit=False)
        except KafkaError as error:
            raise self._connection.failure(error, f"topic {topic!r} cannot be read") from error

    @contextmanager
    def _writing(self) -> Iterator[KafkaProducer]:
        try:
            producer = self._connection.producer(linger_ms=0)
        except KafkaError as error:
            raise self._connection.failure(error, "the decision cannot be written") from error
        try:
            yield producer
        finally:
            Connection.drop(producer)

    def _send(self, producer: KafkaProducer, topic: str, key: bytes | None, value: bytes) -> Any:
        try:
            return producer.send(topic, key=key, value=value).get(timeout=SENT_S)
        except KafkaError as error:
            raise self._connection.failure(error, f"topic {topic!r} cannot be written") from error


def _between(consumer: Any, starts: dict[TopicPartition, int], ends: dict[TopicPartition, int]) -> Iterator[Any]:
    """Yield the records from `starts` up to `ends`. Raises `ServiceError` when the broker stays silent."""
    for partition, start in starts.items():
        consumer.seek(partition, start)
    silent = 0
    while any(consumer.position(place) < ends[place] for place in starts):
        polled = consumer.poll(timeout_ms=POLL_MS)
        silent = 0 if polled else silent + 1
        if silent > PATIENCE_POLLS:
            raise ServiceError("the decisions cannot be read to their end: the broker does not answer")
        for place, records in polled.items():
            yield from (record for record in records if record.offset < ends[place])


def _text(key: bytes | None) -> str | None:
    return None if key is None else key.decode(errors="replace")
