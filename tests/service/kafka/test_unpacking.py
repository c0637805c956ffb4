"""Batches that unpack to more than anybody needs, or to nothing: no memory, one dead letter, and on behind them."""

import gzip
import time
import tracemalloc
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import KafkaProducer, TopicPartition
from kafka import codec as codec_module
from kafka.admin import NewTopic
from kafka.errors import CorruptRecordError, UnsupportedCodecError
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from detector.clock import SystemClock
from detector.config import Config, KafkaSection
from detector.errors import BatchTooLargeError
from detector.service.dead_letters import records as stored
from detector.service.ingest.stage import IngestStage
from detector.service.kafka import unpacking
from detector.service.kafka.connection import Connection
from detector.service.kafka.producer import RecordOrigin, StageProducer
from detector.service.kafka.provision import set_up
from detector.service.kafka.topics import Topics
from detector.service.kafka.unpacking import LARGEST_BATCH, Packed, unpacked
from detector.service.worker import Stage
from detector.testing import traffic

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
MIB = 1024 * 1024
BOMB = 300 * MIB  # bytes of zeros: 300 KB by gzip, 10 KB by zstd
MEMORY = 5 * LARGEST_BATCH  # bytes: a batch, a copy while its record is cut out, and what the client needs besides


def packed_by(codec: int, parts: list[bytes]) -> bytes:
    """Pack parts, each as a member or frame of its own."""
    return b"".join(gzip.compress(part) if codec == GZIP else zstandard.compress(part) for part in parts)


@given(st.sampled_from([GZIP, ZSTD]), st.lists(st.binary(max_size=3000), min_size=1, max_size=4), st.integers(0, 100))
def test_what_is_within_the_bounds_comes_out_whole(codec: int, parts: list[bytes], room: int) -> None:
    """Of one member or several; with a byte less room it is refused."""
    whole = b"".join(parts)
    assert unpacked(codec, packed_by(codec, parts), most=len(whole) + room) == whole
    if whole:
        with pytest.raises(BatchTooLargeError):
            unpacked(codec, packed_by(codec, parts), most=len(whole) - 1)


@given(st.sampled_from([GZIP, SNAPPY, LZ4, ZSTD, 5, 7]), st.binary(max_size=200), st.booleans())
def test_whatever_does_not_unpack_is_told_in_one_way(codec: int, noise: bytes, begins: bool) -> None:
    """Noise, and what begins as if it were packed: one kind of error, or, by chance, something within the bounds."""
    front = {GZIP: gzip.compress(b"x")[:-4], ZSTD: zstandard.compress(b"x" * 50)[:-2]}.get(codec, b"")
    try:
        assert len(unpacked(codec, front + noise if begins else noise, most=1000)) <= 1000
    except (BatchTooLargeError, CorruptRecordError, UnsupportedCodecError):
        return


@pytest.mark.parametrize("codec", [GZIP, ZSTD])
def test_a_bomb_takes_no_memory(codec: int) -> None:
    """What lies beyond the bound is never unpacked."""
    bomb = packed_by(codec, [b"\0" * BOMB])
    tracemalloc.start()
    with pytest.raises(BatchTooLargeError, match="unpacks to more than 1,000,000 bytes"):
        unpacked(codec, bomb, most=1_000_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * MIB


@pytest.mark.parametrize(
    "data",
    [
        bytes([0xFF] * 4 + [0x0F]) + b"x",  # says 4 GB
        b"\x82SNAPPY\0" + b"\0\0\0\1" * 2 + b"\0\0\0\6" + bytes([0xFF] * 4 + [0x0F]) + b"x",
        b"\x82SNAPPY\0" + b"\0\0\0\1" * 2 + b"\xff\xff\xff\xff",  # a block of a length below zero would never end
    ],
)
def test_snappy_is_believed_no_length(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The declared length is checked before anything is decompressed."""
    monkeypatch.setattr(codec_module, "snappy", SimpleNamespace(decompress=lambda _: pytest.fail("it is unpacked")))
    with pytest.raises((BatchTooLargeError, CorruptRecordError)):
        unpacked(SNAPPY, data)


def batch_of(values: list[bytes], codec: int, first: int = 100, headers: list[tuple[str, bytes]] | None = None) -> Any:
    """Return a batch as the client reads it from a topic, made one that keeps to the bounds."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=False,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 30,
    )
    for place, value in enumerate(values):
        builder.append(place, timestamp=1000 + place, key=b"k", value=value, headers=headers or [])
    raw = bytearray(builder.build())
    raw[:8] = first.to_bytes(8, "big")
    return unpacking._Batches(iter_of(DefaultRecordBatch(raw))).next_batch()


def iter_of(*batches: Any) -> Any:
    """Return something with the one method that a fetch has."""
    left = list(batches)
    return SimpleNamespace(next_batch=lambda: left.pop(0) if left else None)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=20), st.sampled_from([0, GZIP, ZSTD]))
