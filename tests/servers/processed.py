"""What the service has made of its topics on a broker of ours: whether it has processed them, and what lies in them."""

import time
from collections.abc import Callable
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError

from detector.config import KafkaSection
from detector.service.kafka.connection import Connection
from detector.service.kafka.topics import Topics

__all__ = ["PATIENCE_S", "until_processed", "values"]

PATIENCE_S = 300.0


def until_processed(kafka: KafkaSection, topic: str, alive: Callable[[], bool]) -> bool:
    """Wait until both groups of the service have committed all that lies in the log `topic` and in the queries.

    False where the service is not `alive` before, or takes more than `PATIENCE_S`.
    """
    admin, consumer = Connection(kafka).admin(), Connection(kafka).consumer()
    groups = ((f"{kafka.group_id}.ingest", topic), (kafka.group_id, Topics.under(kafka.prefix).queries))
    until = time.monotonic() + PATIENCE_S
    try:
        while time.monotonic() < until and alive():
            try:
                if all(_left(admin, consumer, group, where) == 0 for group, where in groups):
                    return True
            except KafkaError:  # a fresh broker has no coordinator for the groups yet
                pass
            time.sleep(0.2)
    finally:
        consumer.close(autocommit=False)
        admin.close()
    return False


def values(kafka: KafkaSection, topic: str) -> list[bytes]:
    """Return all that lies in a topic."""
    consumer = Connection(kafka).consumer()
    try:
        partitions = _partitions(consumer, topic)
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        consumer.seek_to_beginning(*partitions)
        found = []
        while any(consumer.position(partition) < end for partition, end in ends.items()):
            for records in consumer.poll(timeout_ms=200).values():
                found += [record.value for record in records if record.value is not None]
        return found
    finally:
        consumer.close(autocommit=False)


def _left(admin: Any, consumer: Any, group: str, topic: str) -> int:
    """Return how many records of a topic the group has not committed."""
    ends = consumer.end_offsets(_partitions(consumer, topic))
    committed = admin.list_group_offsets(group).get(group, {})
    return sum(end - (committed[place].offset if place in committed else 0) for place, end in ends.items())


def _partitions(consumer: Any, topic: str) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
