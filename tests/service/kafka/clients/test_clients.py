"""Both Kafka clients behind one interface: the same on a real broker, whatever is asked of it."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.admin import NewTopic

from detector.config import KafkaSection
from detector.errors import BrokerError, CommitRefusedError, NoAnswerError, NotAssignedError, RecordTooLargeError
from detector.service.kafka.clients.protocol import Committed, Member
from detector.service.kafka.connection import Connection
from detector.service.kafka.topics import LARGEST_RECORD
from detector.service.kafka.transaction import commit, transactional
from tests.service.clients import CLIENTS
from tests.waiting import wait_for

pytestmark = pytest.mark.broker

LARGE = 10_000_000


@pytest.fixture(params=CLIENTS)
def connection(request: pytest.FixtureRequest, broker: str) -> Connection:
    """Return what makes readers and writers of a client."""
    pytest.importorskip("confluent_kafka")
    return Connection(KafkaSection(bootstrap_servers=(broker,), client=request.param))


@pytest.fixture
def topic(connection: Connection, fresh_topic: Callable[[str], str]) -> str:
    """Return a topic of two partitions that takes large records."""
    name = fresh_topic("read")
    settings = {"max.message.bytes": str(2 * LARGE)}
    with contextlib.closing(connection.admin()) as admin:
        new = NewTopic(name=name, num_partitions=2, replication_factor=1, topic_configs=settings)
        admin.create_topics([new], wait_for_metadata=True)
    return name


@pytest.fixture
def place(topic: str) -> TopicPartition:
    """Return the first partition."""
    return TopicPartition(topic, 0)


@contextlib.contextmanager
def _writing(connection: Connection) -> Iterator[Any]:
    writer = connection.writer(linger_ms=0)
    yield writer
    writer.close(30)


@contextlib.contextmanager
def _reading(connection: Connection, **about: Any) -> Iterator[Any]:
    reader = connection.reader(max_poll_records=10, fetch_max_wait_ms=50, **about)
    try:
        yield reader
    finally:
        reader.close()


def _read(reader: Any, place: TopicPartition, count: int) -> list[Any]:
    found: list[Any] = []

    def enough() -> bool:
        found.extend(reader.poll(100).get(place, ()))
        return len(found) >= count

    wait_for(enough)
    return found


def test_records_larger_than_a_fetch_are_read(connection: Connection, place: TopicPartition) -> None:
    """A record of 10 MB comes whole although a fetch asks for one, with its key and headers, between small ones."""
    with _writing(connection) as writer:
        for size in (10, LARGE, 20):
            writer.send(place.topic, b"k", bytes(size), [("name", b"text")], 0)
    with _reading(connection) as reader:
        reader.assign([place])
        read = _read(reader, place, 3)
    assert [(record.key, len(record.value), list(record.headers)) for record in read] == [
        (b"k", size, [("name", b"text")]) for size in (10, LARGE, 20)
    ]
    assert [record.offset for record in read] == [0, 1, 2]


def test_deliveries(connection: Connection, topic: str) -> None:
    """What was taken is known, and what is too large for the client is told at once."""
    with _writing(connection) as writer:
        sent = writer.send(topic, b"key", b"value")
        sent.wait(30)
        assert (sent.is_done, sent.error) == (True, None)
        with pytest.raises(RecordTooLargeError):
            writer.send(topic, None, bytes(LARGEST_RECORD + 1))
        gone = writer.send(topic, b"key", None)
        writer.flush(30)
        writer.serve()
        assert gone.is_done
        assert not writer.broken


def test_a_key_leads_to_the_partition_of_kafka_s_own_client(connection: Connection, topic: str) -> None:
    """Whichever client writes decisions, those of one subject stay in one partition."""
    keys = [f"client:{i}:model".encode() for i in range(20)]
    places = [TopicPartition(topic, number) for number in (0, 1)]
    with contextlib.closing(connection.producer()) as producer:
        theirs = {key: producer.send(topic, key=key, value=key).get(timeout=30).partition for key in keys}
    with _writing(connection) as writer:
        for key in keys:
            writer.send(topic, key, b"ours")
    ours: dict[bytes, int] = {}
    with _reading(connection) as reader:
        reader.assign(places)

        def read() -> bool:
            for place, records in reader.poll(100).items():
                ours.update({record.key: place.partition for record in records if record.value == b"ours"})
            return len(ours) == len(keys)

        wait_for(read)
    assert ours == theirs


def test_dropped_records_are_never_sent(connection: Connection, topic: str) -> None:
    """What a dropped writer has not sent is not sent later, and nobody waits for it."""
    writer = connection.writer(linger_ms=60_000)
    sent = writer.send(topic, b"key", b"dropped")
    writer.drop()
    with pytest.raises(BrokerError):
        sent.wait(30)
    assert sent.is_done
    with _reading(connection) as reader:
        assert set(reader.end_offsets([TopicPartition(topic, number) for number in (0, 1)]).values()) == {0}


def test_the_position_passes_what_is_no_record(connection: Connection, place: TopicPartition) -> None:
    """Behind the marks of transactions, committed or not, the end is reached; records of aborted ones are not seen."""
    with contextlib.closing(connection.producer(transactional_id=place.topic)) as producer:
        producer.init_transactions()
        for text, end in ((b"kept", producer.commit_transaction), (b"dropped", producer.abort_transaction)):
            producer.begin_transaction()
            producer.send(place.topic, value=text, partition=0).get(timeout=30)
            end()
    with _reading(connection) as reader:
        reader.assign([place])
        found: list[bytes] = []

        def through() -> bool:
            found.extend(record.value for record in reader.poll(100).get(place, ()))
            return bool(reader.position(place) == 4)

        wait_for(through)
        assert (found, reader.position(place), reader.highwater(place)) == ([b"kept"], 4, 4)
        assert (reader.beginning_offsets([place]), reader.end_offsets([place])) == ({place: 0}, {place: 4})
        with pytest.raises(NotAssignedError, match="not assigned"):
            reader.seek(TopicPartition(place.topic, 1), 0)


def test_pausing(connection: Connection, place: TopicPartition) -> None:
    """A paused partition brings nothing, however often it is paused; resumed it brings everything once."""
    other = TopicPartition(place.topic, 1)
    with _writing(connection) as writer, _reading(connection) as reader:
        reader.assign([place, other])
        writer.send(place.topic, None, b"0", partition=0)
        assert [record.value for record in _read(reader, place, 1)] == [b"0"]
        reader.pause(place)
        reader.pause(place)
        for i in range(1, 30):
            writer.send(place.topic, None, b"%d" % i, partition=0)
        writer.send(place.topic, None, b"other", partition=1)
        writer.flush(30)
        seen: dict[TopicPartition, list[Any]] = {}
        wait_for(lambda: seen.update(reader.poll(100)) or other in seen)
        for _ in range(5):
            seen.update(reader.poll(50))
        assert place not in seen
        assert reader.paused() == {place}
        reader.resume(place)
        reader.resume(place, other)
        assert [record.value for record in _read(reader, place, 29)] == [b"%d" % i for i in range(1, 30)]
        assert reader.paused() == set()


def test_seeking(connection: Connection, place: TopicPartition) -> None:
    """The next record is the one sought, whatever was fetched ahead."""
    with _writing(connection) as writer:
        for i in range(100):
            writer.send(place.topic, None, b"%d" % i, partition=0)
    with _reading(connection) as reader:
        reader.assign([place])
        _read(reader, place, 15)
        reader.seek(place, 7)
        assert reader.position(place) == 7
        assert _read(reader, place, 1)[0].offset == 7


def test_commits_keep_their_text(connection: Connection, place: TopicPartition) -> None:
    """Offsets are committed with a text that other workers read; partitions without one are left out."""
    other = TopicPartition(place.topic, 1)
    with _reading(connection, group=place.topic) as reader:
        reader.subscribe([place.topic])
        wait_for(lambda: reader.poll(100) or len(reader.assignment()) == 2)
        assert reader.committed([place, other]) == {}
        reader.commit({place: Committed(3, "12345")})
        assert reader.committed([place, other]) == {place: Committed(3, "12345")}
        told: list[BrokerError | None] = []
        reader.commit_async({other: Committed(4, "later")}, told.append)
        wait_for(lambda: reader.poll(50) or told)
        assert told == [None]
        assert reader.committed([other, place]) == {place: Committed(3, "12345"), other: Committed(4, "later")}
        assert set(reader.partitions_of(place.topic)) == {0, 1}
        assert reader.generation == reader.member().generation_id > 0


def test_records_are_found_by_their_time(connection: Connection, place: TopicPartition) -> None:
    """The first record that is not older, with its own time; None where there is none."""
    other = TopicPartition(place.topic, 1)
    with contextlib.closing(connection.producer()) as producer:
        for moment in (1000, 2000, 3000):
            producer.send(place.topic, value=b"x", partition=0, timestamp_ms=moment)
        producer.flush(timeout=30)
    with _reading(connection) as reader:
        assert reader.first_since({place: 1500, other: 0}) == {place: (1, 2000), other: None}
        assert reader.first_since({place: 4000}) == {place: None}


def test_a_transaction_holds_offsets_and_records(connection: Connection, place: TopicPartition) -> None:
    """Both are there after the commit; a member of another generation is refused, and its records are not seen."""
    with _reading(connection, group=place.topic) as member:
        member.subscribe([place.topic])
        wait_for(lambda: member.poll(100) or len(member.assignment()) == 2)
        writer = transactional(connection, f"{place.topic}-1", _nothing)
        try:
            for text, offset in ((b"one", 5), (b"two", 6)):  # a writer is good for more than one
                writer.begin()
                writer.send(place.topic, None, text, partition=0).wait(30)
                commit(writer, {place: offset}, member.member(), _nothing)
            wait_for(lambda: _committed(member, place) == {place: Committed(6)})
            stranger = member.member()._replace(generation_id=99)
            own = stranger.own
            own = own[:7] + (99).to_bytes(4, "little") + own[11:] if isinstance(own, bytes) else own._replace(generation_id=99)
            writer.begin()
            writer.send(place.topic, None, b"refused", partition=0).wait(30)
            with pytest.raises(CommitRefusedError):
                commit(writer, {place: 7}, Member(99, stranger.member_id, own), _nothing)
        finally:
            writer.drop()
        transactional(connection, f"{place.topic}-1", _nothing).drop()  # which aborts what is open
        with _reading(connection) as reader:
            reader.assign([place])
            found: list[bytes] = []

            def through() -> bool:
                found.extend(record.value for record in reader.poll(100).get(place, ()))
                return bool(reader.position(place) == 6)

            wait_for(through)
        assert found == [b"one", b"two"]
        assert _committed(member, place) == {place: Committed(6)}


def test_a_fenced_writer_is_told(connection: Connection, place: TopicPartition) -> None:
    """Who has lost its transactional id to another can commit nothing."""
    first = transactional(connection, f"{place.topic}-2", _nothing)
    first.begin()
    first.send(place.topic, None, b"lost", partition=0).wait(30)
    second = transactional(connection, f"{place.topic}-2", _nothing)
    with pytest.raises(BrokerError) as told:
        _end(first)
    assert not isinstance(told.value, NoAnswerError)
    second.begin()
    second.send(place.topic, None, b"kept", partition=0).wait(30)
    _end(second)
    first.drop()
    second.drop()


def _end(writer: Any) -> None:
    until = time.monotonic() + 30
    while not writer.commit(1.0):
        assert time.monotonic() < until


def _committed(reader: Any, place: TopicPartition) -> dict[TopicPartition, Committed]:
    try:
        found: dict[TopicPartition, Committed] = reader.committed([place], timeout_ms=2000)
    except NoAnswerError:  # a transaction is being ended
        return {}
    return found


def _nothing() -> None:
    """Be told that somebody waits."""
