"""What loading the engine loads with it: nothing that only fitting and learning need."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FITTERS = {"sklearn", "sklearn.cluster", "sklearn.covariance", "river", "pandas", "detector.engine.fitting"}

SCORING = """
import json, sys
import numpy as np
from detector.engine.shard import EngineSettings, Shard
from detector.testing import Events, batches

loaded = {"import": [*sys.modules]}
rng = np.random.default_rng(1)
events = Events("model")
lines = [events.line(f"c{i % 6}", rng.random(5), i % 2) for i in range(60)]
shard = Shard(EngineSettings(learning_events=40))
shard.process(*batches(lines[:20]))
loaded["waiting"] = [*sys.modules]
shard.process(*batches(lines[20:], first_sequence=20))
loaded["watching"] = [*sys.modules]
print(json.dumps(loaded))
"""


def test_fitters_are_loaded_when_they_are_needed() -> None:
    """The shard loads no fitter; a model without a baseline loads scikit-learn to learn its inputs, and no river to score."""
    told = subprocess.run([sys.executable, "-c", SCORING], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {when: FITTERS & set(modules) for when, modules in json.loads(told.stdout).items()}
    assert loaded["import"] == set()
    assert loaded["waiting"] == set()
    assert {"sklearn.cluster", "detector.engine.fitting"} <= loaded["watching"]
    assert "river" not in loaded["watching"]


def test_a_baseline_is_read_without_fitters() -> None:
    """Whoever replays or serves with a baseline does not load what fits one."""
    code = "import json, sys, detector.offline.replay, detector.service.supervisor; print(json.dumps([*sys.modules]))"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not FITTERS & set(json.loads(told.stdout))
