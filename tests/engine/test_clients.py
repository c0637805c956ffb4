"""A client table alone: large batches, growing tables, observers and examples."""

from collections.abc import Callable

import numpy as np
import pytest

from detector.baseline.store import Baseline
from detector.engine.clients import MOST_AT_ONCE, SMALLEST, ClientTable
from detector.engine.examples import EXAMPLES
from detector.engine.features.row import NAMES
from detector.engine.findings import Outputs, Report
from detector.engine.judge import Judge
from detector.engine.models.novelty import Novelty
from detector.engine.observer import Seen
from detector.engine.policy import PolicySettings, thresholds_for
from detector.errors import SnapshotError
from detector.testing import Events, batches, traffic

Lines = Callable[..., list[bytes]]


def table(baseline: Baseline, *, room: int = 100_000, observer: object = None, model: str = "alpha") -> ClientTable:
    novelty = Novelty(None)
    return ClientTable(
        model,
        baseline.models["alpha"].reference,
        novelty,
        Judge(thresholds_for(PolicySettings(), None, None), PolicySettings(), novelty),
        max_clients=room,
        lateness_ms=600_000,
        observer=observer,  # type: ignore[arg-type]
    )


def test_a_batch_larger_than_a_pass_is_one_stream(generated_baseline: Baseline) -> None:
    """Ten thousand events at once, from more clients than the table began with, give what small batches give."""
    events = Events("alpha", step_ms=3)
    rng = np.random.default_rng(1)
    names = [f"c{i}" for i in rng.integers(0, 3 * SMALLEST, MOST_AT_ONCE + 1500)]
    (batch,) = batches([events.line(name, rng.random(9), 0) for name in names])
    whole, pieces = table(generated_baseline), table(generated_baseline)
    whole.process(batch)
    for start in range(0, len(batch), 500):
        pieces.process(batch.take(np.arange(start, min(start + 500, len(batch)))))
    assert list(whole.reports()) == list(pieces.reports())
    assert len(whole) == len(set(names))
    assert sum(report.queries for report in whole.reports()) == len(batch)


def test_seeds_belong_to_client_and_model(generated_baseline: Baseline) -> None:
    """What is remembered of a client is drawn from its name, so every worker draws the same, and no two clients do."""
    first, second = table(generated_baseline), table(generated_baseline, model="beta")
    for name in ("a", "b", "c"):
        first._admit_clients([name])
    for name in ("c", "a"):
        second._admit_clients([name])
    seeds = {name: int(first._slots.seed[slot]) for name, slot in first._slots.of.items()}
    assert len(set(seeds.values())) == 3
    assert seeds["a"] != int(second._slots.seed[second._slots.of["a"]])
    third = table(generated_baseline)
    third._admit_clients(["c"])
    assert int(third._slots.seed[0]) == seeds["c"]


def test_an_observer_sees_each_event_once_in_order(generated_baseline: Baseline, make_log: Lines) -> None:
    """In passes that follow the stream, with the evidence after each event."""
    sequences: list[int] = []
    peaks: dict[str, float] = {}

    class Watcher:
        def observed(self, seen: Seen) -> None:
            sequences.extend(seen.batch.sequence.tolist())
            for event, client in enumerate(seen.batch.client):
                if seen.queries[event] > 1:  # else a client that had to make room begins anew
                    assert seen.peak[event].max() >= peaks[client]
                peaks[client] = float(seen.peak[event].max())
            assert (seen.ratio[seen.verdict != 0] == 1.0).all()
            assert not seen.queries[seen.verdict != 0].any()

    watched = table(generated_baseline, room=4, observer=Watcher())
    (batch,) = batches(make_log(4, events=300, clients=12))
    watched.process(batch)
    assert sequences == batch.sequence.tolist()
    assert max(peaks.values()) > 5.0


def test_examples_are_the_latest_constructed_queries(generated_baseline: Baseline) -> None:
    """At most five ids a channel, newest last, and none for channels that never fired."""
    watched = table(generated_baseline)
    (batch,) = batches(traffic(innocents=0, queries=60, dimension=9))
    watched.process(batch)
    ids = watched.examples(0, 0)
    assert len(ids) == EXAMPLES
    numbers = [int(event_id.rpartition("-")[2]) for event_id in ids]
    assert numbers == sorted(numbers)
    assert numbers[-1] >= 55
    assert watched.examples(0, 1) == ()
    assert watched.examples(7, 0) == ()


def test_a_client_without_a_look_reports_no_features(generated_baseline: Baseline) -> None:
    """Seven queries say nothing yet; at the eighth all figures are there."""
    events = Events("alpha")
    rng = np.random.default_rng(1)
    watched = table(generated_baseline)

    def report() -> Report:
        (found,) = watched.reports()
        return found

    for _ in range(7):
        watched.process(batches([events.line("c", rng.random(9), 0, probabilities=[0.8, 0.2])])[0])
    assert report().features == {}
    watched.process(batches([events.line("c", rng.random(9), 0, probabilities=[0.8, 0.2])])[0])
    assert set(report().features) == set(NAMES) - {"normality"}  # eight queries make seven distances, W needs eight


def test_restoring_replaces_what_is_held(generated_baseline: Baseline, make_log: Lines) -> None:
    """A client that is already there becomes what the snapshot says, examples included."""
    before, after = table(generated_baseline), table(generated_baseline)
    lines = make_log(2, events=200)
    before.process(batches(lines[:120])[0])
    saved = dict(before.snapshots(changed_only=False))
    after.process(batches(lines)[0])
    after.restore(list(saved.values()))
    names = {report.client for report in before.reports()}
    assert {report.client: report for report in after.reports() if report.client in names} == {
        report.client: report for report in before.reports()
    }
    with pytest.raises(SnapshotError, match="of model 'alpha', not 'beta'"):
        table(generated_baseline, model="beta").restore(list(saved.values()))


def test_a_batch_without_events_leads_to_nothing(generated_baseline: Baseline, make_log: Lines) -> None:
    """Nothing in, nothing out."""
    (batch,) = batches(make_log(1, events=5))
    watched = table(generated_baseline)
    outputs = watched.process(batch.take(np.arange(0)))
    assert outputs == Outputs()
    assert len(watched) == 0
