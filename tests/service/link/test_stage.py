"""The link stage on a real Kafka: each sketch once, in the order of the stream, whatever restarts, repeats and bad records."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from kafka import TopicPartition

from detector.baseline.secret import settings_of
from detector.baseline.store import Baseline
from detector.clock import SystemClock
from detector.engine.findings import Finding, FindingReason, Outputs
from detector.engine.links.sketch import Sketches
from detector.engine.policy import ALERT
from detector.service.detect.sketching import SketchWriter
from detector.service.kafka.producer import StageProducer
from detector.service.kafka.sketches import PURPOSE, Progress, encode_progress, encode_sketches, pieces
from detector.service.link import arrivals
from detector.service.link import stage as link
from detector.service.link.shard import LinkShard
from detector.service.reload import PolicyReloader
from detector.service.sharded.references import references_of
from detector.service.state.seal import SEAL, Seal
from detector.service.telemetry.metrics import Metrics
from detector.service.worker import Stage
from tests.service.link.drawn import BEGIN, SOURCE, Recorder, cut, placed, sketches

pytestmark = pytest.mark.broker

MODEL = "alpha"
CLIENTS = 2  # partitions of the queries
EVERY = 10


class Teller(Recorder):
    """Alerts on every tenth sketch, with an id made of all events so far: it is right only if all came once, in order."""

    def process(self, found: Sketches) -> Outputs:
        """Remember them, and tell."""
        outputs = Outputs()
        for row, name in enumerate(found.event_id):
            self.seen.append(name)
            if len(self.seen) % EVERY == 0:
                outputs.findings.append(self._finding(found, row))
        return outputs

    def _finding(self, found: Sketches, row: int) -> Finding:
        digest = hashlib.sha256("\n".join(self.seen).encode()).hexdigest()
        at, time = int(found.sequence[row]), int(found.time[row])
        reason = FindingReason("construction", "flat_offset", 1.0, 1.0, "a test", event_ids=(found.event_id[row],))
        return Finding(
            emitted=at,
            sequence=at,
            alert_id=f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}",
            time_ms=time,
            first_ms=time,
            client=found.account[row],
            model=self.model,
            version=None,
            sender=found.sender[row],
            queries=len(self.seen),
            look=1,
            kind="construction",
            evidence="offset",
            action=ALERT,
            score=1.0,
            risk=50.0,
            reasons=(reason,),
            features={},
            simulated=False,
        )


@pytest.fixture(autouse=True)
def _tellers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link.LinkStage, "_linker_of", lambda _self, model: Teller(model))


@dataclass
class Record:
    """The place and time of a record."""

    offset: int
    timestamp: int


class Sketching:
    """What detect workers would write: the sketches of two partitions, from one stream."""

    def __init__(self, rig: Any, baseline: Baseline) -> None:
        self.rig = rig
        self.reference = references_of(rig.config, baseline)[MODEL]
        self.seal = Seal(settings_of(rig.config, baseline).secret, PURPOSE)
        self.producer = StageProducer(rig.connection, rig.topics)
        self.found = sketches(200, model=MODEL)
        rows = [[row for row in range(200) if row % 3 % CLIENTS == partition] for partition in range(CLIENTS)]
        self.parts = [self._part(partition, some) for partition, some in enumerate(rows)]

    def _part(self, partition: int, rows: list[int]) -> Any:
        whole = placed(self.found, partition, [10 * row for row in range(200)])
        part = whole.take(np.array(rows))
        return replace(part, reference=self.reference, offset=np.arange(len(rows)))

    def write(self, partition: int, begin: int, end: int, size: int = 7) -> None:
        """Write some sketches of a partition, in records of so many."""
        part = self.parts[partition].take(np.arange(begin, end))
        for some in cut(part, iter(lambda: size, 0)):
            for piece in pieces(some):
                self.put(MODEL.encode(), encode_sketches(piece))

    def tell(self, reached: int) -> None:
        """Write that all partitions have come as far, in milliseconds after the begin."""
        self.put(b"", encode_progress(Progress(SOURCE, CLIENTS, dict.fromkeys(range(CLIENTS), BEGIN + reached))))

    def put(self, key: bytes, value: bytes, *, seal: bool = True) -> None:
        """Write a record to the partition of the model."""
        place = 0
        headers = [(SEAL, self.seal.of(place, key, value, 0))] if seal else []
        self.producer.send(self.rig.topics.sketches, key, value, headers, partition=place)

    def flush(self) -> None:
        """Wait until Kafka has all."""
        self.producer.flush()

    def expected(self) -> list[str]:
        """Return the ids of the alerts of one pass in order."""
        teller = Teller(MODEL)
        return [finding.alert_id for finding in teller.process(self.found).findings]

    def alerts(self) -> list[str]:
        """Return the ids of the alerts in the topic, in order."""
        read = [record for records in self.rig.read(self.rig.topics.alerts).values() for record in records]
        told = [json.loads(record.value) for record in read]
        return [alert["event"]["id"] for alert in sorted(told, key=lambda alert: alert["detector"]["queries"])]

    def wait_linked(self) -> None:
        """Wait until all that was written is linked and committed."""
        consumer = self.rig.connection.consumer(group=link.link_group(self.rig.config.kafka.group_id))
        place = TopicPartition(self.rig.topics.sketches, 0)
        try:
            end = consumer.end_offsets([place])[place]
            self.rig.wait_until(lambda: (consumer.committed(place, timeout_ms=60_000) or 0) >= end)
        finally:
            consumer.close(autocommit=False)


@pytest.fixture
def sketching(rig_at: Callable[..., Any], broker: str, generated_baseline: Baseline) -> Iterator[Sketching]:
    """Return a service with a baseline, and sketches for it."""
    made = Sketching(rig_at(broker, baseline=generated_baseline, partitions=1), generated_baseline)
    yield made
    made.producer.close()


def test_restarts_and_repeats_change_nothing(sketching: Sketching) -> None:
    """Two partitions, out of step; a worker ends in between, and detection writes again what it wrote: one pass, once."""
    sketching.write(0, 0, 60)
    sketching.write(1, 0, 20)
    sketching.tell(600)
    sketching.flush()
    with sketching.rig.thread(stage=Stage.LINK) as worker:
        sketching.rig.wait_until(lambda: worker.status().ready)
        sketching.wait_linked()
    sketching.write(1, 5, len(sketching.parts[1]), size=11)
    sketching.write(0, 30, 100)
    sketching.flush()
    with sketching.rig.thread(stage=Stage.LINK):
        sketching.wait_linked()
        sketching.write(0, 90, len(sketching.parts[0]))
        sketching.tell(2000 + arrivals.SLACK_MS)
        sketching.flush()
        sketching.wait_linked()
    assert sketching.alerts() == sketching.expected()


def test_bad_records_are_dead_letters(sketching: Sketching) -> None:
    """Records without the seal, damaged ones, and ones under another key are kept with their reason; the stream goes on."""
    good = encode_sketches(next(pieces(sketching.parts[0])))
    sketching.put(MODEL.encode(), good, seal=False)
    sketching.put(MODEL.encode(), b"\x93nothing")
    sketching.write(0, 0, len(sketching.parts[0]))
    sketching.write(1, 0, len(sketching.parts[1]))
    sketching.tell(2000 + arrivals.SLACK_MS)
    sketching.flush()
    with sketching.rig.thread(stage=Stage.LINK):
        sketching.wait_linked()
    assert sketching.alerts() == sketching.expected()
    letters = [record for records in sketching.rig.read(sketching.rig.topics.dead_letters).values() for record in records]
    assert sorted(dict(letter.headers)["detail"].decode()[:12] for letter in letters) == ["no seal of t", "no sketches:"]
    assert {dict(letter.headers)["source_topic"].decode() for letter in letters} == {sketching.rig.topics.sketches}


def test_a_record_that_fails_is_left_out(sketching: Sketching, monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes the search fail is found, kept as a dead letter, and everything else is linked."""
    whole = LinkShard.process

    def failing(self: LinkShard, entries: Any) -> Any:
        entries = list(entries)
        if any("bad" in getattr(getattr(entry.content, "sketches", None), "event_id", [""])[0] for entry in entries):
            raise RuntimeError("a fault")
        return whole(self, entries)

    monkeypatch.setattr(LinkShard, "process", failing)
    sketching.write(0, 0, 40)
    bad = replace(placed(sketches(1, model=MODEL, name="bad"), 0, [0], first=10_000), reference=sketching.reference)
    sketching.put(MODEL.encode(), encode_sketches(bad))
    sketching.write(0, 40, len(sketching.parts[0]))
    sketching.write(1, 0, len(sketching.parts[1]))
    sketching.tell(2000 + arrivals.SLACK_MS)
    sketching.flush()
    with sketching.rig.thread(stage=Stage.LINK):
        sketching.wait_linked()
    assert sketching.alerts() == sketching.expected()
    letters = [record for records in sketching.rig.read(sketching.rig.topics.dead_letters).values() for record in records]
    assert [dict(letter.headers)["reason"] for letter in letters] == [b"failed"]


