"""Partitions that were paused in the middle of what had been fetched of them go on."""

import time
from collections.abc import Callable

import pytest
from kafka import TopicPartition
from kafka.admin import NewTopic

from detector.config import KafkaSection
from detector.service.kafka.connection import Connection

pytestmark = pytest.mark.broker
EACH = 500
PATIENCE_S = 60.0


def test_a_partition_resumed_after_others_were_read_to_their_end_goes_on(
    broker: str, fresh_topic: Callable[[str], str]
) -> None:
    """Two partitions are paused half read, a third is read to its end, and then all of them are read to theirs."""
    connection = Connection(KafkaSection(bootstrap_servers=(broker,)))
    topic = fresh_topic("parked")
    admin = connection.admin()
    admin.create_topics([NewTopic(name=topic, num_partitions=3, replication_factor=1)], wait_for_metadata=True)
    admin.close()
    producer = connection.producer()
    places = [TopicPartition(topic, number) for number in range(3)]
    for place in places:
        for i in range(EACH):
            producer.send(topic, value=str(i).encode(), partition=place.partition)
    producer.close(timeout=30)

    consumer = connection.consumer(max_poll_records=50, fetch_max_wait_ms=50)
    consumer.assign(places)
    found: dict[TopicPartition, list[int]] = {place: [] for place in places}
    paused: list[TopicPartition] = []

    def read_until(done: Callable[[], bool]) -> None:
        until = time.monotonic() + PATIENCE_S
        while not done() and time.monotonic() < until:
            for place, records in consumer.poll(timeout_ms=50).items():
                found[place] += [record.offset for record in records]
                if len(paused) < 2 and place not in paused:
                    paused.append(place)
                    consumer.pause(place)

    def third_is_read() -> bool:
        return len(paused) == 2 and all(len(found[place]) == EACH for place in places if place not in paused)

    read_until(third_is_read)
    assert third_is_read()
    consumer.resume(*paused)
    read_until(lambda: all(len(offsets) == EACH for offsets in found.values()))
    consumer.close()
    assert found == {place: list(range(EACH)) for place in places}
