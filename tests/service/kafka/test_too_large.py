"""Results larger than their topic takes: cut, or kept as a dead letter that says so, and never tried again for ever."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from prometheus_client import CollectorRegistry

from detector.config import KafkaSection
from detector.contracts import Alert, to_json
from detector.errors import ServiceError
from detector.service.kafka.connection import Connection
from detector.service.kafka.parcel import Form
from detector.service.kafka.producer import CUT_FROM, RecordOrigin, RecordSource, StageProducer
from detector.service.kafka.results import Result, without_figures, without_texts
from detector.service.kafka.topics import LARGEST_RECORD, Topics
from detector.service.telemetry.metrics import Metrics
from detector.sinks.sample import sample_alert

SMALL = 20_000  # bytes that the topics of these tests take


def test_smaller_forms_are_alerts() -> None:
    """What is left of an alert is a valid one with the same id, and smaller each time."""
    whole = sample_alert()
    forms = [whole, without_figures(whole), without_texts(whole)]
    assert [Alert.model_validate_json(to_json(form)) for form in forms] == forms
    assert {form.event.id for form in forms} == {whole.event.id}
    sizes = [len(to_json(form)) for form in forms]
    assert sizes == sorted(sizes, reverse=True)
    assert forms[2].detector.evidence == ()


class World:
    """A producer on topics that take little, and what came of it."""

    def __init__(self, broker: str, prefix: str) -> None:
        self.connection = Connection(KafkaSection(bootstrap_servers=(broker,), prefix=prefix))
        self.topics = Topics.under(prefix)
        self.metrics = Metrics()
        with contextlib.closing(self.connection.admin()) as admin:
            limits = {"max.message.bytes": str(SMALL)}
            names = tuple(self.topics.policies())
            made = [NewTopic(name, num_partitions=1, replication_factor=1, topic_configs=limits) for name in names]
            admin.create_topics(made, wait_for_metadata=True)
        self.producer = StageProducer(self.connection, self.topics, self.metrics)

    def count(self, topic: str) -> float:
        registry: CollectorRegistry = self.metrics.registry
        return registry.get_sample_value("detector_results_too_large_total", {"topic": topic}) or 0.0


@pytest.fixture
def world(broker: str, fresh_topic: Callable[[str], str]) -> Iterator[World]:
    """Return a world of the test's own."""
    made = World(broker, fresh_topic("small") + ".")
    yield made
    made.producer.close()


def _read(world: World, topic: str) -> list[Any]:
    with contextlib.closing(world.connection.consumer()) as consumer:
        place = TopicPartition(topic, 0)
        consumer.assign([place])
        consumer.seek_to_beginning(place)
        end = consumer.end_offsets([place])[place]
        found: list[Any] = []
        while consumer.position(place) < end:
            found += consumer.poll(timeout_ms=100).get(place, [])
        return found


def _alert(world: World, alert: Alert) -> Result:
    return Result(Form(world.topics.alerts, b"client", to_json(alert)), alert)


@pytest.mark.broker
def test_an_alert_loses_what_makes_it_large(world: World) -> None:
    """First its figures and then its texts go; what is still too large is a dead letter; what follows arrives as always."""
    usual = sample_alert()
    many = usual.model_copy(
        update={"detector": usual.detector.model_copy(update={"features": {f"f{i}": float(i) for i in range(5000)}})}
    )
    texts = many.model_copy(update={"service": many.service.model_copy(update={"version": "v" * 30_000})})
    hopeless = usual.model_copy(update={"message": "m" * 30_000})
    world.producer.publish([_alert(world, alert) for alert in (many, texts, hopeless, usual)])
    world.producer.flush()
    raised = [record.value for record in _read(world, world.topics.alerts)]
    assert sorted(raised) == sorted(map(to_json, (without_figures(many), without_texts(texts), usual)))
    (dead_letter,) = _read(world, world.topics.dead_letters)
    headers = dict(dead_letter.headers)
    assert headers["reason"] == b"oversized"
    assert b"takes no record of" in headers["detail"]
    assert world.count(world.topics.alerts) == 1 + 2 + 3


@pytest.mark.broker
@pytest.mark.parametrize("size", [SMALL + 1, 600_000, LARGEST_RECORD + 1])
def test_anything_else_becomes_a_dead_letter(world: World, size: int) -> None:
    """A record that the broker or the client itself would refuse is kept as far as possible, with its source if it has one."""
    origin = RecordOrigin("log", 3, 7)
    world.producer.send(world.topics.decisions, b"key", bytes(size))
    world.producer.send(world.topics.queries, b"key", bytes(size), source=lambda: RecordSource(origin, b"own", b"the record"))
    world.producer.send(world.topics.decisions, b"key", b"small")
    assert world.producer.sent == 3
    pending = world.producer.pending()
    world.producer.arrive(pending, lambda: None)
    assert world.producer.arrived == 3
    assert [record.value for record in _read(world, world.topics.decisions)] == [b"small"]
    one, two = _read(world, world.topics.dead_letters)
    dead_letters = {"source_topic" in dict(record.headers): record for record in (one, two)}
    assert dead_letters[True].value == b"the record"
    assert dict(dead_letters[True].headers)["source_offset"] == b"7"
    assert dict(dead_letters[False].headers)[CUT_FROM] == str(size).encode()
    assert {dict(record.headers)["reason"] for record in (one, two)} == {b"oversized"}


@pytest.mark.broker
def test_a_dead_letter_is_cut_until_it_fits(world: World) -> None:
    """Also where its topic takes less than ours does, or its key alone is too large."""
    world.producer.dead_letter("json", "broken", bytes(600_000), RecordOrigin("log", 0, 0), b"key")
    world.producer.dead_letter("json", "broken", b"record", RecordOrigin("log", 0, 1), bytes(LARGEST_RECORD + 1))
    world.producer.flush()
    first, second = _read(world, world.topics.dead_letters)
    assert (len(first.value), dict(first.headers)[CUT_FROM]) == (16 * 1024 - 3, b"600000")
    assert dict(second.headers)[CUT_FROM] == b"6"
    assert "source_key" not in dict(second.headers)


@pytest.mark.broker
def test_a_limit_that_is_lowered_meanwhile(world: World) -> None:
    """The record is not taken, which is told once; sent again, as after every fault, it is cut."""
    with contextlib.closing(world.connection.admin()) as admin:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, world.topics.decisions, {"max.message.bytes": "5000"})])
    world.producer.send(world.topics.decisions, b"key", bytes(10_000))
    with pytest.raises(ServiceError, match="did not take a record"):
        world.producer.flush()
    world.producer.send(world.topics.decisions, b"key", bytes(10_000))
    world.producer.send(world.topics.decisions, b"key", b"small")
    world.producer.flush()
    assert [record.value for record in _read(world, world.topics.decisions)] == [b"small"]
    (dead_letter,) = _read(world, world.topics.dead_letters)
    assert dead_letter.value == bytes(10_000)
