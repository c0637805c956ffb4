"""The measurements on a broker, at sizes that say nothing about speed, and what their traffic rests on."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from detector.baseline import store as baselines
from detector.baseline.store import Baseline
from detector.contracts import to_json
from detector.contracts.moment import parse_rfc3339
from detector.testing import watch
from tests.alone import about_one_client
from tests.bench import kafka_latency
from tests.bench.bench_kafka import show
from tests.bench.bench_log import START_MS
from tests.bench.bench_pipeline import warmed
from tests.bench.kafka_latency import LOOK, measure_latency, strangers, with_strangers
from tests.bench.kafka_restore import measure_restore
from tests.bench.kafka_speed import _summary, measure_speed
from tests.bench.kafka_workers import measure_workers
from tests.bench.subjects import Saved, fit


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    """Fit as the bench does."""
    return fit(60, 100)


def test_each_stranger_gets_its_decision_with_its_eighth_query(baseline: Baseline) -> None:
    """That is what the delay is measured by: one decision each, known by client and event time."""
    lines = strangers(20, START_MS)
    last = {event["client"]["id"]: event["time"] for event in map(json.loads, lines)}
    decided = watch(lines, baseline=baseline).decided
    found = [
        (decision.subject.id, parse_rfc3339(json.loads(decision.model_dump_json())["issued_at"]))
        for decision in decided
        if about_one_client(to_json(decision))  # they all ask alike, so they may be one campaign, too
    ]
    assert sorted(found) == sorted(last.items())


def test_strangers_are_mixed_evenly_and_in_order() -> None:
    """At every rate there are as many decisions a second, and the rate is what was asked for."""
    lines = with_strangers(1000, 2.0, 10, first=0)
    assert len(lines) == 2000
    strange = [who for _, who in lines if who.startswith("stranger")]
    assert set(Counter(strange).values()) == {LOOK}
    assert len(set(strange)) == 2 * kafka_latency.DECISIONS_PER_S
    halves = [sum(who.startswith("stranger") for _, who in part) for part in (lines[:1000], lines[1000:])]
    assert abs(halves[0] - halves[1]) <= 2


def test_checkpoints_are_charged_by_how_often_they_come() -> None:
    """A piece of 10 us an event and a checkpoint of one second every five: an event costs 12.5 us."""
    piece = {"events": 100.0, "wall_s": 0.001, "cpu_s": 0.0005, "checkpoint_wall_s": 1.0, "checkpoint_cpu_s": 0.4}
    found = _summary([piece, piece], every_s=5.0)
    assert found["wall_us"] == pytest.approx(12.5)
    assert found["cpu_us"] == pytest.approx(6.0)


@pytest.mark.broker
@pytest.mark.slow
def test_every_part_measures(baseline: Baseline, broker: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each part runs on a real broker, its figures are complete, can be written as JSON, and are shown as tables."""
    baselines.save(baseline, tmp_path / "baseline")
    donors: Saved = warmed(baseline, 2)
    common: dict[str, Any] = {"partitions": 2, "client": "kafka-python"}
    found = {
        "speed": [measure_speed(broker, tmp_path, donors, clients=5, events=500, rounds=1, **common)],
        "latency": [
            measure_latency(broker, tmp_path, None, donors, clients=5, rate=1000, seconds=1.0, stages=stages, **common)
            for stages in ("echo", "detect")
        ],
        "restore": [measure_restore(broker, tmp_path, donors, clients=20, **common)],
        "workers": [measure_workers(broker, tmp_path, None, clients=5, events=20_000, **common)],
    }
    assert json.loads(json.dumps(found)) == found
    assert [case["missing"] for case in found["latency"]] == [0, 0]
    assert found["restore"][0]["clients"] == 20
    assert all(own["cpu_us"] > 0 for own in found["speed"][0]["subjects"].values())
    show(found)
    said = " ".join(capsys.readouterr().out.split())
    for words in (
        "through Kafka with kafka-python",
        "from event to decision",
        "Restore of 20 clients",
        "With kafka-python: 1 worker",
    ):
        assert words in said