def test_records_come_out_as_they_were(values: list[bytes], codec: int) -> None:
    """Values, offsets and times, packed or not, and the checksum still holds."""
    batch = batch_of(values, codec)
    assert batch.validate_crc()
    records = list(batch)
    assert [(record.offset, record.timestamp, record.value) for record in records] == [
        (100 + place, 1000 + place, value) for place, value in enumerate(values)
    ]


def test_a_bomb_is_one_record_at_the_end_of_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """It bears the batch as it lies, where that begins, and how many records it had."""
    monkeypatch.setattr(unpacking.unpacked, "__defaults__", (1000,))
    batch = batch_of([b"x" * 600, b"y" * 600, b"z"], ZSTD)
    raw = bytes(batch._buffer)
    (record,) = batch
    assert (record.offset, record.key, bytes(record.value)) == (102, None, raw)
    assert isinstance(record.value, Packed)
    assert (record.value.first, record.value.reason) == (100, "oversized")
    assert record.value.detail.startswith("a batch of 3 records up to offset 102, ")
    assert record.value.detail.endswith(" bytes as it lies: it unpacks to more than 1,000 bytes")


@settings(max_examples=200)
@given(st.sampled_from([0, GZIP, ZSTD]), st.data())
def test_a_damaged_batch_ends_reading_nowhere(codec: int, data: st.DataObject) -> None:
    """Whatever its records hold, some come out, and where one cannot be read the rest is one record; offsets only grow."""
    values = [b"a" * 40, b"b" * 40, b"c" * 40]
    batch = batch_of(values, 0, headers=[("name", b"value")])
    body = bytearray(batch._buffer[batch._pos :])
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    head = bytearray(batch._buffer[: batch._pos])
    head[22] = codec  # the low byte of the attributes
    packed = body if codec == 0 else packed_by(codec, [bytes(body)])
    (damaged,) = [unpacking._Batches(iter_of(DefaultRecordBatch(head + packed))).next_batch()]
    records = list(damaged)
    rest = [record for record in records if isinstance(record.value, Packed)]
    assert len(rest) <= 1
    assert not rest or (records[-1] is rest[0] and rest[0].offset == 102)


def test_a_header_that_is_no_text_hides_no_other_record() -> None:
    """A broker does not look at names of headers; the client cannot read some: the records before it still come out."""
    batch = batch_of([b"good", b"bad"], 0, headers=[("name", b"")])
    at = batch._buffer.rindex(b"name")
    batch._buffer[at : at + 4] = b"\xff\xfe\xfd\xfc"
    first, rest = batch
    assert (first.value, first.offset) == (b"good", 100)
    assert (rest.offset, rest.value.first, rest.value.reason) == (101, 101, "encoding")


# ------------------------------------------------------------------------------------------------------------- on a broker


def produce(address: str, topic: str, records: list[tuple[int, bytes]], compression: str | None) -> None:
    """Write records, each to its partition, in batches of their own."""
    producer = KafkaProducer(
        bootstrap_servers=address, compression_type=compression, max_request_size=BOMB + MIB, acks="all", batch_size=0
    )
    for partition, value in records:
        producer.send(topic, value=value, partition=partition).get(timeout=60)
    producer.close()


