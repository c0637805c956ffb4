"""Detection that reads with librdkafka: it finds the same, hands over in the same way, and is refused in the same way."""

import signal
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from kafka import TopicPartition
from kafka import errors as kafka_errors
from kafka.admin import NewTopic

from detector.config import KafkaSection, OAuthSection
from detector.errors import ConfigError, ServiceError
from detector.service.kafka import confluent
from detector.service.kafka.connection import Connection

KafkaError = pytest.importorskip("confluent_kafka").KafkaError

CLIENT = "confluent"
LARGE = 10_000_000


@pytest.fixture
def quick(rig_at: Callable[..., Any], broker: str) -> Any:
    """A service whose detection reads with librdkafka."""
    return rig_at(broker, client=CLIENT)


@pytest.fixture
def readers(broker: str) -> Any:
    """Makers of a reader for each of the clients, and one of producers."""
    return {name: Connection(KafkaSection(bootstrap_servers=(broker,), client=name)) for name in ("kafka-python", "confluent")}


@pytest.fixture
def topic(readers: Any, fresh_topic: Callable[[str], str]) -> str:
    """A topic of one partition that takes large records."""
    admin = readers[CLIENT].admin()
    name = fresh_topic("read")
    settings = {"max.message.bytes": str(2 * LARGE)}
    admin.create_topics(
        [NewTopic(name=name, num_partitions=1, replication_factor=1, topic_configs=settings)], wait_for_metadata=True
    )
    admin.close()
    return name


@pytest.mark.broker
@pytest.mark.parametrize("workers", [1, 3])
def test_it_finds_what_one_pass_finds(quick: Any, stolen: list[bytes], workers: int) -> None:
    """One and three workers publish the alerts and decisions of one pass over each partition."""
    quick.produce(stolen)
    with ExitStack() as stack:
        for _ in range(workers):
            stack.enter_context(quick.thread())
        quick.wait_done()
    quick.verify(repeats=False)


@pytest.mark.broker
def test_a_restart_goes_on_where_it_was(quick: Any, stolen: list[bytes]) -> None:
    """State is read back, and the log goes on at the offset of the checkpoint."""
    quick.produce(stolen[:800])
    with quick.thread():
        quick.wait_done()
    quick.produce(stolen[800:])
    with quick.thread():
        quick.wait_done()
    quick.verify(repeats=False)


@pytest.mark.broker
@pytest.mark.faults
def test_workers_come_and_go_with_librdkafka(quick: Any, stolen: list[bytes]) -> None:
    """A worker that joins in the middle of the stream and one that leaves change nothing, and no alert is repeated."""
    first = quick.start()
    quick.produce(stolen[:600])
    quick.wait_done()
    second = quick.start()
    quick.produce(stolen[600:1200], pause_s=0.1)
    quick.wait_done()
    first.end()
    quick.produce(stolen[1200:])
    quick.wait_done()
    second.end()
    quick.verify(repeats=False)


@pytest.mark.broker
@pytest.mark.faults
def test_a_killed_worker_with_librdkafka_comes_back(quick: Any, stolen: list[bytes]) -> None:
    """A static member that is killed and started again loses nothing and doubles nothing."""
    workers = {name: quick.start(name) for name in ("one", "two")}
    for at, name in ((0, "one"), (500, "two"), (1000, "one")):
        quick.produce(stolen[at : at + 500], pause_s=0.02)
        workers[name].kill()
        workers[name] = quick.start(name)
    quick.produce(stolen[1500:])
    quick.wait_done(60)
    for worker in workers.values():
        worker.end()
    quick.verify(repeats=True)


@pytest.mark.broker
@pytest.mark.faults
def test_a_zombie_with_librdkafka_is_refused(rig_at: Callable[..., Any], broker: str, stolen: list[bytes]) -> None:
    """A worker that stood still until others had its partitions can commit nothing and spoils nothing when it goes on."""
    rig = rig_at(broker, client=CLIENT, session_seconds=6.0)
    zombie = rig.start()
    rig.produce(stolen[:500])
    rig.wait_done()
    rig.produce(stolen[500:900])
    zombie.send(signal.SIGSTOP)
    rig.produce(stolen[900:1200])
    second = rig.start()
    rig.wait_done(50)
    zombie.send(signal.SIGCONT)
    rig.produce(stolen[1200:], pause_s=0.1)
    rig.wait_done(50)
    assert zombie.alive
    zombie.end()
    second.end()
    rig.verify(repeats=True)


