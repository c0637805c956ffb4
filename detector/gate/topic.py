"""Decisions from Kafka: the compacted topic, read to its end, then followed.

The reader is in no group and commits nothing: every gate reads everything. While brokers are away it keeps what it knows.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog
from kafka import TopicPartition
from kafka.errors import KafkaError

from detector.clock import Clock
from detector.config import KafkaSection
from detector.errors import BrokerError, ServiceError
from detector.gate.shelf import Shelf
from detector.gate.store import Store
from detector.service.kafka.clients.protocol import Reader
from detector.service.kafka.connection import Connection
from detector.service.kafka.topics import Topics, partitions_of

__all__ = ["TopicSource"]

POLL_MS: Final = 250
CHECK_S: Final = 3.0  # between two looks at how far the topic goes
CHECK_MS: Final = 2000
RECORDS: Final = 2000

log = structlog.get_logger(__name__)


class TopicSource:
    """Follows the decisions topic under the configured prefix."""

    def __init__(self, section: KafkaSection, clock: Clock) -> None:
        """Prepare a connection; nothing is asked yet."""
        self._connection = Connection(section)
        self._topic = Topics.under(section.prefix).decisions
        self._where = ", ".join(section.bootstrap_servers)
        self._clock = clock

    def follow(self, shelf: Shelf, tick: Callable[[], bool]) -> None:
        """Read the topic to its end, answer from that, and follow it until `tick` returns True.

        Raises `ServiceError` where it cannot be read, or was deleted and made again.
        """
        partitions = self._partitions()
        reader = self._connection.reader(max_poll_records=RECORDS, fetch_max_wait_ms=POLL_MS)
        try:
            reader.assign(partitions)
            self._read(_Reading(reader, partitions), shelf, tick)
        except BrokerError as error:
            raise self._connection.failure(error, f"cannot read topic {self._topic!r}") from error
        finally:
            reader.close()

    def _partitions(self) -> list[TopicPartition]:
        admin = self._connection.admin()
        try:
            found = partitions_of(admin, [self._topic])
        except KafkaError as error:
            raise self._connection.failure(error, f"cannot find topic {self._topic!r}") from error
        finally:
            admin.close()
        if self._topic not in found:
            raise ServiceError(f"topic {self._topic!r} does not exist: create it with `detector topics create`")
        return [TopicPartition(self._topic, number) for number in range(found[self._topic])]

    def _read(self, reading: "_Reading", shelf: Shelf, tick: Callable[[], bool]) -> None:
        store, complete, checked_s = Store(), False, float("-inf")
        while not tick():
            now_s = time.monotonic()
            if now_s - checked_s > (CHECK_S if complete else CHECK_S / 10):
                self._check(reading, shelf)
                checked_s = time.monotonic()
            records = reading.poll()
            now_ms = self._clock.now_ms()
            for record in records:
                shelf.take(store, record.key, record.value, now_ms)
            shelf.lag = reading.lag()
            if shelf.lag == 0 and reading.asked:
                if not complete:
                    shelf.put(store)
                    shelf.live = store.sweep(now_ms)
                    complete = True
                    log.info("the decisions are read", topic=self._topic, decisions=len(store))
                if reading.answered:
                    shelf.fresh()

    def _check(self, reading: "_Reading", shelf: Shelf) -> None:
        """Ask how far the topic goes; a broker that does not answer is trouble, and what is known stays in force."""
        if reading.ask():
            return
        trouble = f"Kafka at {self._where} does not answer"
        if shelf.trouble != trouble:
            log.warning("the decisions cannot be read; what is known stays in force", cause=trouble)
        shelf.lost(trouble)


class _Reading:
    """A reader, how far it is, and how far the topic went when that was last asked."""

    def __init__(self, reader: Reader, partitions: Sequence[TopicPartition]) -> None:
        self._reader = reader
        self._partitions = partitions
        self._ends: dict[TopicPartition, int] = {}
        self.answered = False

    @property
    def asked(self) -> bool:
        return bool(self._ends)

    def ask(self) -> bool:
        """Ask for the ends; return whether there was an answer. Raises `ServiceError` where the topic is another one."""
        try:
            ends = self._reader.end_offsets(self._partitions, timeout_ms=CHECK_MS)
        except BrokerError:
            self.answered = False
            return False
        if any(end < self._ends.get(partition, 0) for partition, end in ends.items()):
            raise ServiceError("the decisions topic is another one than before: reading it from its beginning")
        self._ends = ends
        self.answered = True
        return True

    def poll(self) -> list[Any]:
        return [record for records in self._reader.poll(POLL_MS).values() for record in records]

    def lag(self) -> int:
        """Return how many records are not read yet, as far as is known; transaction markers count while they are not passed."""
        return sum(max(end - (self._reader.position(partition) or 0), 0) for partition, end in self._ends.items())
