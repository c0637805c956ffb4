"""Taking a partition over: what is lost is refused, rebuilt or found again, and never passed over in silence."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from kafka import OffsetAndMetadata, TopicPartition

from detector.config import EngineSection
from detector.errors import SnapshotError
from detector.service.deployment import Deployment
from detector.service.kafka import topics as topics_of
from detector.service.state.codec import mark_record
from detector.service.worker import Stage
from tests.waiting import wait_for

pytestmark = pytest.mark.broker


def _lose_state(rig: Any) -> None:
    """Delete the state topic and create it anew."""
    with rig.admin() as admin:
        admin.delete_topics([rig.topics.state])
        wait_for(lambda: rig.topics.state not in admin.list_topics())
        topics_of.create(admin, rig.topics, partitions=rig.partitions, replication=1)


def test_lost_state_is_refused(rig: Any, stolen: list[bytes]) -> None:
    """When the state topic was deleted and made anew, the worker ends and says what is lost and what to set."""
    rig.produce(stolen[:700])
    with rig.thread():
        rig.wait_done()
    _lose_state(rig)
    with (
        pytest.raises(SnapshotError, match=r"there is no state, but group '.*' has processed .* lost_state .* to rebuild"),
        rig.thread(),
    ):
        rig.wait_failed()


def test_lost_state_is_rebuilt(rig: Any, stolen: list[bytes]) -> None:
    """Told to rebuild, a worker processes what the topic still holds anew, and finds what one pass finds."""
    rig.produce(stolen[:700])
    with rig.thread():
        rig.wait_done()
    _lose_state(rig)
    rig.produce(stolen[700:])
    worker = rig.start(lost_state="rebuild")
    rig.wait_done()
    worker.end()
    assert "rebuilding lost state from what the topic still holds" in worker.said()
    rig.verify(repeats=True)


def test_lost_offsets_are_found_in_the_state(rig: Any, stolen: list[bytes]) -> None:
    """When the group's offsets have expired or were moved, the worker goes on where the state ends, and says so."""
    rig.produce(stolen[:700])
    with rig.thread():
        rig.wait_done()
    group = rig.config.kafka.group_id
    places = [TopicPartition(rig.topics.queries, number) for number in range(rig.partitions)]
    with rig.admin() as admin:
        gone, *moved = places
        admin.delete_group_offsets(group, [gone])
        admin.alter_group_offsets(group, dict.fromkeys(moved, OffsetAndMetadata(1, "", -1)))
    rig.produce(stolen[700:])
    worker = rig.start()
    rig.wait_done()
    worker.end()
    assert "continuing where the state ends, not at the offset of the group" in worker.said()
    rig.verify(repeats=False)