def test_without_detection_nothing_waits_for_ever(sketching: Sketching, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody tells of progress for the limit, what waits is taken, counted as hurried."""
    monkeypatch.setattr(link, "RESTORE_S", -44.0)
    seen = Metrics()
    sketching.write(0, 0, len(sketching.parts[0]))
    sketching.write(1, 0, len(sketching.parts[1]))
    sketching.flush()
    with sketching.rig.thread(stage=Stage.LINK, metrics=seen):
        sketching.rig.wait_until(
            lambda: seen.registry.get_sample_value("detector_link_sketches_total", {"outcome": "hurried"}) == 200
        )
        sketching.rig.wait_until(lambda: seen.registry.get_sample_value("detector_link_sketches_held") == 0)
    assert sketching.alerts() == sketching.expected()


def test_policy_is_taken(sketching: Sketching) -> None:
    """A policy read again reaches the stage, which commits first and goes on."""
    asked, seen = threading.Event(), Metrics()
    policy = sketching.rig.config.policy.model_copy(update={"never_block": ("nobody",)})
    changed = sketching.rig.config.model_copy(update={"policy": policy})
    reloader = PolicyReloader(sketching.rig.config, asked, lambda: changed, seen)
    sketching.write(0, 0, 60)
    sketching.write(1, 0, 20)
    sketching.tell(600)
    sketching.flush()
    with sketching.rig.thread(stage=Stage.LINK, metrics=seen, reloader=reloader):
        sketching.wait_linked()
        asked.set()
        sketching.rig.wait_until(
            lambda: seen.registry.get_sample_value("detector_policy_reloads_total", {"outcome": "taken"}) == 1
        )
        sketching.write(0, 60, len(sketching.parts[0]))
        sketching.write(1, 20, len(sketching.parts[1]))
        sketching.tell(2000 + arrivals.SLACK_MS)
        sketching.flush()
        sketching.wait_linked()
    assert sketching.alerts() == sketching.expected()


def test_detection_writes_what_is_linked(sketching: Sketching) -> None:
    """The writer of the detect stage writes what the link stage takes: sealed, in its place, with the times of the records."""
    rig = sketching.rig
    secret = settings_of(rig.config, rig.baseline).secret
    writer = SketchWriter(rig.topics.sketches, 1, {MODEL: sketching.reference}, SOURCE, CLIENTS, secret, SystemClock())

    for part in sketching.parts:
        records = [Record(offset, moment) for offset, moment in zip(part.offset.tolist(), part.written.tolist(), strict=True)]
        writer.write(sketching.producer, part.partition, records, [replace(part.sketches, sequence=part.offset)])
    sketching.tell(2000 + arrivals.SLACK_MS)
    sketching.flush()
    with rig.thread(stage=Stage.LINK):
        sketching.wait_linked()
    assert sketching.alerts() == sketching.expected()
