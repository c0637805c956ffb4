"""Records behind a schema registry through the ingest stage, on a real broker: Avro, Protobuf, and bytes that are neither."""

import time
from collections.abc import Callable

import pytest
from kafka import KafkaProducer

from detector.clock import SystemClock
from detector.config import Config, KafkaSection, RegistrySection
from detector.service.dead_letters import records as stored
from detector.service.ingest.stage import IngestStage
from detector.service.kafka.codec import decode
from detector.service.kafka.connection import Connection
from detector.service.kafka.provision import set_up
from detector.service.kafka.topics import Topics
from tests.service.ingest.test_formats import consumed
from tests.service.kafka.test_protobuf import CLIENT, EVENT, INDEXES, VALUE
from tests.service.kafka.test_registry import SmallRegistry, avro, framed

pytest.importorskip("grpc_tools", reason="compiles schemas: pip install grpcio-tools")


@pytest.mark.broker
def test_avro_and_protobuf_of_one_topic(broker: str, fresh_topic: Callable[[str], str]) -> None:
    """Each becomes an event; hostile bytes become dead-letter records, and the stage goes on."""
    topic = fresh_topic("registry")
    registry = SmallRegistry()
    reference = {"name": "acme/client.proto", "subject": "client", "version": 1}
    registry.paths |= {
        "/schemas/ids/20": (200, {"schema": EVENT, "schemaType": "PROTOBUF", "references": [reference]}),
        "/subjects/client/versions/1": (200, {"schema": CLIENT}),
    }
    try:
        kafka = KafkaSection(
            bootstrap_servers=(broker,),
            input_topics=(topic,),
            prefix=f"{topic}.",
            group_id=topic,
            registry=RegistrySection(url=registry.url),
        )
        config = Config(kafka=kafka)
        connection, topics = Connection(kafka), Topics.under(kafka.prefix)
        set_up(connection, topics, [topic], 1, 1)
        values = [
            framed(7, avro()).value,
            framed(20, INDEXES + VALUE).value,
            framed(20, b"\xff" * 40).value,
            framed(20, INDEXES + VALUE[:-1]).value,
            framed(99, b"x").value,
        ]
        producer = KafkaProducer(bootstrap_servers=broker)
        for value in values:
            producer.send(topic, value=value)
        producer.close()
        stage = IngestStage(config, connection, topics, 1, SystemClock(), None)
        until = time.monotonic() + 60
        while stage.read < len(values) and time.monotonic() < until:
            stage.step(100)
        stage.close()
    finally:
        registry.close()
    assert (stage.read, stage.invalid) == (len(values), 3)
    records = consumed(connection, topics.queries)
    batches, unreadable = decode([record.value for record in records], list(range(len(records))))
    assert not unreadable
    found = [(batch.client[at], batch.event_id[at], batch.vector[at].tolist()) for batch in batches for at in range(len(batch))]
    assert found == [("acme", "e1", [1.0, 2.5])] * 2
    assert {one.reason for one in stored.by_origin(stored.latest(config, 10))} == {"schema"}
