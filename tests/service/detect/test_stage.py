"""The detect stage: large state, and results that are taken slowly."""

import base64
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from detector.baseline.settings import engine_settings
from detector.engine.shard import VERSIONS_KEY
from detector.service.detect import stage as detect
from detector.service.kafka import producer
from detector.service.kafka.connection import Connection
from detector.service.kafka.topics import LARGEST_RECORD
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
    prompt = Connection.producer
    monkeypatch.setattr(Connection, "producer", lambda self, **settings: prompt(self, **settings | {"linger_ms": 1000}))
    seen = Watched()
    rig = rig_at(broker, checkpoint_seconds=5.0)  # a checkpoint waits for what is on its way, and nothing would be left
    rig.produce(stolen)
    with rig.thread(metrics=seen):
        rig.wait_done()
    assert ("detect", True) in seen.changes
    assert ("detect", False) in seen.changes[seen.changes.index(("detect", True)) :]
    rig.verify(repeats=False)


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
