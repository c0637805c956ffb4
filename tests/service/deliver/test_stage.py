"""Deliveries from Kafka: every receiver gets everything, at its own pace, whatever happens to it or to us."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from detector.config import DeliverySection
from detector.contracts import to_json
from detector.errors import RefusedError, RetryableError
from detector.service.deliver.dependencies import Dependencies
from detector.service.deliver.stage import Deliveries
from detector.service.telemetry.metrics import Metrics
from detector.service.worker import Stage
from detector.sinks.delivery import Delivery
from detector.sinks.file import FileSection
from detector.sinks.message import Message
from detector.sinks.receiver import Receiver, rendered
from detector.sinks.registry import receiver
from detector.sinks.sample import sample_alert, sample_decision
from tests.waiting import wait_for

pytestmark = pytest.mark.broker


class Endpoint(Delivery):
    """A receiver in memory: `away` it takes nothing, ids in `bad` it refuses for good, of each batch it takes `most`."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.away = threading.Event()
        self.bad: set[str] = set()
        self.most = 1000
        self.attempts = 0

    def deliver(self, batch: Sequence[Message]) -> None:
        """Take the batch in order."""
        self.attempts += 1
        if self.away.is_set():
            raise RetryableError("away")
        for done, message in enumerate(batch):
            if message.id in self.bad:
                raise RefusedError("400 no such field", done=done, at=done)
            if done == self.most:
                raise RetryableError("enough for now", done=done)
            self.taken.append(message.id)

    def receiver(self, name: str) -> Receiver:
        """Return what the configuration would make of it."""
        return Receiver(DeliverySection(name=name, kind="memory"), rendered(to_json), lambda: self, at_once=20)


@contextmanager
def delivering(rig: Any, *receivers: Receiver, metrics: Metrics | None = None) -> Iterator[Deliveries]:
    """Deliver what lies in the topics of a service."""
    dependencies = Dependencies(rig.connection, rig.topics, rig.config.kafka.group_id, metrics or Metrics())
    stage = Deliveries(receivers, dependencies)
    try:
        yield stage
        stage.step(0)  # raises what a thread ended with
    finally:
        stage.close(30.0)


def publish(rig: Any, first: int, last: int) -> set[str]:
    """Write alerts and decisions with numbers in their ids, and return the ids."""
    producer = rig.connection.producer(linger_ms=2)
    ids = set()
    for i in range(first, last):
        alert = sample_alert(alert_id=f"alert-{i}", client=f"client-{i % 7}")
        producer.send(rig.topics.alerts, key=alert.user.id.encode(), value=to_json(alert))
        decision = sample_decision(decision_id=f"00000000-0000-5000-8000-{i:012}", revision=i + 1)
        producer.send(rig.topics.decisions, key=decision.key.encode(), value=to_json(decision))
        ids |= {alert.event.id, f"{decision.decision_id}-{decision.revision}"}
    producer.close(timeout=30)
    return ids


def committed(rig: Any, name: str) -> int:
    """Return how many records a receiver's group has committed."""
    with rig.admin() as admin:
        group = f"{rig.config.kafka.group_id}-ship-{name}"
        offsets = admin.list_group_offsets({group: None})[group]
    return sum(entry.offset for entry in offsets.values())


def everything(rig: Any, topic: str) -> list[Any]:
    """Return the records of a topic."""
    return [record for records in rig.read(topic).values() for record in records]


def dead_letters(rig: Any) -> list[tuple[bytes, dict[Any, bytes]]]:
    """Return the dead letters with their headers."""
    return [(record.value, dict(record.headers)) for record in everything(rig, rig.topics.dead_letters)]


def test_everything_arrives_once_and_in_order(rig: Any) -> None:
    """Alerts of a client and decisions about a subject come in the order of their topics, and not again after a restart."""
    endpoint = Endpoint()
    endpoint.most = 7
    ids = publish(rig, 0, 30)
    with delivering(rig, endpoint.receiver("siem")):
        wait_for(lambda: len(endpoint.taken) >= len(ids))
        wait_for(lambda: committed(rig, "siem") == 60)
    assert sorted(endpoint.taken) == sorted(ids)
    for i in range(7):
        own = [one for one in endpoint.taken if one.startswith("alert") and int(one[6:]) % 7 == i]
        assert own == sorted(own, key=lambda one: int(one[6:]))
    more = publish(rig, 30, 35)
    with delivering(rig, endpoint.receiver("siem")):
        wait_for(lambda: len(endpoint.taken) >= len(ids) + len(more))
    assert sorted(endpoint.taken) == sorted(ids | more)


def test_one_that_is_away_holds_up_no_other(rig: Any) -> None:
    """While one takes nothing, the other gets everything; when it is back it gets all it missed, and metrics told so."""
    good, away = Endpoint(), Endpoint()
    away.away.set()
    metrics = Metrics()
    ids = publish(rig, 0, 20)
    with delivering(rig, good.receiver("good"), away.receiver("away"), metrics=metrics):
        wait_for(lambda: len(good.taken) == len(ids))
        wait_for(lambda: away.attempts > 2)
        lag = 'detector_sink_lag_messages{sink="away"}'
        wait_for(
            lambda: any(line.startswith(lag) and not line.endswith(" 0.0") for line in metrics.text().decode().splitlines())
        )
        assert away.taken == []
        away.away.clear()
        wait_for(lambda: len(away.taken) == len(ids))
        wait_for(lambda: committed(rig, "away") == len(ids))
        wait_for(lambda: f"{lag} 0.0" in metrics.text().decode())
    text = metrics.text().decode()
    assert sorted(good.taken) == sorted(away.taken) == sorted(ids)
    assert f'detector_sink_documents_total{{outcome="delivered",sink="away"}} {float(len(ids))}' in text
    assert 'detector_sink_retries_total{sink="away"}' in text
    assert 'detector_sink_retries_total{sink="good"}' not in text


