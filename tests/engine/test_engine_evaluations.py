"""Models score a client at its scheduled evaluations only."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.baseline.store import Baseline
from detector.engine.features.row import NAMES
from detector.engine.memory.admission import FRESH
from detector.engine.models.novelty import Novelty
from detector.engine.observer import Seen
from detector.engine.shard import EngineSettings, Shard
from detector.testing import batches

Lines = Callable[..., list[bytes]]


def schedule(most: int) -> list[int]:
    """8, 16, 24, 32, 48, 64, then every tenth more."""
    evaluations = [8, 16, 24, 32, 48, 64]
    while evaluations[-1] < most:
        evaluations.append(-(-evaluations[-1] * 11 // 10))
    return [evaluation for evaluation in evaluations if evaluation <= most]


class Watcher:
    """Notes at which counts of queries clients were evaluated, and how many evaluations each pass scored."""

    def __init__(self) -> None:
        self.looked: dict[str, list[int]] = {}
        self.fresh: Counter[str] = Counter()
        self.events = 0

    def observed(self, seen: Seen) -> None:
        n = len(seen.batch)
        self.events += n
        assert len(seen.verdict) == len(seen.queries) == len(seen.ratio) == len(seen.peak) == n
        assert seen.rows.shape == (len(seen.look_event), len(NAMES))
        assert len(seen.score) == len(seen.look_event)
        for event in seen.look_event.tolist():
            self.looked.setdefault(seen.batch.client[event], []).append(int(seen.queries[event]))
        for event in np.flatnonzero(seen.verdict == FRESH).tolist():
            self.fresh[seen.batch.client[event]] += 1


@settings(max_examples=10)
@given(st.integers(0, 10_000), st.integers(1, 400))
def test_every_client_is_looked_at_on_schedule(make_log: Lines, benign: Callable[[], Baseline], seed: int, chunk: int) -> None:
    """By its own count of fresh queries, whatever the batches, repeats and disorder."""
    lines = make_log(seed, events=400, clients=4)
    watcher = Watcher()
    shard = Shard(EngineSettings(), benign().models, watcher)
    for start in range(0, len(lines), chunk):
        shard.process(*batches(lines[start : start + chunk], first_sequence=start))
    assert watcher.events == len(lines)
    assert watcher.fresh == {report.client: report.queries for report in shard.reports()}
    assert watcher.looked == {client: schedule(count) for client, count in watcher.fresh.items() if count >= 8}


def test_models_are_scored_at_looks_only(
    make_log: Lines, generated_baseline: Baseline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The models score each scheduled evaluation and nothing else."""
    asked: list[int] = []
    score = Novelty.score

    def counted(self: Novelty, rows: npt.NDArray[np.float64], queries: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        asked.extend(queries.tolist())
        return score(self, rows, queries)

    monkeypatch.setattr(Novelty, "score", counted)
    watcher = Watcher()
    shard = Shard(EngineSettings(), generated_baseline.models, watcher)
    lines = make_log(3, events=500, clients=3)
    for start in range(0, len(lines), 10):
        shard.process(*batches(lines[start : start + 10], first_sequence=start))
    evaluations = sorted(evaluation for client in watcher.looked.values() for evaluation in client)
    # An evaluation is scored again when the trees have learned within its batch.
    assert set(asked) == set(evaluations)
    assert len(evaluations) <= len(asked) <= 2 * len(evaluations)
    assert len(asked) < 0.2 * len(lines)


def test_a_look_sees_the_features_up_to_its_own_query(make_log: Lines, generated_baseline: Baseline) -> None:
    """The report after an evaluation shows the features at that evaluation, not later ones."""
    lines = make_log(6, events=300, clients=2)
    rows: dict[str, npt.NDArray[np.float64]] = {}

    class Last:
        def observed(self, seen: Seen) -> None:
            for event, row in zip(seen.look_event.tolist(), seen.rows, strict=True):
                rows[seen.batch.client[event]] = row

    shard = Shard(EngineSettings(), generated_baseline.models, Last())
    shard.process(*batches(lines))
    for report in shard.reports():
        shown = {
            name: round(float(value), 4) for name, value in zip(NAMES, rows[report.client], strict=True) if np.isfinite(value)
        }
        assert dict(report.features) == shown


def test_evidence_is_judged_between_looks(generated_baseline: Baseline, make_log: Lines) -> None:
    """Construction does not wait for an evaluation: a thief is found at the query that passes the threshold."""
    lines = make_log(1, events=80, clients=1, habits=("flat",), repeats=0.0, disorder=0.0, pauses=0.0)
    findings = Shard(EngineSettings(), generated_baseline.models).process(*batches(lines)).findings
    assert {finding.queries for finding in findings if finding.evidence == "offset"} - set(schedule(80))
    assert {finding.queries for finding in findings if finding.evidence == "novelty"} <= set(schedule(80))