@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.parametrize(("compression", "client"), [("zstd", "confluent"), ("gzip", "auto")])
def test_a_bomb_in_a_log(
    broker: str, fresh_topic: Callable[[str], str], compression: str, client: Literal["auto", "confluent"]
) -> None:
    """A record of 300 MB of zeros, which the broker took as a few KB, is a dead letter; the events around it are written on.

    librdkafka unpacks gzip without a limit, so it reads no log unless the configuration names it.
    """
    log = fresh_topic("bomb")
    prefix = f"{log}."
    config = Config(
        kafka=KafkaSection(bootstrap_servers=(broker,), input_topics=(log,), prefix=prefix, group_id=log, client=client)
    )
    connection, topics = Connection(config.kafka), Topics.under(prefix)
    set_up(connection, topics, [log], 1, 1)
    lines = traffic(queries=3)[:6]
    produce(broker, log, [(0, line) for line in lines[:3]], compression)
    produce(broker, log, [(0, b"\0" * BOMB)], compression)
    produce(broker, log, [(0, line) for line in lines[3:]], compression)
    stage = IngestStage(config, connection, topics, 1, SystemClock(), None)
    tracemalloc.start()
    read, until = 0, time.monotonic() + 120
    while read < len(lines) + 1 and time.monotonic() < until:
        read += stage.step(100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    stage.close()
    assert read == len(lines) + 1
    assert peak < MEMORY
    (dead_letter,) = stored.latest(config, 10)
    assert (dead_letter.reason, dead_letter.origin, dead_letter.cut) == ("oversized", RecordOrigin(log, 0, 3), True)
    assert "a batch of 1 records up to offset 3" in dead_letter.detail
    assert len(dead_letter.record) < MIB
    reader = connection.consumer()
    place = TopicPartition(topics.queries, 0)
    assert reader.end_offsets([place])[place] >= len(lines)
    reader.close(autocommit=False)


@pytest.mark.broker
@pytest.mark.slow
def test_a_bomb_in_a_keyed_log(rig_at: Callable[..., Any], broker: str, stolen: list[bytes]) -> None:
    """The stage that detects reads such a log by itself: the bomb is a dead letter, and every event around it is judged."""
    rig = rig_at(broker, partitions=1, keyed=True)
    rig.produce_keyed(stolen[:200])
    produce(broker, rig.log, [(0, b"\0" * BOMB)], "gzip")
    rig.produce_keyed(stolen[200:400])
    with rig.thread():
        rig.wait_done(stage=Stage.DETECT)
    (dead_letter,) = stored.latest(rig.config, 10)
    assert (dead_letter.reason, dead_letter.origin, dead_letter.cut) == ("oversized", RecordOrigin(rig.log, 0, 200), True)
    assert len(dead_letter.record) < MIB


@pytest.mark.broker
@pytest.mark.slow
def test_a_fetch_of_many_large_records_comes_in_parts(broker: str, fresh_topic: Callable[[str], str]) -> None:
    """A thousand batches of a megabyte each fit into one fetch: a poll returns some of them, the next ones the rest."""
    log = fresh_topic("many")
    config = Config(kafka=KafkaSection(bootstrap_servers=(broker,), input_topics=(log,), prefix=f"{log}.", group_id=log))
    connection = Connection(config.kafka)
    set_up(connection, Topics.under(config.kafka.prefix), [log], 2, 1)
    count = 100
    produce(broker, log, [(place % 2, b"%03d" % place + b" " * MIB) for place in range(count)], "zstd")
    consumer = connection.consumer(max_poll_records=2000, fetch_max_wait_ms=50)
    places = [TopicPartition(log, 0), TopicPartition(log, 1)]
    consumer.assign(places)
    consumer.seek_to_beginning(*places)
    found: list[list[bytes]] = []
    until = time.monotonic() + 120
    while sum(map(len, found)) < count and time.monotonic() < until:
        polled = consumer.poll(timeout_ms=200)
        found.append([record.value[:3] for records in polled.values() for record in records])
    consumer.close(autocommit=False)
    assert sorted(name for names in found for name in names) == [b"%03d" % place for place in range(count)]
    assert max(map(len, found)) <= unpacking.ENOUGH_BYTES // MIB + 1


@pytest.mark.broker
def test_letters_of_a_batch(broker: str, fresh_topic: Callable[[str], str]) -> None:
    """A batch that was not unpacked is not sent back: it is not the records that it holds."""
    prefix = f"{fresh_topic('letters')}."
    config = Config(kafka=KafkaSection(bootstrap_servers=(broker,), input_topics=(prefix,), prefix=prefix))
    connection, topics = Connection(config.kafka), Topics.under(prefix)
    set_up(connection, topics, [], 1, 1)
    packed = Packed(b"batch")
    packed.first, packed.reason, packed.detail = 7, "encoding", "no"
    producer = StageProducer(connection, topics)
    producer.dead_letter("json", "broken", packed, RecordOrigin("log", 0, 9), b"key")
    producer.flush()
    producer.close()
    (dead_letter,) = stored.latest(config, 10)
    assert (dead_letter.reason, dead_letter.detail, dead_letter.origin, dead_letter.key) == (
        "encoding",
        "no",
        RecordOrigin("log", 0, 7),
        None,
    )
    assert (dead_letter.record, dead_letter.cut) == (b"batch", True)


@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.parametrize(("compression", "kept"), [("zstd", "producer"), ("gzip", "zstd")])
def test_the_other_client_goes_on_behind_a_bomb(
    broker: str, fresh_topic: Callable[[str], str], compression: str, kept: str
) -> None:
    """Librdkafka would ask for it again and again: what it cannot unpack is read past, and nothing around it is lost.

    Of gzip it unpacks any size, but there is none where the broker packs anew, as the topic's ``compression.type`` says.
    """
    pytest.importorskip("confluent_kafka")
    log = fresh_topic("other")
    section = KafkaSection(client="confluent", bootstrap_servers=(broker,), input_topics=(log,), prefix=f"{log}.", group_id=log)
    connection = Connection(section)
    admin = connection.admin()
    topic = NewTopic(name=log, num_partitions=1, replication_factor=1, topic_configs={"compression.type": kept})
    admin.create_topics([topic], wait_for_metadata=True)
    admin.close()
    produce(broker, log, [(0, b"before"), (0, b"\0" * (LARGEST_BATCH + 32 * MIB)), (0, b"after")], compression)
    place = TopicPartition(log, 0)
    reader = connection.reader(max_poll_records=100, fetch_max_wait_ms=50)
    reader.assign([place])
    found: list[Any] = []
    until = time.monotonic() + 120
    while len(found) < 3 and time.monotonic() < until:
        found += reader.poll(timeout_ms=100).get(place, [])
    reader.close()
    assert [record.offset for record in found] == [0, 1, 2]
    assert (found[0].value, found[2].value) == (b"before", b"after")
    assert isinstance(found[1].value, Packed)
