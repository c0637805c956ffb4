"""Mutated records in every topic that the service reads itself: it never ends, and every record is accounted for.

`make fuzz` runs it with DETECTOR_FUZZ_RECORDS=100000.
"""

import os
import random
from typing import Any

import msgspec
import pytest
from kafka import TopicPartition

from detector.contracts import to_json
from detector.engine.partition import partition_of
from detector.ingest.batch import Batch
from detector.service.kafka.codec import encode
from detector.sinks.sample import sample_alert, sample_decision
from detector.testing import batches, traffic

pytestmark = [pytest.mark.broker, pytest.mark.slow]
RECORDS = int(os.environ.get("DETECTOR_FUZZ_RECORDS", "5000"))
STRANGE = 50  # records in each partition of the state, before the start
SPAN = 3600  # seconds that the long run may take
HARD: list[Any] = [
    *(None, True, 0, -1, 2**31, -(2**31) - 1, 2**63 - 1, 2**64 - 1, 253_402_300_799_999, 0.5, 1.5, 1e300),
    *(float("nan"), float("inf"), "", "x" * 256, "x" * 257, "\x00", "\U0001f600", b"", b"abc", bytes(8), bytes(64)),
    *(b"\xff\xff\xff\x7f" * 9, b"\x00\x00\x80\x7f" * 9, b"\x00\x00\xc0\x7f" * 8, [], {}, [None] * 5, [[[]]]),
]


def _mutated(rng: random.Random, record: bytes) -> bytes:
    """Return an event with fields exchanged and bytes changed; about one in three stays as it is."""
    fields = msgspec.msgpack.decode(record)
    for _ in range(rng.choice([0, 0, 0, 1, 1, 2])):
        fields[rng.randrange(len(fields))] = rng.choice(HARD)
    changed = bytearray(msgspec.msgpack.encode(fields))
    for _ in range(rng.choice([0, 0, 0, 0, 0, 1, 5])):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed[: rng.randrange(len(changed))] if rng.random() < 0.05 else changed)


@pytest.fixture(scope="module")
def events() -> list[tuple[str, bytes]]:
    """Return true events as they travel, with their clients: innocents and thieves."""
    found: list[tuple[str, bytes]] = []
    parts: list[Batch] = batches(traffic(seed=5, innocents=20, thieves=5, queries=100))
    for batch in parts:
        found += zip(batch.client, encode(batch), strict=True)
    return found


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # they raise nothing outside of tests
@pytest.mark.limit(SPAN)
def test_nothing_ends_the_service(rig_at: Any, broker: str, events: list[tuple[str, bytes]]) -> None:
    """Of the queries each is taken or a dead letter; strange state is left out, strange results harm nobody."""
    rig = rig_at(broker, dead_letter_ratio=1.0)
    rng = random.Random(RECORDS)
    producer = rig.connection.producer(linger_ms=5)
    for number in range(rig.partitions):
        for i in range(STRANGE):
            key = rng.choice([rng.randbytes(9), msgspec.msgpack.encode(["", "", 0]), msgspec.msgpack.encode(["m", f"c{i}", 0])])
            producer.send(rig.topics.state, key=key, value=rng.randbytes(rng.randrange(200)), partition=number)
    sent = 0
    while sent < RECORDS:
        client, record = events[sent % len(events)]
        value = _mutated(rng, record)
        producer.send(rig.topics.queries, key=client.encode(), value=value, partition=partition_of(client, rig.partitions))
        sent += 1
    whole = {rig.topics.alerts: to_json(sample_alert()), rig.topics.decisions: to_json(sample_decision())}
    for topic, document in whole.items():
        for _ in range(RECORDS // 50):
            changed = bytearray(document)
            changed[rng.randrange(len(changed))] = rng.randrange(256)
            producer.send(topic, key=b"key", value=bytes(changed))
    producer.close(timeout=600)
    with rig.thread() as worker:
        rig.wait_done(SPAN)
        taken = worker.status().processed
    refused = {"state": 0, "queries": 0}
    for records in rig.read(rig.topics.dead_letters).values():
        for record in records:
            source = dict(record.headers)["source_topic"].decode()
            refused["state" if source == rig.topics.state else "queries"] += 1
    assert refused["state"] == STRANGE * rig.partitions
    assert taken >= sent
    assert 0 < refused["queries"] < sent
    consumer = rig.connection.consumer()
    places = [TopicPartition(rig.topics.queries, number) for number in range(rig.partitions)]
    assert sum(consumer.end_offsets(places).values()) == sent
    consumer.close()
    print(f"{sent:,} queries: {sent - refused['queries']:,} taken, {refused['queries']:,} dead letters")  # noqa: T201
