"""A worker: what ends it says why, and what does not end it is survived."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from kafka import TopicPartition

from detector.baseline.settings import engine_settings
from detector.baseline.store import Baseline
from detector.engine.shard import SHARD_KEY
from detector.engine.state import SNAPSHOT_VERSION
from detector.errors import ServiceError, SnapshotError
from detector.service.kafka.clients import confluent_settings
from detector.service.state.codec import mark_record, records_of, sealed
from detector.service.state.seal import Seal
from detector.service.worker import Stage

pytestmark = pytest.mark.broker


def test_missing_topics_end_it(rig_at: Callable[..., Any], broker: str) -> None:
    """A worker whose topics are missing ends at the start and names them."""
    rig = rig_at(broker, create=False)
    with pytest.raises(ServiceError, match="does not exist"), rig.thread():
        rig.wait_failed()


def test_state_of_another_version_ends_it(rig: Any, stolen: list[bytes]) -> None:
    """State of another format is refused with the topic, the partition and both versions."""
    producer = rig.connection.producer()
    (record,) = records_of(("model", SHARD_KEY), msgspec.msgpack.encode([SNAPSHOT_VERSION + 1, {}]))
    for part in (mark_record(0, rig.partitions), record):
        key, value, headers = sealed(part, Seal(engine_settings(rig.config).secret), 2)
        producer.send(rig.topics.state, key=key, value=value, headers=headers, partition=2)
    producer.close(timeout=10)
    rig.produce(stolen[:100])
    worker = rig.start()
    rig.wait_ended(worker)
    said = f"topic '{rig.topics.state}', partition 2: the saved state has format {SNAPSHOT_VERSION + 1}"
    assert f"ended: {said}, this version reads format {SNAPSHOT_VERSION}" in worker.said()


def test_state_of_another_baseline_ends_it(
    rig: Any, make_log: Callable[..., list[bytes]], generated_baseline: Baseline
) -> None:
    """State that was learned without a baseline is refused when there is one, and the state is left as it is."""
    rig.produce(make_log(5, events=300, disorder=0.0, pauses=0.0))
    with rig.thread():
        rig.wait_done()
    rig.wait_settled(rig.topics.state)
    state = rig.read(rig.topics.state)
    rig.baseline = generated_baseline
    with pytest.raises(SnapshotError, match="without a baseline, and now there is one"), rig.thread():
        rig.wait_failed()
    assert rig.read(rig.topics.state) == state


def test_expired_offset(rig: Any, stolen: list[bytes]) -> None:
    """When the offset reached is no longer in the topic, the worker goes on at the beginning of what is left and says so."""
    rig.produce(stolen[:700])
    with rig.thread():
        rig.wait_done()
    rig.produce(stolen[700:])
    with rig.thread(stage=Stage.INGEST):
        rig.wait_done(stage=Stage.INGEST)
    ends = {number: records[-1].offset + 1 for number, records in rig.read(rig.topics.queries).items() if records}
    with rig.admin() as admin:
        admin.delete_records({TopicPartition(rig.topics.queries, number): end - 5 for number, end in ends.items()})
    worker = rig.start()
    rig.wait_done()
    worker.end()
    assert worker.said().count("continuing at the first offset left") == len(ends)


def test_partitions_added_to_the_log(rig: Any, stolen: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Partitions added to an input topic while the service runs are read, too."""
    monkeypatch.setattr(confluent_settings, "METADATA_MS", 1000)
    rig.produce(stolen[:300])
    with rig.thread():
        rig.wait_done()
        with rig.admin() as admin:
            admin.create_partitions({rig.log: rig.partitions + 1})
        producer = rig.connection.producer()
        producer.send(rig.log, value=stolen[300], partition=rig.partitions).get(timeout=60)
        producer.close(timeout=10)
        rig.wait_until(lambda: sum(map(len, rig.read(rig.topics.queries).values())) == 301)


def test_unreadable_events(rig: Any, stolen: list[bytes]) -> None:
    """Records that are no events go to the dead letters with their own bytes, reason and origin, in both stages."""
    rig.produce(stolen[:300])
    producer = rig.connection.producer()
    producer.send(rig.log, value=b"{not json", partition=1)
    producer.send(rig.topics.queries, value=b"not an event", partition=3)
    producer.close(timeout=10)
    with rig.thread():
        rig.wait_done()
    dead_letters = {
        record.value: dict(record.headers) for records in rig.read(rig.topics.dead_letters).values() for record in records
    }
    assert set(dead_letters) == {b"{not json", b"not an event"}
    assert dead_letters[b"{not json"]["source_topic"].decode() == rig.log
    assert dead_letters[b"not an event"]["source_topic"].decode() == rig.topics.queries
    assert dead_letters[b"not an event"]["source_partition"] == b"3"


def test_keyed_input(rig_at: Callable[..., Any], broker: str, stolen: list[bytes]) -> None:
    """A log that is keyed by client already is read without the ingest stage, and resumed where a worker left it."""
    rig = rig_at(broker, keyed=True)
    rig.produce_keyed(stolen)
    with rig.thread():
        rig.wait_done(stage=Stage.DETECT)
    raised = [record.value for records in rig.read(rig.topics.alerts).values() for record in records]
    assert {msgspec.json.decode(alert)["user"]["id"] for alert in raised} >= {"thief-0", "thief-1"}
    with rig.thread():
        rig.wait_done(stage=Stage.DETECT)
    assert [record.value for records in rig.read(rig.topics.alerts).values() for record in records] == raised