@pytest.mark.broker
@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
def test_records_larger_than_a_fetch_are_read(readers: Any, topic: str, client: str) -> None:
    """A record of 10 MB comes whole although a fetch asks for one, with its key and headers, between small ones."""
    producer = readers[client].producer()
    for size in (10, LARGE, 20):
        producer.send(topic, key=b"k", value=bytes(size), headers=[("name", b"text")])
    producer.close(timeout=30)
    read = _read(readers[client], topic, 3)
    assert [(record.key, len(record.value), list(record.headers)) for record in read] == [
        (b"k", size, [("name", b"text")]) for size in (10, LARGE, 20)
    ]
    assert [record.offset for record in read] == [0, 1, 2]


@pytest.mark.broker
def test_the_position_passes_what_is_no_record(readers: Any, topic: str) -> None:
    """Behind the marks of transactions, committed or not, the end is reached; records of aborted ones are not seen."""
    producer = readers[CLIENT].producer(transactional_id=topic)
    producer.init_transactions()
    for text, end in ((b"kept", producer.commit_transaction), (b"dropped", producer.abort_transaction)):
        producer.begin_transaction()
        producer.send(topic, value=text).get(timeout=30)
        end()
    producer.close(timeout=30)
    reader = readers[CLIENT].reader(max_poll_records=10, fetch_max_wait_ms=50)
    place = TopicPartition(topic, 0)
    reader.assign([place])
    found: list[bytes] = []
    for _ in range(600):
        found += [record.value for record in reader.poll(timeout_ms=100).get(place, ())]
        if reader.position(place) == 4:
            break
    assert (found, reader.position(place), reader.highwater(place)) == ([b"kept"], 4, 4)
    assert (reader.beginning_offsets([place])[place], reader.end_offsets([place])[place]) == (0, 4)
    assert reader.committed(place) is None
    with pytest.raises(ValueError, match="not assigned"):
        reader.seek(TopicPartition(topic, 1), 0)
    reader.close()


def test_members_in_another_form_are_refused() -> None:
    """Should librdkafka change how it writes a member, no commit is made in a wrong one's name."""
    for packed in (b"", b"CGMDv3:\0\0\0\0g\0m\0\1", b"CGMDv2:\0\0", b"CGMDv2:\0\0\0\0group"):
        with pytest.raises(ServiceError, match="unknown form"):
            confluent.member_of(packed)


def test_what_it_cannot_do_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A login that it has not got, and a client that is not installed, are mistakes of the configuration."""
    section = KafkaSection(
        bootstrap_servers=("localhost:9092",),
        client=CLIENT,
        security_protocol="SASL_SSL",
        sasl_mechanism="OAUTHBEARER",
        oauth=OAuthSection(token_file="/nowhere"),
    )
    with pytest.raises(ConfigError, match="OAUTHBEARER"):
        confluent.settings(section, "group", None, 50)
    monkeypatch.setattr(confluent, "confluent_kafka", None)
    with pytest.raises(ConfigError, match="not installed"):
        confluent.settings(section, "group", None, 50)


def test_errors_are_those_of_the_other_client() -> None:
    """What decides whether a worker ends, waits or starts again is known by kafka-python's names."""
    found = [
        type(confluent._known(KafkaError(code)))
        for code in (
            KafkaError._TIMED_OUT,
            KafkaError._FENCED,
            KafkaError.FENCED_INSTANCE_ID,
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
        )
    ]
    assert found == [
        kafka_errors.KafkaTimeoutError,
        kafka_errors.FencedInstanceIdError,
        kafka_errors.FencedInstanceIdError,
        kafka_errors.TopicAuthorizationFailedError,
    ]


def _read(connection: Connection, topic: str, count: int) -> list[Any]:
    reader = connection.reader(max_poll_records=10, fetch_max_wait_ms=50)
    place = TopicPartition(topic, 0)
    reader.assign([place])
    reader.seek_to_beginning(place)
    found: list[Any] = []
    for _ in range(600):
        found += reader.poll(timeout_ms=100).get(place, ())
        if len(found) >= count:
            break
    reader.close()
    return found