def test_state_of_another_seed_is_refused(rig: Any, stolen: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that another seed has sealed is read; the worker ends and says so, and what to do."""
    rig.produce(stolen[:300])
    with rig.thread():
        rig.wait_done()
    engine = rig.config.engine.model_copy(update={"seed": 99})
    monkeypatch.setattr(rig, "config", rig.config.model_copy(update={"engine": engine}))
    with (
        pytest.raises(SnapshotError, match=r"none of .* records has a valid seal: .* under another seed.* to rebuild"),
        rig.thread(),
    ):
        rig.wait_failed()


def test_forged_state_stops_nothing(rig: Any, stolen: list[bytes]) -> None:
    """Records that somebody else has put into the state are left out and kept as dead letters; nothing found changes."""
    rig.produce(stolen[:700])
    with rig.thread():
        rig.wait_done()
    state = rig.read(rig.topics.state)
    producer = rig.connection.producer()
    forged = 0
    for number, records in state.items():
        for record in {record.key: record for record in records}.values():
            producer.send(rig.topics.state, key=record.key, value=b"whitewashed", headers=record.headers, partition=number)
            producer.send(rig.topics.state, key=record.key, value=None, partition=number)
            forged += 2
    producer.close(timeout=30)
    rig.produce(stolen[700:])
    worker = rig.start()
    rig.wait_done()
    worker.end()
    assert "were not written by this service" in worker.said()
    dead_letters = [record for records in rig.read(rig.topics.dead_letters).values() for record in records]
    assert len(dead_letters) == forged
    assert {dict(dead_letter.headers)["source_topic"].decode() for dead_letter in dead_letters} == {rig.topics.state}
    rig.verify(repeats=True)


def test_state_of_another_number_of_partitions(rig: Any, stolen: list[bytes]) -> None:
    """Partitions added to queries and state since the state was saved are refused, with the remedy."""
    rig.produce(stolen[:300])
    with rig.thread():
        rig.wait_done()
    with rig.admin() as admin:
        admin.create_partitions({rig.topics.queries: rig.partitions + 2, rig.topics.state: rig.partitions + 2})
    with (
        pytest.raises(SnapshotError, match=r"there were 6 partitions; now there are 8.* Use another \[kafka\] prefix"),
        rig.thread(),
    ):
        rig.wait_failed()


def test_partitions_added_to_the_queries(rig: Any, stolen: list[bytes]) -> None:
    """Partitions added to the queries alone move no client: they stay empty, and what is found stays what one pass finds."""
    rig.produce(stolen[:700])
    with rig.thread():
        rig.wait_done()
    with rig.admin() as admin:
        admin.create_partitions({rig.topics.queries: rig.partitions + 2})
    rig.produce(stolen[700:])
    with rig.thread(), rig.thread():
        rig.wait_done()
    written = rig.read(rig.topics.queries)
    assert not written[rig.partitions]
    assert not written[rig.partitions + 1]
    rig.verify(repeats=False)


def test_keyed_log_that_grows(rig_at: Callable[..., Any], broker: str, stolen: list[bytes]) -> None:
    """Partitions added to a log keyed by client end a worker that runs, since they move clients away from their state."""
    rig = rig_at(broker, keyed=True)
    rig.produce_keyed(stolen[:300])
    with rig.admin() as admin:
        assert topics_of.check(admin, rig.topics, inputs=[rig.log], keyed=True) == rig.partitions
    with rig.thread(), rig.thread():
        rig.wait_done(stage=Stage.DETECT)
    with rig.admin() as admin:
        admin.create_partitions({rig.log: rig.partitions + 1})
    worker = rig.start()
    rig.wait_ended(worker)
    assert f"ended: topic '{rig.log}' has more partitions than '{rig.topics.state}'" in worker.said()


def test_every_partition_bears_its_mark(rig: Any, stolen: list[bytes]) -> None:
    """What is committed for a partition stands in its mark, too."""
    rig.produce(stolen[:300])
    with rig.thread():
        rig.wait_done()
    ends = {number: len(records) for number, records in rig.read(rig.topics.queries).items()}
    deployment = str(Deployment.of(rig.config, rig.baseline))
    for number, records in rig.read(rig.topics.state).items():
        marks = [record.value for record in records if record.key == mark_record(0, 0).key]
        assert (marks[-1] if marks else None) == (mark_record(ends[number], 6, deployment).value if ends[number] else None)


def test_parked_suspects_are_taken_over(rig_at: Callable[..., Any], broker: str, stolen: list[bytes]) -> None:
    """With places for three clients, the next owner goes on with the thieves that its predecessor had parked."""
    rig = rig_at(broker, partitions=1)
    engine = EngineSection(learning_events=32, seed=5, max_clients=3)
    rig.config = rig.config.model_copy(update={"engine": engine})
    own: dict[str, list[bytes]] = {}
    for line in stolen:
        own.setdefault(json.loads(line)["client"]["id"], []).append(line)
    clients = sorted(own, key=lambda client: client.startswith("thief"))
    for part in (slice(0, 60), slice(60, 90), slice(90, None)):
        rig.produce([line for client in clients for line in own[client][part]])
        with rig.thread():
            rig.wait_done()
    rig.verify(repeats=False)
    (records,) = rig.read(rig.topics.state).values()
    last = {record.key: record.value for record in records}
    assert sum(value is not None for value in last.values()) >= 5 + 2  # five thieves, the model's own part and the mark
