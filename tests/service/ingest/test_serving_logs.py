"""Logs of real servers through the ingest stage, on a real broker."""

import time
from collections import Counter
from collections.abc import Callable

import pytest
from kafka import KafkaProducer

from detector.clock import SystemClock
from detector.config import Config, EngineSection, IngestSection, KafkaSection
from detector.service.dead_letters import records as stored
from detector.service.ingest.stage import IngestStage
from detector.service.kafka.codec import decode
from detector.service.kafka.connection import Connection
from detector.service.kafka.provision import set_up
from detector.service.kafka.topics import Topics
from detector.service.telemetry.metrics import Metrics
from tests.ingest.formats.serving_logs import LOGS, ServingLog
from tests.service.ingest.test_formats import consumed

pytestmark = pytest.mark.broker


def stage_of(
    log: ServingLog, broker: str, topic: str, *, partitions: int = 1, **ingest: float
) -> tuple[Config, Connection, Topics]:
    config = Config(
        kafka=KafkaSection(bootstrap_servers=(broker,), input_topics=(topic,), prefix=f"{topic}.", group_id=topic),
        ingest=IngestSection(**dict(log.ingest) | ingest, format=log.format),
        engine=EngineSection(naive_time_zone=log.naive_zone),
    )
    connection, topics = Connection(config.kafka), Topics.under(config.kafka.prefix)
    set_up(connection, topics, [topic], partitions, 1)
    return config, connection, topics


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.folder)
def test_events_clients_and_dead_letters(log: ServingLog, broker: str, fresh_topic: Callable[[str], str]) -> None:
    """As through files; what got no answer is a dead letter of its own record, and is committed only when it is given up."""
    topic = fresh_topic(log.folder)
    config, connection, topics = stage_of(log, broker, topic, join_seconds=2.0)
    name = "fraud-endpoint/AllTraffic" if log.format == "sagemaker" else None  # which only a file's path says
    config = config.model_copy(update={"ingest": config.ingest.model_copy(update={"model": name or config.ingest.model})})
    producer = KafkaProducer(bootstrap_servers=broker)
    records = list(log.records())
    for record in records:
        producer.send(topic, value=record.value, headers=list(record.headers), timestamp_ms=record.time_ms or None)
    producer.close()
    expected = log.expected
    stage = IngestStage(config, connection, topics, 1, SystemClock(), None)
    until = time.monotonic() + 60
    while (stage.read < len(records) or stage.invalid < len(expected["dead_letters"])) and time.monotonic() < until:
        stage.step(100)
    stage.close()
    assert (stage.read, stage.invalid) == (len(records), len(expected["dead_letters"]))
    found = consumed(connection, topics.queries)
    batches, unreadable = decode([record.value for record in found], list(range(len(found))))
    assert not unreadable
    clients = Counter(
        client for batch in batches for client, refused in zip(batch.client, batch.refused, strict=True) if not refused
    )
    assert clients == expected["clients"]
    kept = stored.latest(config, 100)
    assert len(kept) == len(expected["dead_letters"])
    values = {record.value for record in records}
    assert all(one.record in values or one.cut for one in kept)


def test_a_worker_that_ends_leaves_waiting_halves_to_the_next(broker: str, fresh_topic: Callable[[str], str]) -> None:
    """The request was read and its answer was not there yet: the next worker reads the request again and joins them."""
    (log, *_) = (log for log in LOGS if log.format == "kserve")
    topic = fresh_topic("halves")
    config, connection, topics = stage_of(log, broker, topic)
    request, response, *_ = log.records()
    producer = KafkaProducer(bootstrap_servers=broker)
    producer.send(topic, value=request.value, headers=list(request.headers)).get(timeout=30)
    first = IngestStage(config, connection, topics, 1, SystemClock(), None)
    until = time.monotonic() + 60
    while first.read < 1 and time.monotonic() < until:
        first.step(100)
    first.step(300)
    first.close()
    producer.send(topic, value=response.value, headers=list(response.headers)).get(timeout=30)
    producer.close()
    second = IngestStage(config, connection, topics, 1, SystemClock(), None)
    while second.read < 2 and time.monotonic() < until:
        second.step(100)
    second.close()
    assert (first.read, second.read, second.invalid) == (1, 2, 0)
    assert len(consumed(connection, topics.queries)) == 4  # the instances of one request


def test_halves_that_several_workers_read_are_counted(broker: str, fresh_topic: Callable[[str], str]) -> None:
    """Request and answer lie in partitions of two workers: neither finds the other, and both are counted."""
    (log, *_) = (log for log in LOGS if log.format == "kserve")
    topic = fresh_topic("apart")
    config, connection, topics = stage_of(log, broker, topic, partitions=2, join_seconds=1.0)
    metrics = [Metrics(), Metrics()]
    stages = [IngestStage(config, connection, topics, 1, SystemClock(), None, metrics=one) for one in metrics]
    until = time.monotonic() + 60
    while {len(stage._reader.assignment()) for stage in stages} != {1} and time.monotonic() < until:
        for stage in stages:
            stage.step(50)
    producer = KafkaProducer(bootstrap_servers=broker)
    for partition, record in zip((0, 1), log.records(), strict=False):
        producer.send(topic, value=record.value, headers=list(record.headers), partition=partition)
    producer.close()
    while sum(stage.invalid for stage in stages) < 2 and time.monotonic() < until:
        for stage in stages:
            stage.step(50)
    for stage in stages:
        stage.close()
    counts = [one.registry.get_sample_value("detector_halves_given_up_total") for one in metrics]
    assert counts == [1, 1]
