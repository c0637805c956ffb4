"""Teaching a baseline about clients that were found innocent."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from detector.baseline.accept import Review, accept
from detector.baseline.store import Baseline, load, save
from detector.engine.evidence.registry import FOREIGN, OFFSET
from detector.engine.findings import Outputs
from detector.engine.models.novelty import Norms, Novelty, Trees
from detector.engine.policy import ALERT, BLOCK, Thresholds, thresholds_for
from detector.engine.shard import EngineSettings, Shard
from detector.errors import BaselineError
from detector.ingest.batch import Batch
from detector.testing import Events, batches

SETTINGS = EngineSettings(seed=5)
REVIEW = Review("a.person", "2026-05-04T10:50:00.000Z", "new scanners of branch 7")
SCANNERS = [f"scanner-{i}" for i in range(4)]


def scans(clients: Sequence[str], *, seed: int = 7, queries: int = 40) -> list[Batch]:
    """Return the queries of clients whose digits come out pale, which is novel and no theft."""
    data = load_digits()
    rng = np.random.default_rng(seed)
    events = Events("digits", step_ms=700)
    lines = []
    for _ in range(queries):
        for client in clients:
            i = int(rng.integers(len(data.data)))
            lines.append(events.line(client, np.round(data.data[i] / 4), int(data.target[i])))
    return batches(lines)


def thefts(*, queries: int = 60) -> list[Batch]:
    """Return the queries of a thief who moves digits by flat steps."""
    data = load_digits()
    rng = np.random.default_rng(2)
    events = Events("digits", step_ms=700)
    lines = []
    for turn in range(queries):
        if turn % 2 == 0:
            seed = data.data[int(rng.integers(len(data.data)))]
        x = seed + 1.6 * (turn % 2) * rng.permutation(np.resize([1.0, -1.0], 64))
        lines.append(events.line("thief", x, int(rng.integers(10))))
    return batches(lines)


def watched(baseline: Baseline, log: Sequence[Batch]) -> Outputs:
    return Shard(SETTINGS, baseline.models).process(*log)


def thresholds(baseline: Baseline) -> Thresholds:
    known = baseline.models["digits"]
    return thresholds_for(SETTINGS.policy, known.norms.session_scores, known.channel_scores, known.reviewed)


@pytest.fixture(scope="module")
def taught(digits_baseline: Baseline) -> Baseline:
    """Accept four scanners."""
    return accept(digits_baseline, "digits", SCANNERS, scans(SCANNERS), SETTINGS, REVIEW)


def test_accepted_clients_raise_no_novelty_any_more(digits_baseline: Baseline, taught: Baseline) -> None:
    """The log that made alerts makes none; nor does that of a fifth scanner whom nobody has seen."""
    assert {finding.client for finding in watched(digits_baseline, scans(SCANNERS)).findings} == set(SCANNERS)
    assert not watched(taught, scans(SCANNERS)).findings
    assert watched(digits_baseline, scans(["fifth"], seed=8)).findings
    assert not watched(taught, scans(["fifth"], seed=8)).findings


def test_known_attackers_are_still_stopped(digits_baseline: Baseline, taught: Baseline) -> None:
    """Construction is judged as before: the thief is blocked at the same query."""
    before = [(order.action, order.sequence) for order in watched(digits_baseline, thefts()).pending_decisions]
    assert [(order.action, order.sequence) for order in watched(taught, thefts()).pending_decisions] == before
    assert before[-1][0] == BLOCK


def test_other_strangers_are_still_novel(digits_baseline: Baseline, taught: Baseline) -> None:
    """Noise leads to what it led to."""
    rng = np.random.default_rng(3)
    events = Events("digits", step_ms=700)
    noise = batches([events.line("noise", rng.integers(0, 17, 64), 1) for _ in range(40)])
    before = [(finding.evidence, finding.action) for finding in watched(digits_baseline, noise).findings]
    assert [(finding.evidence, finding.action) for finding in watched(taught, noise).findings] == before
    assert before


def test_saved_state_goes_on_under_the_taught_baseline(digits_baseline: Baseline, taught: Baseline) -> None:
    """A running service can take the new baseline: state is restored, and the scanners' next queries raise nothing."""
    (log,) = scans([*SCANNERS, "fifth"], queries=80)
    half = len(log) // 2
    old = Shard(SETTINGS, digits_baseline.models)
    assert old.process(log.take(np.arange(half))).findings
    new = Shard(SETTINGS, taught.models)
    new.restore(old.snapshot())
    assert new.clients == old.clients == 5
    assert not new.process(log.take(np.arange(half, len(log)))).findings
    assert taught.models["digits"].reference.fingerprint == digits_baseline.models["digits"].reference.fingerprint
    again = Shard(SETTINGS, taught.models)
    again.restore(new.snapshot())
    assert again.snapshot() == new.snapshot()


def without_trees(norms: Norms) -> Novelty:
    novelty = Novelty(norms)
    novelty.trees = Trees(norms.lessons[:0])
    return novelty


def test_nobody_becomes_more_novel(digits_baseline: Baseline, taught: Baseline) -> None:
    """Ranges and combination only widen: whatever the features, the score is at most what it was."""
    rng = np.random.default_rng(1)
    evaluations = digits_baseline.models["digits"].evaluations
    rows = np.concatenate(
        [evaluations.rows, evaluations.rows + rng.normal(size=evaluations.rows.shape) * rng.choice([0.1, 1, 10])]
    )
    queries = np.tile(evaluations.queries, 2)
    before = without_trees(digits_baseline.models["digits"].norms).score(rows, queries)
    after = without_trees(taught.models["digits"].norms).score(rows, queries)
    assert (after <= before + 1e-12).all()


