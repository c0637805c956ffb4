"""Topics of several formats through the ingest stage, on a real broker."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from kafka import KafkaProducer, TopicPartition
from structlog.testing import capture_logs

from detector.clock import SystemClock
from detector.config import Config, IngestSection, KafkaSection, TopicSection
from detector.ingest.formats.auto import DECIDING
from detector.service.dead_letters import records as stored
from detector.service.dead_letters import replay as dead_letters
from detector.service.ingest.stage import IngestStage
from detector.service.kafka.codec import decode
from detector.service.kafka.connection import Connection
from detector.service.kafka.provision import set_up
from detector.service.kafka.topics import Topics
from detector.testing import traffic


def consumed(connection: Connection, topic: str) -> list[Any]:
    reader = connection.consumer()
    place = TopicPartition(topic, 0)
    reader.assign([place])
    end = reader.end_offsets([place])[place]
    reader.seek_to_beginning(place)
    found: list[Any] = []
    while reader.position(place) < end:
        found += [record for records in reader.poll(timeout_ms=100).values() for record in records]
    reader.close(autocommit=False)
    return found


@pytest.mark.broker
def test_each_topic_has_its_format(broker: str, fresh_topic: Callable[[str], str], paired_format: str) -> None:
    """Client from a header, model from the topic, two events a record; what is refused goes back with its headers."""
    plain, special = fresh_topic("native"), fresh_topic("paired")
    kafka = KafkaSection(bootstrap_servers=(broker,), input_topics=(plain, special), prefix=f"{plain}.", group_id=plain)
    config = Config(kafka=kafka, ingest=IngestSection(topics={special: TopicSection(format=paired_format)}))
    connection, topics = Connection(config.kafka), Topics.under(config.kafka.prefix)
    set_up(connection, topics, [plain, special], 1, 1)
    lines = traffic(queries=2)[:4]
    now = int(time.time() * 1000)
    bodies = [
        {"id": "r0", "rows": [[0.5, 1.0], [2.0, 3.0]], "answers": [1, 0]},
        {"id": "r1", "rows": [[4.0, 5.0], ["x"]], "answers": [1, 0]},
        {"id": "r2"},
        {"id": "r3", "rows": [["x"], ["y"], ["z"]], "answers": [1, 0, 1]},
    ]
    producer = KafkaProducer(bootstrap_servers=broker)
    for line in lines:
        producer.send(plain, value=line)
    for body in bodies:
        headers = [("X-Consumer-Id", b"acme"), ("other", b"\xff")]
        producer.send(special, value=json.dumps(body).encode(), key=b"k", headers=headers, timestamp_ms=now)
    producer.close()
    stage = IngestStage(config, connection, topics, 1, SystemClock(), None)
    until = time.monotonic() + 60
    while stage.read < len(lines) + len(bodies) and time.monotonic() < until:
        stage.step(100)
    stage.close()
    assert (stage.read, stage.invalid) == (len(lines) + len(bodies), 5)
    records = consumed(connection, topics.queries)
    batches, unreadable = decode([record.value for record in records], list(range(len(records))))
    assert not unreadable
    found = [
        (batch.model, batch.client[at], batch.event_id[at], batch.time[at], batch.vector[at].tolist())
        for batch in batches
        for at in range(len(batch))
        if not batch.refused[at]
    ]
    assert [entry for entry in found if entry[0] == special] == [
        (special, "acme", "r0#0", now, [0.5, 1.0]),
        (special, "acme", "r0#1", now, [2.0, 3.0]),
        (special, "acme", "r1#0", now, [4.0, 5.0]),
    ]
    assert len([entry for entry in found if entry[0] != special]) == len(lines)
    assert {record.key for record in records} >= {b"acme"}
    kept = stored.by_origin(stored.latest(config, 10))
    first = kept[0]
    assert {one.reason for one in kept} == {"schema"}
    assert [
        (
            one.origin and (one.origin.offset, one.origin.index),
            bool(one.record),
            one.cut,
        )
        for one in kept
    ] == [((1, 1), True, False), ((2, 0), True, False), ((3, 0), True, False), ((3, 1), False, True), ((3, 2), False, True)]
    assert first.headers == (("X-Consumer-Id", b"acme"), ("other", b"\xff"))
    assert (first.to_dict()["line"], first.to_dict()["index"]) == (2, 1)
    dead_letters.replay(config)
    back = consumed(connection, special)[len(bodies) :]
    assert sorted((record.value, record.key, tuple(record.headers)) for record in back) == sorted(
        (json.dumps(body).encode(), b"k", first.headers) for body in bodies[1:]
    )


@pytest.mark.broker
def test_the_log_says_which_format_a_topic_has(broker: str, fresh_topic: Callable[[str], str]) -> None:
    """Once, with what it was recognised by: an operator sees what `auto` does."""
    topic = fresh_topic("databricks")
    kafka = KafkaSection(bootstrap_servers=(broker,), input_topics=(topic,), prefix=f"{topic}.", group_id=topic)
    config = Config(kafka=kafka, ingest=IngestSection(format="auto"))
    connection, topics = Connection(config.kafka), Topics.under(config.kafka.prefix)
    set_up(connection, topics, [topic], 1, 1)
    row = {"databricks_request_id": "d", "request": "{}", "requester": "acme"}
    producer = KafkaProducer(bootstrap_servers=broker)
    for _ in range(DECIDING + 1):
        producer.send(topic, value=json.dumps(row).encode())
    producer.close()
    until = time.monotonic() + 60
    with capture_logs() as said:
        stage = IngestStage(config, connection, topics, 1, SystemClock(), None)
        while stage.read <= DECIDING and time.monotonic() < until:
            stage.step(100)
        stage.close()
    sign = "columns databricks_request_id and request"
    assert [entry for entry in said if entry["event"] == "format recognised"] == [
        {"event": "format recognised", "log_level": "info", "topic": topic, "format": "databricks", "why": sign}
    ]
