"""Evidence that the calibration no longer fits."""

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest

from detector.baseline.fit import fit_baseline
from detector.baseline.store import Baseline
from detector.engine.evidence.accumulate import CHANNELS
from detector.engine.features.row import CONTENT, NAMES
from detector.engine.models.drift import ALARM, BINS, RUNGS, STRETCH, DriftMonitor, _log_urn, assess
from detector.engine.models.novelty import Evaluations
from detector.engine.shard import EngineSettings, Shard, drifts
from detector.errors import SnapshotError
from detector.testing import batches, traffic

Floats = npt.NDArray[np.float64]
CALM = CONTENT.start + 3


def rows(count: int, rng: np.random.Generator) -> Floats:
    """Return features of which one hardly has ties, one only two values, one never varies and one is often missing."""
    found = rng.normal(size=(count, len(NAMES)))
    found[:, CONTENT.start] = rng.random(count) < 0.1
    found[:, CONTENT.start + 1] = 0.0
    found[rng.random(count) < 0.5, CONTENT.start + 2] = np.nan
    return found


def calibration(clients: int, rng: np.random.Generator, rungs: int = 2) -> Evaluations:
    known = [rows(clients, rng) for _ in range(rungs)]
    return Evaluations(np.tile(np.arange(clients), rungs), np.repeat(RUNGS[:rungs], clients), np.concatenate(known))


def test_an_urn_is_a_probability() -> None:
    """Over all orders in which four balls can be drawn from three groups, the probabilities sum to one."""
    balls = np.array([2.0, 0.5, 7.0])
    total = 0.0
    for drawn in itertools.product(range(3), repeat=4):
        total += math.exp(_log_urn(np.bincount(drawn, minlength=3)[None], balls)[0])
    assert total == pytest.approx(1.0)


def test_more_of_the_same_seldom_looks_like_drift() -> None:
    """Whenever one looks, evidence against clients of the same kind passes a factor of 20 in 1 run of 20 at most."""
    rng = np.random.default_rng(5)
    passed = 0
    for run in range(100):
        monitor = DriftMonitor(calibration(int(rng.integers(8, 60)), rng))
        highest = -np.inf
        for i, row in enumerate(rows(100, rng)):
            monitor.note(i % 2, row, f"{run}-{i}")
            if i % 5 == 0:
                highest = max(highest, assess([monitor]).evidence)
        passed += highest >= math.log10(20)
    assert passed <= 5


@pytest.mark.parametrize(("by", "to"), [(2.5, "higher"), (-2.5, "lower")])
def test_newcomers_of_another_kind_are_drift(by: float, to: str) -> None:
    """Forty clients with one feature moved are found; the feature comes first, with its direction and distance."""
    rng = np.random.default_rng(6)
    monitor = DriftMonitor(calibration(40, rng))
    assert assess([monitor]).tell() == "no client to compare with the calibration yet"
    for i, row in enumerate(rows(40, rng)):
        row[CALM] += by
        monitor.note(1, row, f"new-{i}")
    found = assess([monitor])
    assert not found.fits
    assert found.evidence >= ALARM
    first = found.features[0]
    assert (first.feature, first.to, first.queries, first.clients) == (NAMES[CALM], to, 16, 40)
    assert found.distance == first.distance > 0.5
    assert "no longer fits" in found.tell()
    assert NAMES[CALM] in found.tell()


def test_a_value_that_never_occurred_is_drift() -> None:
    """A feature that was constant in calibration, and a missing value that never was missing, count as well."""
    rng = np.random.default_rng(7)
    for column, value in ((CONTENT.start + 1, 0.1), (CALM, np.nan)):
        monitor = DriftMonitor(calibration(40, rng))
        for i, row in enumerate(rows(40, rng)):
            row[column] = value
            monitor.note(0, row, f"new-{i}")
        found = assess([monitor])
        assert not found.fits
        assert found.features[0].feature == NAMES[column]


def test_what_is_over_is_forgotten() -> None:
    """Two stretches of ordinary clients after a drift, the evidence is gone; counts stay bounded."""
    rng = np.random.default_rng(8)
    monitor = DriftMonitor(calibration(40, rng))
    for i, row in enumerate(rows(STRETCH + 1, rng)):
        monitor.note(0, row + 3.0, f"strange-{i}")
    assert not assess([monitor]).fits
    for i, row in enumerate(rows(2 * STRETCH, rng)):
        monitor.note(0, row, f"usual-{i}")
    found = assess([monitor])
    assert found.fits
    assert STRETCH <= found.clients <= 2 * STRETCH


def test_monitors_add_up() -> None:
    """Clients that are dealt over two monitors say what they say to one; unknown rungs and small calibrations say nothing."""
    rng = np.random.default_rng(9)
    evaluations = calibration(30, rng)
    one, *two = (DriftMonitor(evaluations) for _ in range(3))
    for i, row in enumerate(rows(60, rng)):
        for monitor in (one, two[i % 2]):
            monitor.note(0, row + 1.0, f"new-{i}")
            monitor.note(5, row + 1.0, f"new-{i}")
    assert assess(two) == assess([one])
    few = DriftMonitor(calibration(7, rng))
    few.note(0, rows(1, rng)[0], "new")
    assert assess([few]).clients == 0


@pytest.fixture(scope="module")
def known() -> Baseline:
    """Fit a baseline on thirty innocent clients."""
    return fit_baseline(lambda: batches(traffic(seed=3, innocents=30, thieves=0, queries=70)), EngineSettings())


def test_cuts_and_restarts_change_nothing(known: Baseline) -> None:
    """The monitor's counts are part of the saved state: pieces and restarts lead to the same state and the same report."""
    lines = traffic(seed=4, innocents=12, thieves=2, queries=40)
    whole = Shard(EngineSettings(), known.models)
    whole.process(*batches(lines))
    shard = Shard(EngineSettings(), known.models)
    for start in range(0, len(lines), 83):
        shard.process(*batches(lines[start : start + 83], first_sequence=start))
        if start == 2 * 83:
            saved = shard.snapshot()
            shard = Shard(EngineSettings(), known.models)
            shard.restore(saved)
    assert shard.snapshot() == whole.snapshot()
    assert drifts([shard]) == drifts([whole])
    assert drifts([whole])["model"].clients > 0


def test_thieves_are_not_counted(known: Baseline) -> None:
    """A client with evidence of construction says nothing about the innocent."""
    shard = Shard(EngineSettings(), known.models)
    shard.process(*batches(traffic(seed=4, innocents=6, thieves=3, queries=70)))
    counted = shard.monitors["model"].counts[1, :, 0].sum(axis=1)
    assert counted[list(RUNGS).index(64)] == 6


def test_state_of_another_form_is_refused(known: Baseline) -> None:
    """Counts of another shape or type are not taken over."""
    monitor = DriftMonitor(known.models["model"].evaluations)
    for counts in (monitor.counts[:, :2], monitor.counts.astype(np.float32)):
        with pytest.raises(SnapshotError, match="another form"):
            monitor.restore({"counts": counts})
    assert monitor.counts.shape[-1] == BINS
    assert len(CHANNELS) == known.models["model"].channel_scores.shape[1]
