"""Delivered again, at once or later, once or as a whole: nothing changes, and ids are the same in every run."""

from collections.abc import Callable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.baseline.store import Baseline
from detector.engine.shard import EngineSettings
from detector.testing import traffic, watch

Lines = Callable[..., list[bytes]]
Drive = Callable[..., dict[str, bytes]]

DOCUMENTS = ("alerts", "decisions", "clients")


def differing(first: dict[str, bytes], second: dict[str, bytes]) -> list[str]:
    return [kind for kind in DOCUMENTS if first[kind] != second[kind]]


@settings(max_examples=12)
@given(
    st.integers(0, 10_000), st.sampled_from(["at once", "later", "all at the end", "thrice"]), st.booleans(), st.integers(0, 12)
)
def test_repeated_delivery_changes_no_document(
    make_log: Lines, drive: Drive, benign: Callable[[], Baseline], seed: int, how: str, known: bool, pieces: int
) -> None:
    """Also while a model is being learned, in any cut."""
    lines = make_log(seed, repeats=0.0, events=200)
    rng = np.random.default_rng(seed)
    again: list[bytes] = []
    for number, line in enumerate(lines):
        again.append(line)
        if how == "at once" and rng.random() < 0.4:
            again.append(line)
        if how == "later" and rng.random() < 0.4:
            again.append(lines[int(rng.integers(number + 1))])
        if how == "thrice":
            again += [line, line]
    if how == "all at the end":
        again += lines
    engine = EngineSettings(learning_events=50, lateness_ms=int(rng.choice([1000, 600_000, 3_600_000])))
    baselines = benign().models if known else None
    once = drive(lines, engine, baselines)
    assert differing(once, drive(again, engine, baselines, cuts=rng.integers(0, len(again), pieces).tolist())) == []


def test_a_log_delivered_twice_counts_once() -> None:
    """The summary of a whole pipeline: every event of the second delivery is a repeat or late, none is counted."""
    lines = traffic(queries=150)
    once, twice = watch(lines), watch(lines + lines)
    assert twice.written() == once.written()
    assert {record.reason for record in twice.dead} <= {"late"}


@settings(max_examples=3)
@given(st.integers(0, 10_000))
def test_ids_are_unique_in_a_run_and_equal_between_runs(make_log: Lines, seed: int) -> None:
    """An id names one document; the next run gives it to the same one."""
    lines = make_log(seed, events=300, models=("alpha", "beta"), clients=8)
    first, second = watch(lines, chunk=50), watch(lines)
    for ids, same in (
        ([alert.event.id for alert in first.raised], [alert.event.id for alert in second.raised]),
        ([decision.decision_id for decision in first.decided], [decision.decision_id for decision in second.decided]),
    ):
        assert len(set(ids)) == len(ids)
        assert ids == same
    alerts = {alert.event.id: alert for alert in first.raised}
    for decision in first.decided:
        assert decision.alert_id is not None
        cause = alerts[decision.alert_id]
        assert (cause.user.id, cause.service.name) == (
            decision.subject.id,
            (decision.scope.models or ("",))[0] if decision.scope else "",
        )


def test_a_decision_names_the_one_before_it(make_log: Lines) -> None:
    """Per client and model revisions count from 1, and each supersedes the last."""
    seen = watch(make_log(3, events=400, clients=4, pauses=0.05))
    chains: dict[str, list[tuple[int, str, str | None]]] = {}
    for decision in seen.decided:
        chains.setdefault(decision.key, []).append((decision.revision, decision.decision_id, decision.supersedes))
    assert max(map(len, chains.values())) >= 3
    for chain in chains.values():
        assert [revision for revision, *_ in chain] == list(range(1, len(chain) + 1))
        assert [superseded for *_, superseded in chain] == [None, *(decision_id for _, decision_id, _ in chain[:-1])]
