"""Tables whose columns have few levels, through the engine: searches and steps are stopped, draws throttled, nobody else."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from detector.baseline.fit import fit_baseline
from detector.baseline.store import Baseline
from detector.engine.policy import ALERT, PERTURB, THROTTLE, PolicySettings
from detector.engine.shard import EngineSettings, Shard
from detector.testing import LATER_MS, Events, batches
from tests.engine.fitting.test_coarse import HIGHEST, WIDTH, records

Floats = npt.NDArray[np.float32]
SETTINGS = EngineSettings(seed=5, policy=PolicySettings(shadow=False))
QUERIES = 100


def label_of(record: Floats) -> int:
    """The model: which of two halves of the questions is answered higher."""
    return int(record[: WIDTH // 2].sum() > record[WIDTH // 2 :].sum())


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    events = Events("answers", step_ms=500)
    rows = records(21, 40 * 60).reshape(60, 40, WIDTH)
    lines = [events.line(f"benign-{k}", row, label_of(row)) for turn in rows for k, row in enumerate(turn)]
    return fit_baseline(lambda: batches(lines), SETTINGS)


def met(baseline: Baseline, asked: Callable[[], list[Floats]]) -> dict[int, int]:
    """Return after how many queries a client that asks so first met each action."""
    events = Events("answers", start_ms=LATER_MS)
    lines = [events.line("somebody", row, label_of(row)) for row in asked()[:QUERIES]]
    shard = Shard(SETTINGS, baseline.models)
    outputs = shard.process(*batches(lines))
    outputs.add(shard.finish())
    found: dict[int, int] = {}
    for finding in sorted(outputs.findings, key=lambda finding: finding.sequence):
        for action in (ALERT, THROTTLE, PERTURB):
            if finding.action >= action:
                found.setdefault(action, finding.sequence + 1)
    return found


def searches() -> list[Floats]:
    """Halve the way between two records with different labels, then between the next two."""
    rows = list(records(31, 400))
    asked: list[Floats] = []
    while rows and len(asked) < QUERIES:
        one = rows.pop()
        other = next(row for row in reversed(rows) if label_of(row) != label_of(one))
        asked += [one, other]
        for _ in range(4):
            middle = np.rint((one + other) / 2.0).astype(np.float32)
            if np.array_equal(middle, one) or np.array_equal(middle, other):
                break
            asked.append(middle)
            one, other = (middle, other) if label_of(middle) == label_of(one) else (one, middle)
    return asked


def augmentation() -> list[Floats]:
    """Seeds, then each of them one level up or down in each column, towards its own label."""
    asked = list(records(32, 20))
    signs = np.where(np.arange(WIDTH) < WIDTH // 2, 1.0, -1.0) * np.random.default_rng(1).choice([-1.0, 1.0], WIDTH)
    for k in range(QUERIES - len(asked)):
        row = asked[k]
        asked.append(np.clip(row + (signs if label_of(row) else -signs), 0, HIGHEST).astype(np.float32))
    return asked


def draws() -> list[Floats]:
    return list(np.random.default_rng(33).integers(0, HIGHEST + 1, (QUERIES, WIDTH)).astype(np.float32))


def what_if() -> list[Floats]:
    """Records, each with ten versions of which one column is another."""
    rng = np.random.default_rng(34)
    asked = []
    for row in records(35, QUERIES // 10):
        asked.append(row)
        for column in rng.permutation(WIDTH):
            version = row.copy()
            version[column] = (version[column] + rng.integers(1, HIGHEST + 1)) % (HIGHEST + 1)
            asked.append(version)
    return asked


def natural() -> list[Floats]:
    return list(records(36, QUERIES))


def test_a_search_is_stopped(baseline: Baseline) -> None:
    """Within a dozen searches of two or three halvings each."""
    assert met(baseline, searches).get(PERTURB, QUERIES) <= 40


def test_augmentation_is_stopped(baseline: Baseline) -> None:
    """Seeds included."""
    assert met(baseline, augmentation).get(PERTURB, QUERIES) <= 50


def test_draws_are_throttled_and_not_stopped(baseline: Baseline) -> None:
    """Whoever has no data of the population's kind is no thief for that."""
    found = met(baseline, draws)
    assert found.get(THROTTLE, QUERIES) <= 20
    assert PERTURB not in found


@pytest.mark.parametrize("asked", [what_if, natural])
def test_innocents_are_left_alone(baseline: Baseline, asked: Callable[[], list[Floats]]) -> None:
    """Neither new records nor versions of one say anything."""
    assert met(baseline, asked) == {}
