"""What a worker says of its baseline: once when it no longer fits, once when it fits again."""

import numpy as np
import pytest
from structlog.testing import capture_logs

from detector.baseline.store import Baseline
from detector.engine.shard import EngineSettings, Shard
from detector.service.detect import drift as fit
from detector.service.detect.drift import DriftReporter
from detector.service.telemetry.metrics import Metrics
from detector.testing import Events, batches


def test_a_misfit_is_told_once(generated_baseline: Baseline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients of another kind than in calibration lead to a warning, not to two; shards without them to good news."""
    monkeypatch.setattr(fit, "EVERY_S", 0.0)
    settings = EngineSettings(seed=5)
    fresh, strange = (Shard(settings, generated_baseline.models) for _ in range(2))
    rng = np.random.default_rng(0)
    events = Events("alpha")
    dimension = generated_baseline.models["alpha"].reference.dimension
    lines = [events.line(f"stranger-{i % 40}", 9 * rng.normal(size=dimension), 1) for i in range(640)]
    strange.process(*batches(lines))
    fresh.process(*batches(lines[:1]))
    metrics = Metrics()
    watched = DriftReporter(metrics)
    with capture_logs() as said:
        for shards in ([strange], [strange], [fresh], [strange]):
            watched.check(shards)
    assert [(entry["log_level"], entry["model"]) for entry in said] == [
        ("warning", "alpha"),
        ("info", "alpha"),
        ("warning", "alpha"),
    ]
    assert 'detector_baseline_drift{model="alpha"}' in metrics.text().decode()