def test_scores_and_looks_join_the_calibration(digits_baseline: Baseline, taught: Baseline) -> None:
    """There are four calibration clients more, in the scores, in the evaluations and in the notes, with who, when and why."""
    before, after = digits_baseline.models["digits"], taught.models["digits"]
    assert len(after.channel_scores) == len(before.channel_scores) + 4
    assert len(after.norms.session_scores) == len(before.norms.session_scores) + 4
    assert (np.diff(after.norms.session_scores) <= 0).all()
    assert len(np.unique(after.evaluations.client)) == len(np.unique(before.evaluations.client)) + 4
    notes = taught.notes["digits"]
    assert notes["calibration_clients"] == digits_baseline.notes["digits"]["calibration_clients"] + 4
    assert [entry["client"] for entry in notes["accepted"]] == SCANNERS
    first = notes["accepted"][0]
    assert (first["actor"], first["at"], first["reason"]) == (REVIEW.actor, REVIEW.at, REVIEW.reason)
    assert first["novelty"] < thresholds(taught).alert
    assert first["novelty_before"] > first["novelty"]
    assert "accepted" not in digits_baseline.notes["digits"]


def test_a_taught_baseline_can_be_kept_and_taught_again(taught: Baseline, tmp_path: Path) -> None:
    """It has a version of its own, survives its folder, and takes more clients."""
    save(taught, tmp_path)
    kept = load(tmp_path)
    assert kept.version == taught.version
    more = accept(kept, "digits", ["fifth"], scans(["fifth"], seed=8), SETTINGS, REVIEW)
    assert more.version != taught.version
    assert [entry["client"] for entry in more.notes["digits"]["accepted"]] == [*SCANNERS, "fifth"]


def test_many_of_a_kind_are_scored_by_the_others(digits_baseline: Baseline) -> None:
    """From eight clients on a score says how novel the next one would be, so it is not nothing."""
    names = [f"scanner-{i}" for i in range(8)]
    found = accept(digits_baseline, "digits", names, scans(names), SETTINGS, REVIEW)
    scores = [entry["novelty"] for entry in found.notes["digits"]["accepted"]]
    assert np.median(scores) > 0.1
    assert not watched(found, scans(names)).findings


def test_the_bar_of_foreign_rises_above_what_was_accepted(digits_baseline: Baseline) -> None:
    """Noise gathers evidence with every query; accepted, it raises the channel's threshold for all clients."""
    rng = np.random.default_rng(3)
    events = Events("digits", step_ms=700)
    noise = batches([events.line("noise", rng.integers(0, 17, 64), 1) for _ in range(40)])
    found = accept(digits_baseline, "digits", ["noise"], noise, SETTINGS, REVIEW)
    assert thresholds(found).stop[FOREIGN] > 2 * thresholds(digits_baseline).stop[FOREIGN]
    assert not watched(found, noise).findings


def test_construction_is_accepted_only_on_request(digits_baseline: Baseline) -> None:
    """A thief is refused with the channel named; in spite of it the channel only alerts from then on, and the notes say so."""
    with pytest.raises(BaselineError, match="'thief' has evidence of construction: offset"):
        accept(digits_baseline, "digits", ["thief"], thefts(), SETTINGS, REVIEW)
    found = accept(digits_baseline, "digits", ["thief"], thefts(), SETTINGS, REVIEW, despite_construction=True)
    assert thresholds(digits_baseline).limit[OFFSET] == BLOCK
    assert thresholds(found).limit[OFFSET] == ALERT
    assert found.notes["digits"]["accepted"][0]["despite_construction"]


def test_who_is_accepted_is_no_longer_doubtful(digits_baseline: Baseline) -> None:
    """The notes go on to name the other clients that the fit set aside."""
    aside = [{"client": name, "evidence": "offset"} for name in ("scanner-1", "other")]
    notes = {"digits": {**digits_baseline.notes["digits"], "set_aside": aside}}
    found = accept(replace(digits_baseline, notes=notes), "digits", SCANNERS, scans(SCANNERS), SETTINGS, REVIEW)
    assert [entry["client"] for entry in found.notes["digits"]["set_aside"]] == ["other"]


def test_who_cannot_be_accepted_is_named(digits_baseline: Baseline) -> None:
    """An unknown model, a client that is not in the log, and one with too few queries: the error says which."""
    with pytest.raises(BaselineError, match=r"no model 'letters' in the baseline; it knows digits"):
        accept(digits_baseline, "letters", SCANNERS, scans(SCANNERS), SETTINGS, REVIEW)
    with pytest.raises(BaselineError, match=r"'nobody' asked model 'digits' 0 times"):
        accept(digits_baseline, "digits", ["nobody"], scans(SCANNERS), SETTINGS, REVIEW)
    with pytest.raises(BaselineError, match=r"'scanner-0' asked model 'digits' 7 times.*at least 8"):
        accept(digits_baseline, "digits", SCANNERS, scans(SCANNERS, queries=7), SETTINGS, REVIEW)


def test_profiles_are_limited(digits_baseline: Baseline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit a new fit is asked for."""
    monkeypatch.setattr("detector.baseline.accept.MOST_PROFILES", 3)
    with pytest.raises(BaselineError, match="fit the baseline again"):
        accept(digits_baseline, "digits", SCANNERS, scans(SCANNERS), SETTINGS, REVIEW)
