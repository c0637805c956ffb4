"""Decisions from a real Kafka: lifts, old revisions, a broker that freezes or restarts, and a gate that does."""

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from detector.clock import SystemClock
from detector.config import GateSection, KafkaSection
from detector.contracts.decision import LADDER, Decision
from detector.contracts.document import to_json
from detector.gate.follow import Follower
from detector.gate.identity import Identity
from detector.gate.shelf import Shelf
from detector.gate.store import Who
from detector.gate.topic import TopicSource
from detector.service.kafka import topics as topics_of
from detector.service.kafka.connection import Connection
from detector.service.kafka.topics import Topics
from tests.gate.decisions import decision
from tests.servers.broker import LocalBroker
from tests.servers.gate import LocalGate
from tests.waiting import wait_for

pytestmark = [pytest.mark.broker, pytest.mark.slow]

CLIENTS = ["kafka-python", "confluent"]


@pytest.fixture(scope="module")
def node(kafka_can_run: None) -> Iterator[LocalBroker]:  # noqa: ARG001
    """Return a broker that tests may freeze and restart; each leaves it running."""
    with LocalBroker() as broker:
        yield broker


class Publisher:
    """A decisions topic of its own."""

    def __init__(self, address: str) -> None:
        self.kafka = {"bootstrap_servers": (address,), "prefix": f"{uuid4().hex[:8]}."}
        self.topic = Topics.under(str(self.kafka["prefix"])).decisions
        self._connection = Connection(KafkaSection(**self.kafka))
        admin = self._connection.admin()
        topics_of.create(admin, Topics.under(str(self.kafka["prefix"])), partitions=2, replication=1)
        admin.close()
        self._producer: Any = self._connection.producer()

    def send(self, *decisions: Decision) -> None:
        for each in decisions:
            self._producer.send(self.topic, key=each.key.encode(), value=to_json(each))
        self._producer.flush(timeout=30)

    def raw(self, key: bytes | None, value: bytes | None) -> None:
        self._producer.send(self.topic, key=key, value=value)
        self._producer.flush(timeout=30)

    def close(self) -> None:
        Connection.drop(self._producer)


@pytest.fixture
def publisher(node: LocalBroker) -> Iterator[Publisher]:
    made = Publisher(node.bootstrap)
    yield made
    made.close()


@pytest.fixture
def following(publisher: Publisher) -> Iterator[Callable[..., Shelf]]:
    threads: list[Follower] = []

    def start(**kafka: Any) -> Shelf:
        section, shelf, clock = GateSection(), Shelf(), SystemClock()
        source = TopicSource(KafkaSection(**(publisher.kafka | kafka)), clock)
        threads.append(Follower(section, source, shelf, Identity(section), clock))
        threads[-1].start()
        return shelf

    yield start
    for thread in threads:
        thread.stop()


def action(shelf: Shelf, client: str = "acme") -> str:
    return LADDER[shelf.store.find(Who(client), "fraud", SystemClock().now_ms()).rank]


def now_ms() -> int:
    return SystemClock().now_ms()


def blocked(client: str = "acme", *, revision: int = 1, seconds: float = 3600.0, **changes: Any) -> Decision:
    return decision(client, **({"action": "block"} | changes), revision=revision, expires_ms=now_ms() + int(seconds * 1000))


@pytest.mark.parametrize("client", CLIENTS)
def test_it_reads_everything_first_and_then_follows(publisher: Publisher, following: Callable[..., Shelf], client: str) -> None:
    publisher.send(*(blocked(f"client-{number}") for number in range(500)), blocked())
    publisher.raw(b"?", b"no decision")
    shelf = following(client=client)
    wait_for(lambda: shelf.ready)
    assert shelf.unusable == 1
    assert all(action(shelf, f"client-{number}") == "block" for number in range(500))
    publisher.send(blocked("late"))
    wait_for(lambda: action(shelf, "late") == "block")
    publisher.send(blocked(revision=2, action="allow", seconds=60))
    wait_for(lambda: action(shelf) == "allow")
    publisher.send(blocked(revision=1), blocked("mark"))
    publisher.send(blocked("mark", revision=1), blocked("mark-2"), blocked("mark-3"))
    wait_for(lambda: action(shelf, "mark-2") == action(shelf, "mark-3") == "block")
    wait_for(lambda: shelf.lag == 0)
    assert action(shelf) == "allow", "an old revision came after the lift"
    publisher.raw(blocked("late").key.encode(), None)
    wait_for(lambda: action(shelf, "late") == "allow")
    wait_for(lambda: shelf.trouble is None)


