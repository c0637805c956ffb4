"""Dead letters sent back: byte for byte under their keys, each once, whatever interrupts a run."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition

from detector.config import Config, KafkaSection
from detector.errors import ConfigError
from detector.ingest.source import Position
from detector.service.dead_letters import records as stored
from detector.service.dead_letters import replay as dead_letters
from detector.service.dead_letters.replay import Reached
from detector.service.kafka.connection import Connection
from detector.service.kafka.producer import RecordOrigin, StageProducer
from detector.service.kafka.provision import set_up
from detector.service.kafka.topics import Topics

BROKEN = b'\xff\x00{"broken'


class World:
    """A broker with the service's topics, a log of three partitions, and a way to write dead letters."""

    def __init__(self, address: str, prefix: str, log: str) -> None:
        self.log = log
        self.config = Config(kafka=KafkaSection(bootstrap_servers=(address,), input_topics=(log,), prefix=prefix))
        self.topics = Topics.under(prefix)
        self.connection = Connection(self.config.kafka)
        set_up(self.connection, self.topics, [log], 3, 1)
        self.producer = StageProducer(self.connection, self.topics)

    def refuse(
        self, reason: str, record: bytes, partition: int, offset: int, topic: str | None = None, key: bytes | None = None
    ) -> None:
        self.producer.dead_letter(reason, f"because {reason}", record, RecordOrigin(topic or self.log, partition, offset), key)
        self.producer.flush()
        time.sleep(0.003)  # dead letters of one millisecond have no order

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
    made.producer.close()


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
    assert f"sent 2 (dimension) to {world.log}" in dead_letters.summary(done, dry_run=False)


@pytest.mark.broker
def test_keys_go_back_as_they_were(world: World) -> None:
    """Any bytes, no bytes and no key are three things; the record lands where it came from, whatever its key."""
    keys = [None, b"", b"client-7", b"\xff\x00,=", "ü".encode()]
    for offset, key in enumerate(keys):
        world.refuse("dimension", b"r%d" % offset, 1, offset, key=key)
    assert [record.key for record in stored.latest(world.config, 9)] == keys
    dead_letters.replay(world.config)
    assert [(r.partition, r.key, r.value) for r in world.arrived()] == [(1, key, b"r%d" % i) for i, key in enumerate(keys)]


@pytest.mark.broker
def test_a_second_run_goes_on_where_the_first_ended(world: World) -> None:
    """Nothing is sent twice, each reason has a progress of its own, a dry run has none; --all sends everything again."""
    for i, reason in enumerate(["json", "dimension", "json", "dimension"]):
        world.refuse(reason, b"r%d" % i, 0, i)

    def sent(**options: Any) -> int:
        return sum(dead_letters.replay(world.config, **options).sent.values())

    assert [sent(reason="json"), sent(reason="json"), sent(dry_run=True), sent(), sent()] == [2, 0, 2, 2, 0]
    world.refuse("json", b"r4", 0, 4)
    assert [sent(reason="dimension"), sent(), sent()] == [0, 1, 0]
    assert sorted(record.value for record in world.arrived()) == [b"r%d" % i for i in range(5)]
    assert [sent(again=True, reason="json"), sent(again=True), sent()] == [3, 5, 0]


@pytest.mark.broker
def test_ctrl_c_ends_after_a_batch(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sent is told, and the next run sends the rest and no more; a progress bar hears how far it is."""
    monkeypatch.setattr(dead_letters, "MOST_RECORDS", 4)
    for i in range(10):
        world.refuse("json", b"r%d" % i, i % 3, i)
    heard: list[tuple[int, int | None]] = []

    def interrupt(position: Position, note: str) -> None:
        heard.append((position.consumed, position.total))
        assert note == "4 of 4 sent"
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    done = dead_letters.replay(world.config, progress=interrupt)
    assert (done.interrupted, sum(done.sent.values()), heard) == (True, 4, [(4, 10)])
    assert dead_letters.summary(done, dry_run=False)[-1].startswith("interrupted")
    assert signal.getsignal(signal.SIGINT) is before
    assert sum(dead_letters.replay(world.config).sent.values()) == 6
    assert sorted(record.value for record in world.arrived()) == [b"r%d" % i for i in range(10)]


@pytest.mark.broker
def test_a_run_that_dies_loses_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends a run in its middle, the next one goes on after the last batch that was acknowledged."""
    monkeypatch.setattr(dead_letters, "MOST_RECORDS", 3)
    for i in range(8):
        world.refuse("json", b"r%d" % i, 0, i)

    def die(*_about: Any) -> None:
        raise RuntimeError("away")

    with pytest.raises(RuntimeError, match="away"):
        dead_letters.replay(world.config, progress=die)
    assert sum(dead_letters.replay(world.config).sent.values()) == 5
    assert [record.value for record in world.arrived()] == [b"r%d" % i for i in range(8)]


@pytest.mark.broker
def test_a_record_that_was_cut_is_left_out(world: World) -> None:
    """Only its beginning is there, so it would be refused again."""
    place = [("source_topic", world.log.encode()), ("source_partition", b"0"), ("source_offset", b"1")]
    world.producer.send(world.topics.dead_letters, None, b"a", [*place, ("cut_from_bytes", b"99")])
    world.producer.flush()
    done = dead_letters.replay(world.config)
    assert (done.cut, sum(done.sent.values())) == (1, 0)


REASONS = ("json", "late", "dimension")


@given(
    st.lists(st.sampled_from(REASONS), max_size=12),
    st.lists(st.tuples(st.none() | st.sampled_from(REASONS), st.integers(0, 12)), max_size=6),
)
def test_every_letter_has_its_turn_once(kinds: list[str], runs: list[tuple[str | None, int]]) -> None:
    """Whatever runs over one reason or all, and wherever they end: a last run over all completes it, and none comes twice."""
    reached = Reached(0)
    dealt: list[int] = []
    for asked, most in [*runs, (None, len(kinds))]:
        start = reached.start(asked)
        for offset, reason in list(enumerate(kinds))[start : start + most]:
            if asked in {None, reason} and reached.open(offset, reason):
                dealt.append(offset)
            reached = Reached.read(reached.moved(offset + 1, asked).committed(), 0, len(kinds))
    assert sorted(dealt) == sorted(set(dealt))
    assert set(dealt) == set(range(len(kinds)))


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
    world.producer.send(world.topics.dead_letters, None, b"c")
    world.producer.flush()
    done = dead_letters.replay(world.config)
    assert (done.homeless, sum(done.sent.values())) == (3, 0)
    assert world.arrived() == []
