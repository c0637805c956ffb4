"""The detect stage: large state, and results that are taken slowly."""

import base64
import itertools
import json
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import numpy as np
import pytest

from detector.baseline.settings import engine_settings
from detector.config import Config
from detector.engine.shard import VERSIONS_KEY
from detector.service.detect import stage as detect
from detector.service.kafka import producer
from detector.service.kafka.connection import Connection
from detector.service.kafka.topics import LARGEST_RECORD
from detector.service.reload import PolicyReloader
from detector.service.state.codec import StateReader
from detector.service.state.seal import Seal
from detector.service.telemetry.metrics import Metrics, StageName
from detector.testing import Events

pytestmark = pytest.mark.broker


class Watched(Metrics):
    """Metrics that remember when stages were held up."""

    def __init__(self) -> None:
        super().__init__()
        self.changes: list[tuple[StageName, bool]] = []

    def held_up(self, stage: StageName, held_up: bool) -> None:
        """Remember it."""
        super().held_up(stage, held_up)
        if (stage, held_up) not in self.changes[-2:]:
            self.changes.append((stage, held_up))


def test_slow_results_pause_the_partitions(
    rig_at: Callable[..., Any], broker: str, stolen: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While results are on their way nothing more is taken in; then it goes on, and nothing is lost or doubled."""
    monkeypatch.setattr(producer, "MOST_IN_FLIGHT", 1)
    monkeypatch.setattr(producer, "FAR_BEYOND", 10**9)
    monkeypatch.setattr(detect, "MOST_RECORDS", 50)
    prompt = Connection.writer
    monkeypatch.setattr(Connection, "writer", lambda self, **settings: prompt(self, **settings | {"linger_ms": 1000}))
    seen = Watched()
    rig = rig_at(broker, checkpoint_seconds=5.0)  # a checkpoint waits for what is on its way, and nothing would be left
    rig.produce(stolen)
    with rig.thread(metrics=seen):
        rig.wait_done()
    assert ("detect", True) in seen.changes
    assert ("detect", False) in seen.changes[seen.changes.index(("detect", True)) :]
    rig.verify(repeats=False)


def test_policy_changes_without_loss_or_repetition(rig_at: Callable[..., Any], broker: str, stolen: list[bytes]) -> None:
    """Policies that treat these clients alike are taken in turn: the same is found, once, under one or the other."""
    rig = rig_at(broker)
    lines = sorted(stolen, key=lambda line: b'"thief-3"' in line or b'"thief-4"' in line)  # these are found last
    policies = itertools.cycle([{"never_block": ("nobody",)}, {"never_block": ()}])

    def read() -> Config:
        policy = rig.config.policy.model_copy(update=next(policies))
        return cast("Config", rig.config.model_copy(update={"policy": policy}))

    asked, seen = threading.Event(), Metrics()
    reloader = PolicyReloader(rig.config, asked, read, seen)
    taken = partial(seen.registry.get_sample_value, "detector_policy_reloads_total", {"outcome": "taken"})
    with rig.thread(metrics=seen, reloader=reloader) as worker:
        rig.wait_until(lambda: worker.status().ready)
        for at in range(0, len(lines), 400):
            rig.produce(lines[at : at + 300])
            rig.wait_done()  # under this policy; the change meets what follows anywhere
            rig.produce(lines[at + 300 : at + 400])
            before = taken() or 0
            asked.set()
            rig.wait_until(lambda before=before: (taken() or 0) > before)
        rig.wait_done()
    alerts, decisions = rig.expected()
    raised = [json.loads(record.value) for records in rig.read(rig.topics.alerts).values() for record in records]
    assert sorted(alert["event"]["id"] for alert in raised) == sorted(alerts)
    decided = [json.loads(record.value) for records in rig.read(rig.topics.decisions).values() for record in records]
    assert {decision["decision_id"] for decision in decided} >= {json.loads(each)["decision_id"] for each in decisions.values()}
    assert len({decision["decision_id"] for decision in decided}) == len(decided)
    assert len({decision["policy_version"] for decision in decided}) == 2


@pytest.mark.slow
def test_state_larger_than_a_record(rig_at: Callable[..., Any], broker: str) -> None:
    """Wide inputs that wait for their model make a state that no record could hold, which is saved and found again."""
    rig = rig_at(broker, partitions=1)
    rng = np.random.default_rng(0)
    events = Events("wide")
    lines = []
    for _ in range(24):
        record = json.loads(events.line("client", [0.0], 1))
        packed = rng.random(180_000, np.float32).astype("<f4").tobytes()
        record["input"] = {"vector_b64": base64.b64encode(packed).decode()}
        lines.append(json.dumps(record).encode())
    for part in (lines[:22], lines[22:]):
        rig.produce(part)
        with rig.thread() as worker:
            rig.wait_done()
            assert worker.status().partitions == (0,)
    assert not any(rig.read(rig.topics.dead_letters).values())
    reading = StateReader(Seal(engine_settings(rig.config).secret), 0)
    for record in rig.read(rig.topics.state)[0]:
        reading.take(record.key, record.value, record.headers)
    state = reading.done()
    assert len(state.values["wide", VERSIONS_KEY]) > 24 * 4 * 180_000 > LARGEST_RECORD
    assert state.mark is not None
    assert state.mark.offset == 24
