"""The decisions topic for people: both writers keep their records, and the trail is on its own topic."""

import threading
import uuid
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition
from typer.testing import CliRunner

from detector.cli import app
from detector.config import KafkaSection
from detector.contracts import Decision, to_json
from detector.contracts.audit import Audit
from detector.decisions.log import decide
from detector.decisions.manual import Order
from detector.decisions.register import Register, Target
from detector.errors import ServiceError
from detector.service.kafka.connection import Connection
from detector.service.kafka.decisions import KafkaDecisions
from detector.service.kafka.topics import Topics, create
from detector.sinks.sample import sample_decision

pytestmark = pytest.mark.broker

ACME = Target("client", "acme-batch")
NOW = 1_777_890_000_000
HOUR = 3_600_000


@pytest.fixture
def prefix(broker: str) -> str:
    """The beginning of the names of topics that are there."""
    name = f"decided-{uuid.uuid4().hex[:8]}."
    admin = _connection(broker).admin()
    create(admin, Topics.under(name), partitions=2, replication=1)
    admin.close()
    return name


def _connection(broker: str) -> Connection:
    return Connection(KafkaSection(bootstrap_servers=(broker,)))


def _records(broker: str, topic: str) -> list[bytes]:
    consumer = KafkaConsumer(bootstrap_servers=broker, auto_offset_reset="earliest")
    partitions = [TopicPartition(topic, number) for number in range(2)]
    consumer.assign(partitions)
    ends = consumer.end_offsets(partitions)
    found: list[bytes] = []
    while any(consumer.position(partition) < ends[partition] for partition in partitions):
        found += [record.value for records in consumer.poll(timeout_ms=500).values() for record in records]
    consumer.close()
    return found


def _order(action: Any) -> Order:
    return Order(ACME, ("fraud-scorer",), action, "soc:j.doe", "nightly batch job", NOW + HOUR)


def _by_detector(broker: str, topics: Topics, revision: int) -> None:
    decision = sample_decision(revision=revision, issued_at="2026-05-04T10:00:00.000Z", expires_at=None)
    producer = _connection(broker).producer()
    producer.send(topics.decisions, key=decision.key.encode(), value=to_json(decision)).get(timeout=30)
    producer.close()


def test_a_person_and_the_detector_write_side_by_side(broker: str, prefix: str) -> None:
    """What the detector writes later leaves the person's decision in force, and there after compaction."""
    topics = Topics.under(prefix)
    log = KafkaDecisions(_connection(broker), topics)
    _by_detector(broker, topics, 1)
    decided = decide(log, _order("allow"), lambda: NOW)
    assert decided.revision == 2
    _by_detector(broker, topics, 2)
    register = log.register()
    assert len(list(register)) == 2
    found = register.in_force(ACME, "fraud-scorer", NOW)
    assert found is not None
    assert found.decision == decided
    (trail,) = [Audit.model_validate_json(value) for value in _records(broker, topics.audit)]
    assert (trail.user.name, trail.detector.decision) == ("soc:j.doe", decided)
    assert [before.origin for before in trail.detector.before] == ["detector"]


def test_two_people_at_once(broker: str, prefix: str) -> None:
    """Whoever wrote second is told, and writes again above the first."""
    topics = Topics.under(prefix)
    fast = KafkaDecisions(_connection(broker), topics)
    registers: list[Register] = []

    class Late(KafkaDecisions):
        def register(self) -> Register:
            registers.append(super().register())
            if len(registers) == 1:
                decide(fast, _order("block"), lambda: NOW)
            return registers[-1]

    decided = decide(Late(_connection(broker), topics), _order("allow"), lambda: NOW + 1)
    assert (decided.action, decided.revision) == ("allow", 2)
    (held,) = fast.register()
    assert held.decision == decided


def test_nobody_decides_without_a_trail(broker: str, prefix: str) -> None:
    """Where the audit topic is missing, nothing is published, and the message says what to do."""
    topics = Topics.under(prefix)
    admin = _connection(broker).admin()
    admin.delete_topics([topics.audit])
    admin.close()
    with pytest.raises(ServiceError, match="detector topics create"):
        decide(KafkaDecisions(_connection(broker), topics), _order("block"), lambda: NOW)
    assert not _records(broker, topics.decisions)


def test_following_the_topic(broker: str, prefix: str) -> None:
    """Records appear as they are written."""
    log = KafkaDecisions(_connection(broker), Topics.under(prefix))
    seen: list[bytes | None] = []
    started = threading.Event()

    def stop() -> bool:
        started.set()
        return bool(seen)

    def follow() -> None:
        seen.extend(data for _, data in log.records(beginning=False, stop=stop))

    thread = threading.Thread(target=follow)
    thread.start()
    started.wait(30)
    decided = decide(KafkaDecisions(_connection(broker), Topics.under(prefix)), _order("block"), lambda: NOW)
    thread.join(30)
    assert [Decision.model_validate_json(data or b"") for data in seen] == [decided]


def test_the_command_line(broker: str, prefix: str, tmp_path: Path) -> None:
    """The same commands on Kafka: blocked, listed, lifted."""
    config = tmp_path / "detector.toml"
    config.write_text(f'[kafka]\nbootstrap_servers = "{broker}"\nprefix = "{prefix}"\n', encoding="utf-8")

    def run(*words: str) -> str:
        done = CliRunner().invoke(app, ["decisions", *words, "-c", str(config)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    by = ("--actor", "soc:j.doe", "--reason", "asked for")
    assert run("block", "acme", *by, "--until-lifted").startswith("published: client acme on every model: block until lifted")
    assert "asked for" in run("list")
    assert run("lift", "acme", *by).startswith("published: client acme on every model: allow")
    assert "allow" in run("list", "--json")
