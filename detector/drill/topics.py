"""Alerts and decisions as they arrive on Kafka."""

from collections.abc import Sequence
from typing import Final

from kafka import TopicPartition
from kafka.errors import KafkaError

from detector.config import KafkaSection
from detector.drill.watch import Reader, Sighting, read_alert, read_decision
from detector.errors import BrokerError, ServiceError
from detector.service.kafka.connection import Connection
from detector.service.kafka.topics import Topics, partitions_of

__all__ = ["TopicWatch"]

POLL_MS: Final = 20
FETCH_MS: Final = 100
RECORDS: Final = 1000


class TopicWatch:
    """Follows the topics of alerts and of decisions from their present ends. It is in no group and commits nothing."""

    def __init__(self, section: KafkaSection) -> None:
        """Watch from now on; raises `ServiceError` where the topics cannot be read."""
        self.unreadable = 0
        self._connection = Connection(section)
        topics = Topics.under(section.prefix)
        self._readers: dict[str, Reader] = {topics.alerts: read_alert, topics.decisions: read_decision}
        try:
            partitions = self._partitions()
            self._reader = self._connection.reader(max_poll_records=RECORDS, fetch_max_wait_ms=FETCH_MS)
            self._reader.assign(partitions)
            for partition, end in self._reader.end_offsets(partitions).items():
                self._reader.seek(partition, end)
        except (BrokerError, KafkaError) as error:
            raise self._failure(error) from error

    def poll(self) -> Sequence[Sighting]:
        """Return what has arrived since the last call; raises `ServiceError`."""
        try:
            polled = self._reader.poll(POLL_MS)
        except BrokerError as error:
            raise self._failure(error) from error
        found: list[Sighting] = []
        for partition, records in polled.items():
            for record in records:
                if record.value is None:  # what deletes a decision
                    continue
                sighting = self._readers[partition.topic](bytes(record.value))
                if sighting is None:
                    self.unreadable += 1
                else:
                    found.append(sighting)
        return found

    def close(self) -> None:
        """Leave the brokers."""
        self._reader.close()

    def _partitions(self) -> list[TopicPartition]:
        admin = self._connection.admin()
        try:
            found = partitions_of(admin, list(self._readers))
        finally:
            admin.close()
        missing = [name for name in self._readers if name not in found]
        if missing:
            raise ServiceError(f"topic {missing[0]!r} does not exist: create it with `detector topics create`")
        return [TopicPartition(name, number) for name in self._readers for number in range(found[name])]

    def _failure(self, error: BrokerError | KafkaError) -> ServiceError:
        return self._connection.failure(error, "cannot read alerts and decisions")
