"""What a worker says of clients that are merely unlike the known ones: each kind once."""

import numpy as np
import pytest
from structlog.testing import capture_logs

from detector.baseline.store import Baseline
from detector.engine.shard import EngineSettings, Shard
from detector.service.detect import kinds
from detector.service.detect.kinds import KindReporter
from detector.testing import Events, batches


def test_a_new_kind_of_client_is_told_once(generated_baseline: Baseline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that stay close to one input are noted with what they deviate in, and nothing is decided about them."""
    monkeypatch.setattr(kinds, "EVERY_S", 0.0)
    known = generated_baseline.models["alpha"]
    shard = Shard(EngineSettings(seed=5), generated_baseline.models)
    rng = np.random.default_rng(0)
    events = Events("alpha")
    middle = np.asarray(known.reference.offset, np.float64)
    lines = [
        events.line(f"still-{i % 3}", middle + rng.normal(scale=1e-3, size=known.reference.dimension), 1) for i in range(120)
    ]
    outputs = shard.process(*batches(lines))
    assert not outputs.pending_decisions
    watched = KindReporter()
    with capture_logs() as said:
        watched.check([shard])
        watched.check([shard])
    assert said
    assert len({entry["finding"] for entry in said}) == len(said)
    assert {(entry["log_level"], entry["model"]) for entry in said} == {("info", "alpha")}
    assert {client for entry in said for client in entry["clients"]} == {"still-0", "still-1", "still-2"}
    assert {report.client for report in shard.reports() if report.unfamiliar} == {"still-0", "still-1", "still-2"}
