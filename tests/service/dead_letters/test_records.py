"""Dead letters as they lie in their topic: listed with reason and origin, and read in order, a few at a time."""

import contextlib
import time
from collections.abc import Callable, Iterator

import pytest
from rich.console import Console

from detector.config import Config, KafkaSection
from detector.contracts import DeadLetter
from detector.errors import ServiceError
from detector.service.dead_letters import records as dead_letters
from detector.service.kafka.connection import Connection
from detector.service.kafka.producer import RecordOrigin, StageProducer
from detector.service.kafka.provision import set_up
from detector.service.kafka.topics import Topics

BROKEN = b'\xff\x00{"broken'


class World:
    """The service's topics on a broker, and a way to write dead letters."""

    def __init__(self, address: str, prefix: str) -> None:
        self.log = "log"
        self.config = Config(kafka=KafkaSection(bootstrap_servers=(address,), prefix=prefix))
        self.topics = Topics.under(prefix)
        self.connection = Connection(self.config.kafka)
        set_up(self.connection, self.topics, [], 3, 1)
        self.producer = StageProducer(self.connection, self.topics)

    def refuse(self, reason: str, record: bytes, partition: int, offset: int) -> None:
        self.producer.dead_letter(reason, f"because {reason}", record, RecordOrigin(self.log, partition, offset))
        self.producer.flush()
        time.sleep(0.003)  # dead letters of one millisecond have no order


@pytest.fixture
def world(broker: str, fresh_topic: Callable[[str], str]) -> Iterator[World]:
    made = World(broker, fresh_topic("d") + ".")
    with contextlib.closing(made.producer):
        yield made


@pytest.mark.broker
def test_the_latest_are_listed_with_reason_and_origin(world: World) -> None:
    """The newest so many, the oldest of them first, as words and as the contract's fields with the exact bytes."""
    assert dead_letters.latest(world.config, 5) == []
    for i in range(8):
        world.refuse("encoding", BROKEN + bytes([i]), i % 3, 10 + i)
    found = dead_letters.latest(world.config, 5)
    assert [dead_letter.record[-1] for dead_letter in found] == [3, 4, 5, 6, 7]
    assert (found[-1].source, found[-1].reason, found[-1].detail) == (f"{world.log}-1", "encoding", "because encoding")
    fields = found[-1].to_dict()
    contract = DeadLetter.model_validate({name: fields[name] for name in DeadLetter.model_fields if name in fields})
    assert (contract.original(), contract.line) == (BROKEN + b"\x07", 18)
    console = Console(width=200)
    with console.capture() as shown:
        console.print(dead_letters.table(found))
    assert f"{world.log}-1@17" in shown.get()
    assert "\x00" not in shown.get()


@pytest.mark.broker
def test_few_are_held_at_a_time_and_order_is_that_of_writing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few dead letters of a partition are read ahead, all come, and in the order of their times."""
    monkeypatch.setattr(dead_letters, "AHEAD", 5)
    for i in range(60):
        world.producer.send(world.topics.dead_letters, None, b"r%d" % i, [("reason", b"json")], partition=i // 10 % 3)
        if i % 7 == 0:
            world.producer.flush()
            time.sleep(0.002)
    world.producer.flush()
    with dead_letters.reading(world.config, world.connection) as (consumer, partitions):
        ends = consumer.end_offsets(partitions)
        found = list(dead_letters.dead_letters_between(consumer, dict.fromkeys(partitions, 0), ends))
    assert sorted(dead_letter.record for dead_letter in found) == sorted(b"r%d" % i for i in range(60))
    assert [dead_letter.moment for dead_letter in found] == sorted(dead_letter.moment for dead_letter in found)


@pytest.mark.broker
def test_a_missing_topic_is_told(broker: str, fresh_topic: Callable[[str], str]) -> None:
    """The sentence names the command that creates it."""
    config = Config(kafka=KafkaSection(bootstrap_servers=(broker,), prefix=fresh_topic("none") + "."))
    with pytest.raises(ServiceError, match="topics create"):
        dead_letters.latest(config, 1)
