"""Dead letters on Kafka: listed with reason and origin, and sent back byte for byte, each record once."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kafka import TopicPartition
from rich.console import Console

from detector.config import Config, KafkaSection
from detector.contracts import DeadLetter
from detector.errors import ConfigError, ServiceError
from detector.service import dead_letters
from detector.service.connection import Connection
from detector.service.outbox import Origin, Outbox
from detector.service.provision import set_up
from detector.service.topics import Topics

BROKEN = b'\xff\x00{"broken'


class World:
    """A broker with the service's topics, a log of three partitions, and a way to write dead letters."""

    def __init__(self, address: str, prefix: str, log: str) -> None:
        self.log = log
        self.config = Config(kafka=KafkaSection(bootstrap_servers=(address,), input_topics=(log,), prefix=prefix))
        self.topics = Topics.under(prefix)
        self.connection = Connection(self.config.kafka)
        set_up(self.connection, self.topics, [log], 3, 1)
        self.outbox = Outbox(self.connection, self.topics)

    def refuse(self, reason: str, record: bytes, partition: int, offset: int, topic: str | None = None) -> None:
        self.outbox.dead_letter(reason, f"because {reason}", record, Origin(topic or self.log, partition, offset))
        self.outbox.flush()

    def arrived(self) -> list[Any]:
        consumer = self.connection.consumer()
        try:
            places = [TopicPartition(self.log, number) for number in range(3)]
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


@pytest.fixture
def world(broker: str, fresh_topic: Callable[[str], str]) -> Iterator[World]:
    made = World(broker, fresh_topic("d") + ".", fresh_topic("log"))
    yield made
    made.outbox.close()


@pytest.mark.broker
def test_the_latest_are_listed_with_reason_and_origin(world: World) -> None:
    """The newest so many, the oldest of them first, as words and as the contract's fields with the exact bytes."""
    assert dead_letters.latest(world.config, 5) == []
    for i in range(8):
        world.refuse("encoding", BROKEN + bytes([i]), i % 3, 10 + i)
        time.sleep(0.003)  # letters of one millisecond have no order
    letters = dead_letters.latest(world.config, 5)
    assert [letter.record[-1] for letter in letters] == [3, 4, 5, 6, 7]
    assert (letters[-1].source, letters[-1].reason, letters[-1].detail) == (f"{world.log}-1", "encoding", "because encoding")
    fields = letters[-1].to_dict()
    contract = DeadLetter.model_validate({name: fields[name] for name in DeadLetter.model_fields})
    assert (contract.original(), contract.line) == (BROKEN + b"\x07", 18)
    console = Console(width=200)
    with console.capture() as shown:
        console.print(dead_letters.table(letters))
    assert f"{world.log}-1@17" in shown.get()
    assert "\x00" not in shown.get()


@pytest.mark.broker
def test_records_go_back_where_they_came_from_once(world: World) -> None:
    """Same bytes, same topic and partition, in the order of their offsets; a record that is there twice is sent once."""
    world.refuse("dimension", b"second", 2, 9)
    world.refuse("dimension", b"first", 2, 4)
    world.refuse("json", BROKEN, 0, 1)
    world.refuse("dimension", b"first", 2, 77)
    done = dead_letters.replay(world.config)
    assert done.sent == {(world.log, "dimension"): 2, (world.log, "json"): 1}
    assert done.repeated == 1
    assert [(r.partition, r.value) for r in world.arrived() if r.partition == 2] == [(2, b"first"), (2, b"second")]
    assert [(r.partition, r.value) for r in world.arrived() if r.partition == 0] == [(0, BROKEN)]
    assert f"sent 2 (dimension) to {world.log}" in dead_letters.told(done, dry_run=False)


@pytest.mark.broker
def test_a_reason_chooses_and_a_dry_run_sends_nothing(world: World) -> None:
    """Only the asked reason is counted; a dry run leaves the log empty; an unknown reason is a usage error."""
    world.refuse("dimension", b"a", 0, 1)
    world.refuse("json", b"b", 1, 1)
    tried = dead_letters.replay(world.config, reason="dimension", dry_run=True)
    assert tried.sent == {(world.log, "dimension"): 1}
    assert world.arrived() == []
    dead_letters.replay(world.config, reason="dimension")
    assert [record.value for record in world.arrived()] == [b"a"]
    with pytest.raises(ConfigError, match="there is no reason 'oops'"):
        dead_letters.replay(world.config, reason="oops")


@pytest.mark.broker
def test_what_has_no_home_is_left_out(world: World) -> None:
    """Records of topics and partitions that are gone, or whose origin nobody knows, are counted, not sent."""
    world.refuse("json", b"a", 0, 1, topic="gone")
    world.refuse("json", b"b", 3, 1)
    world.outbox.send(world.topics.dead_letters, None, b"c")
    world.outbox.flush()
    done = dead_letters.replay(world.config)
    assert (done.homeless, sum(done.sent.values())) == (3, 0)
    assert world.arrived() == []


@pytest.mark.broker
def test_a_missing_topic_is_told(broker: str, fresh_topic: Callable[[str], str]) -> None:
    """The sentence names the command that creates it."""
    config = Config(kafka=KafkaSection(bootstrap_servers=(broker,), prefix=fresh_topic("none") + "."))
    with pytest.raises(ServiceError, match="topics create"):
        dead_letters.latest(config, 1)