@pytest.mark.parametrize("client", CLIENTS)
def test_decisions_hold_and_expire_while_the_broker_is_frozen(
    node: LocalBroker, publisher: Publisher, following: Callable[..., Shelf], client: str
) -> None:
    publisher.send(blocked("long"), blocked("short", seconds=6.0))
    shelf = following(client=client)
    wait_for(lambda: shelf.ready)
    assert action(shelf, "short") == "block"
    assert node.process_id is not None
    os.kill(node.process_id, signal.SIGSTOP)
    try:
        wait_for(lambda: shelf.trouble is not None)
        wait_for(lambda: action(shelf, "short") == "allow")
        assert action(shelf, "long") == "block"
        assert shelf.ready, "what is known stays in force"
    finally:
        os.kill(node.process_id, signal.SIGCONT)
    publisher.send(blocked("after"))
    wait_for(lambda: action(shelf, "after") == "block" and shelf.trouble is None)


@pytest.mark.parametrize("client", CLIENTS)
def test_it_goes_on_when_the_broker_restarts(
    node: LocalBroker, publisher: Publisher, following: Callable[..., Shelf], client: str
) -> None:
    publisher.send(blocked())
    shelf = following(client=client)
    wait_for(lambda: shelf.ready)
    node.kill()
    wait_for(lambda: shelf.trouble is not None)
    assert action(shelf) == "block"
    assert shelf.ready
    node.start()
    publisher.send(blocked("after"))
    wait_for(lambda: action(shelf, "after") == "block", 90.0)
    wait_for(lambda: shelf.trouble is None)
    assert action(shelf) == "block"


def test_a_gate_that_restarts_knows_at_once_and_without_kafka(node: LocalBroker, publisher: Publisher, tmp_path: Any) -> None:
    publisher.send(blocked())
    kafka = {"bootstrap_servers": node.bootstrap, "prefix": str(publisher.kafka["prefix"])}
    with LocalGate({"snapshot_file": str(tmp_path / "kept"), "snapshot_seconds": 1}, kafka) as gate:
        gate.wait_until_ready()
        assert gate.action("acme") == "block"
        gate.wait_until((tmp_path / "kept").exists, "a snapshot")
        gate.kill()
        gate.start()
        gate.wait_until_ready()
        assert gate.action("acme") == "block"
        gate.kill()
        node.stop()
        try:
            gate.start()
            gate.wait_until_ready()
            assert gate.action("acme") == "block"
            assert gate.action("other") == "allow"
            assert "degraded" in gate.ask("/readyz")[2]
            assert gate.metric("detector_gate_connected") == 0.0
        finally:
            node.start()
        publisher.send(blocked("later"))
        gate.wait_until(lambda: gate.action("later") == "block", "the later decision")
        gate.wait_until(lambda: gate.metric("detector_gate_connected") == 1.0, "a connection")


def test_without_its_topic_it_says_so_and_goes_on_once_it_is_there(node: LocalBroker, following: Callable[..., Shelf]) -> None:
    prefix = f"{uuid4().hex[:8]}."
    shelf = following(prefix=prefix)
    wait_for(lambda: "detector topics create" in (shelf.trouble or ""))
    assert not shelf.ready
    admin = Connection(KafkaSection(bootstrap_servers=(node.bootstrap,))).admin()
    topics_of.create(admin, Topics.under(prefix), partitions=1, replication=1)
    admin.close()
    wait_for(lambda: shelf.ready)
