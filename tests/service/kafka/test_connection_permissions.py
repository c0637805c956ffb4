"""Permissions that are missing: each ends the work with a sentence that says what to grant, and the right ones suffice."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from kafka.admin import ACLOperation, ResourceType
from kafka.errors import GroupAuthorizationFailedError, KafkaTimeoutError

from detector.config import KafkaSection
from detector.errors import FatalError
from detector.service.dead_letters import records as stored
from detector.service.dead_letters import replay as dead_letters
from detector.service.kafka.connection import Connection
from detector.service.kafka.producer import RecordOrigin, StageProducer
from detector.service.kafka.provision import check_all, set_up
from detector.service.kafka.topics import Topics
from detector.service.produce import produce
from detector.testing import traffic
from tests.servers.kafka import LocalBroker
from tests.service.clients import on, on_both
from tests.service.kafka.granted import World

pytestmark = pytest.mark.broker

GROUP, TOPIC, TRANSACTION = (
    ResourceType.GROUP,
    ResourceType.TOPIC,
    ResourceType.TRANSACTIONAL_ID,
)
DESCRIBE, READ, WRITE = ACLOperation.DESCRIBE, ACLOperation.READ, ACLOperation.WRITE
DESCRIBE_CONFIGS = ACLOperation.DESCRIBE_CONFIGS


@pytest.fixture
def world(strict: LocalBroker) -> World:
    return World(strict)


def _refuse(producer: StageProducer, world: World) -> None:
    producer.dead_letter("json", "broken", b"x", RecordOrigin(world.log, 0, 1))
    producer.flush()


def test_a_topic_that_may_not_be_seen_is_no_missing_topic(world: World) -> None:
    """The check says that it is denied, to whom and what to grant, and does not send anybody to create it."""
    with pytest.raises(FatalError) as denied:
        check_all(Connection(world.section), world.topics, [world.log])
    said = str(denied.value)
    assert f"Kafka denies user 'detector' the topic '{world.topics.queries}'" in said or "the topics" in said
    assert "grant Describe on it" in said
    assert "topics create" not in said


def test_topics_that_may_not_be_created(world: World) -> None:
    """Creating without the right to names the right."""
    topics = Topics.under(f"{world.section.prefix}more.")
    with pytest.raises(FatalError, match=r"the topics cannot be created: Kafka denies user 'detector'.*grant"):
        set_up(Connection(world.section), topics, [], 2, 1)


@on_both()
def test_a_topic_that_may_not_be_written(world: World, client: str) -> None:
    """A dead letter, or any other record, that is not taken for lack of a right says so at the flush."""
    world.grant(TOPIC, world.section.prefix, DESCRIBE, READ)
    section = world.section.model_copy(update={"client": client})
    with (
        contextlib.closing(StageProducer(Connection(section), world.topics)) as producer,
        pytest.raises(FatalError) as denied,
    ):
        _refuse(producer, world)
    assert "Kafka did not take a record: Kafka denies user 'detector'" in str(denied.value)
    assert "grant" in str(denied.value)


def test_a_log_that_may_not_be_produced_to(world: World, tmp_path: Any) -> None:
    """The command that streams a log says so, too."""
    (tmp_path / "log").write_bytes(b"{}\n" * 10)
    world.grant(TOPIC, world.log, DESCRIBE)
    with pytest.raises(FatalError, match=r"Kafka denies user 'detector'.*grant"):
        produce([str(tmp_path / "log")], world.log, world.config)


def test_dead_letters_that_may_not_be_read(world: World) -> None:
    """Without Read on the topic, and without Read on the group that keeps the progress."""
    world.grant(TOPIC, world.section.prefix, DESCRIBE)
    with contextlib.closing(StageProducer(Connection(world.free), world.topics)) as producer:
        _refuse(producer, world)
    with pytest.raises(FatalError, match=rf"denies user 'detector' the topic '{world.topics.dead_letters}'"):
        stored.latest(world.config, 5)
    world.grant(TOPIC, world.section.prefix, READ)
    assert len(stored.latest(world.config, 5)) == 1
    with pytest.raises(FatalError, match=rf"the group .*grant Read on the groups that begin with '{world.section.group_id}'"):
        dead_letters.replay(world.config)


EITHER = "grant (Describe on it, and Read, Write|Write on the topics)"
WITHOUT_WRITE = "grant (Describe on it, and Read|Write on the topics|Read on the groups)"  # librdkafka asks for it at once
RIGHTS: list[tuple[str, ResourceType, tuple[ACLOperation, ...], str]] = [
    ("log", TOPIC, (DESCRIBE,), "Describe"),
    ("prefix", TOPIC, (DESCRIBE, DESCRIBE_CONFIGS), "Describe"),
    ("group", GROUP, (READ,), WITHOUT_WRITE),
    ("log", TOPIC, (READ,), WITHOUT_WRITE),
    ("prefix", TOPIC, (READ,), EITHER),  # one stage may not read, the other may not write: which is first is open
    ("prefix", TOPIC, (WRITE,), EITHER),
    ("transactions", TRANSACTION, (WRITE, DESCRIBE), "grant Write and Describe on the transactional ids that begin with"),
]


@on("confluent")
@pytest.mark.limit(300)
def test_the_service_says_which_right_it_lacks(world: World, rig_at: Callable[..., Any]) -> None:
    """Rights are granted one by one: each that lacks ends the service with its sentence, and with all of them it works."""
    shared = {"prefix": world.section.prefix, "group_id": world.section.group_id, "input_topics": (world.log,)}
    rig = rig_at(world.free.bootstrap_servers[0], partitions=2, create=False, **shared)
    rig.log = world.log
    rig.produce(traffic(seed=3, innocents=2, thieves=1, queries=60))
    rig.config = rig.config.model_copy(update={"kafka": world.section})
    names = {"log": world.log, "prefix": world.section.prefix, "group": world.section.group_id}
    names["transactions"] = f"{names['group']}-"
    for what, kind, operations, words in RIGHTS:
        with pytest.raises(FatalError, match=words), rig.thread():
            rig.wait_failed()
        world.grant(kind, names[what], *operations)
    with rig.thread():
        rig.wait_done()


def test_only_a_missing_permission_is_fatal(strict: LocalBroker) -> None:
    """Who has not logged in is called that, not by a name; any other error of the client may pass with time."""
    made = Connection(KafkaSection(bootstrap_servers=(strict.bootstrap,)))
    denied = made.failure(GroupAuthorizationFailedError("g"), "it fails")
    assert isinstance(denied, FatalError)
    assert "Kafka denies this service, which has not logged in, the group 'g'" in str(denied)
    passing = made.failure(KafkaTimeoutError("slow"), "it fails")
    assert not isinstance(passing, FatalError)
    assert str(passing) == "it fails: KafkaTimeoutError: slow"