def test_what_is_refused_goes_to_the_dead_letters(rig: Any) -> None:
    """A poisoned record and one that is no document are kept with reason and origin; everything else passes."""
    endpoint = Endpoint()
    endpoint.bad = {"alert-3"}
    producer = rig.connection.producer()
    producer.send(rig.topics.alerts, key=b"client-1", value=b'{"not": "an alert"}')
    producer.send(rig.topics.decisions, key=b"client:gone:model", value=None)
    producer.close(timeout=30)
    ids = publish(rig, 0, 8)
    with delivering(rig, endpoint.receiver("siem")):
        wait_for(lambda: len(endpoint.taken) == len(ids) - 1)
        wait_for(lambda: committed(rig, "siem") == len(ids) + 2)
    assert sorted(endpoint.taken) == sorted(ids - {"alert-3"})
    refused: dict[Any, dict[Any, bytes]] = {value: headers for value, headers in dead_letters(rig) if b'"not"' in value}
    refused |= {json.loads(value)["event"]["id"]: headers for value, headers in dead_letters(rig) if b'"event"' in value}
    assert set(refused) == {"alert-3", b'{"not": "an alert"}'}
    assert refused["alert-3"]["detail"] == b"delivery siem does not take it: 400 no such field"
    for headers in refused.values():
        assert (headers["reason"], headers["source_topic"].decode()) == (b"schema", rig.topics.alerts)


def test_after_a_stop_the_rest_is_delivered(rig: Any) -> None:
    """Ended while a receiver takes only part of each batch and then nothing, the rest comes after the next start."""
    endpoint = Endpoint()
    endpoint.most = 2
    ids = publish(rig, 0, 20)
    with delivering(rig, endpoint.receiver("siem")):
        wait_for(lambda: len(endpoint.taken) > 4)
        endpoint.away.set()
    before = len(endpoint.taken)
    assert before < len(ids)
    endpoint.away.clear()
    endpoint.most = 1000
    with delivering(rig, endpoint.receiver("siem")):
        wait_for(lambda: set(endpoint.taken) == ids)
    assert len(endpoint.taken) == len(ids)


@pytest.mark.slow
def test_two_workers_share_the_work(rig: Any) -> None:
    """When a second worker joins while the receiver is away, and when the first leaves, nothing is lost."""
    endpoint = Endpoint()
    endpoint.away.set()
    ids = publish(rig, 0, 40)
    with delivering(rig, endpoint.receiver("siem")) as first:
        wait_for(lambda: endpoint.attempts > 0)
        with delivering(rig, endpoint.receiver("siem")) as second:
            wait_for(lambda: first.ready and second.ready)
            endpoint.away.clear()
            wait_for(lambda: ids <= set(endpoint.taken))
            first.close(30.0)
            more = publish(rig, 40, 60)
            wait_for(lambda: more <= set(endpoint.taken))
            wait_for(lambda: committed(rig, "siem") == 120)


def test_a_receiver_of_the_configuration(rig: Any, tmp_path: Path) -> None:
    """What the service finds in a log with thieves is in the file of a delivery, and only what is grave enough."""
    path = tmp_path / "alerts.log"
    section = FileSection(name="lines", path=path, format="cef", min_severity="high", send=("alerts",))
    publish(rig, 0, 3)
    producer = rig.connection.producer()
    producer.send(rig.topics.alerts, key=b"mild", value=to_json(sample_alert(alert_id="mild", severity="low")))
    producer.close(timeout=30)
    with delivering(rig, receiver(section)):
        wait_for(lambda: path.exists() and path.read_bytes().count(b"\n") == 3)
        wait_for(lambda: committed(rig, "lines") == 4)
    lines = path.read_text("utf-8").splitlines()
    assert sorted(line.split("externalId=")[1].split(" ")[0] for line in lines) == ["alert-0", "alert-1", "alert-2"]


@pytest.mark.parametrize("stages", [[Stage.ALL], [Stage.SHIP, Stage.INGEST, Stage.DETECT]])
def test_the_service_delivers(rig: Any, tmp_path: Path, stolen: list[bytes], stages: list[Stage]) -> None:
    """Run as a whole or stage by stage, all that the service finds is delivered, and nothing else."""
    path = tmp_path / "found.jsonl"
    rig.config = rig.config.model_copy(update={"deliveries": (FileSection(name="lines", path=path),)})
    rig.produce(stolen[:600])
    with ExitStack() as stack:
        workers = [stack.enter_context(rig.thread(stage=stage)) for stage in stages]
        rig.wait_done()
        found = {record.value for topic in (rig.topics.alerts, rig.topics.decisions) for record in everything(rig, topic)}
        assert found
        wait_for(lambda: path.exists() and found <= set(path.read_bytes().splitlines()))
        wait_for(lambda: workers[0].status().ready)
        assert workers[0].status().degraded is None
    assert sorted(path.read_bytes().splitlines()) == sorted(found)


def test_a_receiver_that_is_away_degrades_the_worker(rig: Any, tmp_path: Path) -> None:
    """The worker stays ready, and says which delivery does not work and why."""
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    section = FileSection(name="lines", path=blocked / "found.jsonl")
    rig.config = rig.config.model_copy(update={"deliveries": (section,)})
    publish(rig, 0, 2)
    with rig.thread() as worker:
        wait_for(lambda: worker.status().degraded)
        assert worker.status().degraded.startswith("delivery lines: ")
        wait_for(lambda: worker.status().ready)
        blocked.unlink()
        wait_for(lambda: worker.status().degraded is None)
    assert len((blocked / "found.jsonl").read_bytes().splitlines()) == 4
