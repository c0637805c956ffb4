"""Streaming a log into Kafka: its flow, its pace, and what arrives."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.errors import KafkaTimeoutError, MessageSizeTooLargeError

from detector.config import Config, KafkaSection
from detector.engine.partition import partition_of
from detector.errors import ServiceError
from detector.service.kafka.connection import Connection
from detector.service.kafka.provision import set_up
from detector.service.kafka.topics import Topics
from detector.service.produce import Flow, Pacer, Produced, produce, summary
from detector.testing import Events


class Future:
    """A record on its way, as the client gives it; it arrives when somebody waits for it."""

    def __init__(self, broker: "Broker", size: int) -> None:
        self.is_done = False
        self._broker = broker
        self._size = size

    def get(self, timeout: float) -> None:
        assert timeout > 0
        if self._broker.away:
            raise KafkaTimeoutError
        self.is_done = True
        self._broker.flying -= self._size


class Broker:
    """Stands for the client library: takes records, and counts the bytes that nobody has waited for yet."""

    def __init__(self) -> None:
        self.flying = 0
        self.most = 0
        self.away = False
        self.refuses = False

    def send(self, topic: str, value: bytes | None = None, key: bytes | None = None) -> Future:
        assert topic == "log"
        del key
        if self.refuses:
            raise MessageSizeTooLargeError
        size = len(value or b"")
        self.flying += size
        self.most = max(self.most, self.flying)
        return Future(self, size)


@given(st.lists(st.integers(0, 120), max_size=60))
def test_bytes_in_flight_are_bounded(sizes: list[int]) -> None:
    """Never more than the limit on the way, or one record where that alone is larger; all are acknowledged in the end."""
    broker, produced = Broker(), Produced()
    flow = Flow(broker, "log", produced, most_bytes=100)
    for size in sizes:
        flow.send(None, b"x" * size)
    assert broker.most <= max(100, *sizes, 0)
    flow.drain()
    assert broker.flying == 0
    assert (produced.sent, produced.acknowledged, produced.bytes) == (len(sizes), len(sizes), sum(sizes))


def test_what_is_not_acknowledged_is_not_counted_as_such() -> None:
    """A broker that goes away, or refuses, is an error; the count of what is in Kafka stays true."""
    broker, produced = Broker(), Produced()
    flow = Flow(broker, "log", produced, most_bytes=10)
    flow.send(None, b"x" * 8)
    flow.send(None, b"x" * 8)
    broker.away = True
    with pytest.raises(ServiceError, match="did not take"):
        flow.drain(0.1)
    assert (produced.sent, produced.acknowledged) == (2, 1)
    assert "1 more were not acknowledged yet" in summary(produced)
    broker.refuses = True
    with pytest.raises(ServiceError, match="did not take"):
        Flow(broker, "log", produced).send(None, b"x")


@given(st.lists(st.none() | st.integers(0, 100_000), min_size=1, max_size=30))
def test_real_time_keeps_gaps_and_never_goes_back(times: list[int | None]) -> None:
    """A line is due as long after the first as its event is, but never before the line before it."""
    pacer = Pacer("realtime", 50.0)
    due = [pacer.due_s(time_ms) for time_ms in times]
    assert due == sorted(due)
    first = next((time_ms for time_ms in times if time_ms is not None), 0)
    highest = 50.0
    for time_ms, moment in zip(times, due, strict=True):
        highest = max(highest, 50.0 + ((first if time_ms is None else time_ms) - first) / 1000)
        assert moment == pytest.approx(highest)


@pytest.fixture
def topic(broker: str, fresh_topic: Callable[[str], str]) -> tuple[Config, str]:
    """Make a topic of three partitions."""
    name = fresh_topic("log")
    config = Config(kafka=KafkaSection(bootstrap_servers=(broker,), input_topics=(name,), prefix=fresh_topic("d") + "."))
    set_up(Connection(config.kafka), Topics.under(config.kafka.prefix), [name], 3, 1)
    return config, name


def arrived(config: Config, topic: str) -> list[Any]:
    consumer = Connection(config.kafka).consumer()
    try:
        places = [TopicPartition(topic, number) for number in range(3)]
        consumer.assign(places)
        ends = consumer.end_offsets(places)
        consumer.seek_to_beginning(*places)
        records = []
        while any(consumer.position(place) < ends[place] for place in places):
            for polled in consumer.poll(timeout_ms=100).values():
                records += polled
        return records
    finally:
        consumer.close(autocommit=False)


@pytest.mark.broker
def test_lines_arrive_as_they_are_under_their_clients(topic: tuple[Config, str], tmp_path: Path) -> None:
    """Every byte arrives, broken lines and empty ones too; keyed, a client is where the partitioner of the engine says."""
    events = Events()
    lines = [events.line(f"client-{i % 7}", [0.5] * 4, 1) for i in range(500)]
    lines[100], lines[200] = b'{"broken', b""
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines[:300]) + b"\n")
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b"\n".join(lines[300:]) + b"\n"))
    config, name = topic
    done = produce([str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl.gz")], name, config, keyed=True)
    assert (done.sent, done.acknowledged, done.problems) == (500, 500, ())
    records = arrived(config, name)
    assert sorted(record.value or b"" for record in records) == sorted(lines)
    for record in records:
        if record.key is None:
            assert record.value in {b'{"broken', b""}
        else:
            client = json.loads(record.value)["client"]["id"]
            assert (record.key.decode(), record.partition) == (client, partition_of(client, 3))


@pytest.mark.broker
def test_a_damaged_log_is_sent_as_far_as_it_goes(topic: tuple[Config, str], tmp_path: Path) -> None:
    """What can be read is sent, and the damage is told with the file's name."""
    lines = [Events().line("a", [0.1 * i], 1) for i in range(2000)]
    whole = gzip.compress(b"\n".join(lines))
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) // 2])
    config, name = topic
    done = produce([str(tmp_path / "cut.gz")], name, config)
    assert 0 < done.acknowledged < 2000
    assert "cut.gz" in done.problems[-1]


@pytest.mark.broker
def test_a_missing_topic_is_told_at_once(broker: str, tmp_path: Path) -> None:
    """No waiting for a topic that nobody creates."""
    (tmp_path / "log").write_bytes(b"{}\n")
    with pytest.raises(ServiceError, match=r"'nowhere' does not exist.*topics create"):
        produce([str(tmp_path / "log")], "nowhere", Config(kafka=KafkaSection(bootstrap_servers=(broker,))))
