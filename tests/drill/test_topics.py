"""Alerts and decisions on a real Kafka: only what comes after the beginning, from every partition, with either client."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from detector.config import KafkaSection
from detector.contracts.document import to_json
from detector.drill.topics import TopicWatch
from detector.drill.watch import Sighting
from detector.errors import ServiceError
from detector.service.kafka import topics as topics_of
from detector.service.kafka.connection import Connection
from detector.service.kafka.topics import Topics
from detector.sinks.sample import sample_alert
from tests.gate.decisions import value
from tests.servers.broker import LocalBroker
from tests.waiting import wait_for

pytestmark = [pytest.mark.broker, pytest.mark.slow]


@pytest.fixture(scope="module")
def node(kafka_can_run: None) -> Iterator[LocalBroker]:  # noqa: ARG001
    """Return a broker."""
    with LocalBroker() as broker:
        yield broker


@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
def test_what_arrives_is_seen_once(node: LocalBroker, client: str) -> None:
    """What was there before is not; what deletes a decision is none; another record is counted."""
    section = KafkaSection.model_validate(
        {"bootstrap_servers": node.bootstrap, "prefix": f"{uuid4().hex[:8]}.", "client": client}
    )
    topics = Topics.under(section.prefix)
    admin = Connection(section).admin()
    topics_of.create(admin, topics, partitions=3, replication=1)
    admin.close()
    producer: Any = Connection(section).producer()

    def send(topic: str, partition: int, key: bytes, content: bytes | None) -> None:
        producer.send(topic, key=key, value=content, partition=partition)
        producer.flush(timeout=30)

    send(topics.decisions, 0, b"client:early:fraud", value("early"))
    watch = TopicWatch(section)
    try:
        send(topics.decisions, 1, b"client:acme:fraud", value("acme"))
        send(topics.decisions, 2, b"client:acme:fraud", None)
        send(topics.decisions, 2, b"client:x:fraud", b"no decision")
        send(topics.alerts, 0, b"acme", to_json(sample_alert()))
        seen: list[Sighting] = []

        def arrived() -> bool:
            seen.extend(watch.poll())
            return len(seen) == 2 and watch.unreadable == 1

        wait_for(arrived)
        assert {one.step for one in seen} == {"alert", "decision"}
        assert not any("early" in one.clients for one in seen)
    finally:
        watch.close()
        Connection.drop(producer)


def test_a_topic_that_is_missing_is_named(node: LocalBroker) -> None:
    """With the command that makes it."""
    section = KafkaSection.model_validate({"bootstrap_servers": node.bootstrap, "prefix": "nothing."})
    with pytest.raises(ServiceError, match=r"'nothing\.alerts' does not exist: create it with `detector topics create`"):
        TopicWatch(section)
