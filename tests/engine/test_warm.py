"""Rehearsals: whatever is rehearsed is compiled, and leaves nothing else behind."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detector.baseline.fit import fit_baseline
from detector.baseline.store import Baseline, save
from detector.engine.kernels import cache_folder, compiling
from detector.engine.odometer.meter import FIRST_READING, Meter
from detector.engine.odometer.told import told_of
from detector.engine.shard import EngineSettings, Shard
from detector.engine.warm import rehearse, warm_up
from detector.testing import batches, traffic


def test_after_warming_up_nothing_is_compiled(make_log: Callable[..., list[bytes]], digits_baseline: Baseline) -> None:
    """Fitting, watching with a baseline and without, tables and pictures, saving and restoring: all is there."""
    compiled: list[str] = []
    warm_up()
    with compiling(compiled.append):
        warm_up()
        baseline = fit_baseline(lambda: batches(traffic(seed=3, innocents=12, thieves=1, queries=40)), EngineSettings())
        lines = [*make_log(1, events=300), *make_log(2, events=200, dimension=70, models=("pictures",))]
        for known in (baseline, digits_baseline):
            shard = Shard(EngineSettings(learning_events=64), known.models)
            shard.process(*batches(lines))
            shard.finish()
            Shard(EngineSettings(learning_events=64), known.models).restore(shard.snapshot())
        for known in (baseline, digits_baseline):
            (judge,) = (entry.reference_set for entry in known.models.values())
            assert judge is not None
            assert Meter(judge, 1).add(told_of(judge.z, judge.c, judge.label).take(range(FIRST_READING)))
    assert compiled == []


def test_a_baseline_is_rehearsed_by_itself(digits_baseline: Baseline) -> None:
    """After it a shard with that baseline compiles nothing for its first queries; the baseline is as before."""
    before = digits_baseline.models["digits"].key()
    rehearse(digits_baseline.models)
    compiled: list[str] = []
    with compiling(compiled.append):
        rehearse(digits_baseline.models)
    assert compiled == []
    assert digits_baseline.models["digits"].key() == before


@pytest.mark.parametrize("scale", [3e38, 1e-38, 0.0])
def test_no_baseline_is_too_odd_to_be_rehearsed(digits_baseline: Baseline, scale: float) -> None:
    """Whatever the value ranges, inputs are made up that the engine takes."""
    known = digits_baseline.models["digits"]
    learned = replace(known.reference, scale=np.full_like(known.reference.scale, scale))
    rehearse({"digits": replace(known, reference=learned)})


def test_rehearsing_with_a_baseline_loads_no_fitter(digits_baseline: Baseline, tmp_path: Path) -> None:
    """A worker with a baseline loads river for its trees, and neither k-means nor covariances."""
    save(digits_baseline, tmp_path / "baseline")
    code = (
        "import sys; from pathlib import Path; from detector.baseline.store import load\n"
        "from detector.engine.warm import rehearse\n"
        "rehearse(load(Path(sys.argv[1])).models); print([name in sys.modules for name in ('sklearn.cluster', 'river')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "baseline"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[False, True]\n"


def test_what_is_compiled_is_kept() -> None:
    """There is a folder for it on this machine, or every test would compile anew."""
    assert cache_folder() is not None
