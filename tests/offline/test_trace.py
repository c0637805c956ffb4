"""Traces: they say what the engine saw, and escalate where it raised alerts."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.baseline.settings import engine_settings
from detector.baseline.store import Baseline
from detector.config import Config, PolicySection
from detector.engine.evidence.accumulate import CHANNELS
from detector.engine.features.row import NAMES
from detector.engine.memory.reservoir import COORDINATES
from detector.engine.observer import Seen
from detector.engine.policy import PolicySettings, Thresholds
from detector.ingest.batch import Batch, Sender
from detector.offline.replay import replay
from detector.offline.trace import OTHERS, Escalation, Trace, Tracer, nearest_earlier
from tests.alone import about_one_client


@pytest.fixture
def traced() -> Trace:
    """Return a client of 40 queries whose last six carried evidence, five at a time."""
    count = np.arange(1, 41)
    carried = np.zeros((40, len(CHANNELS)), np.float32)
    carried[34:, 0] = 1.0
    evaluations = count[7::8]
    return Trace(
        client="thief",
        model="m",
        group="attack",
        queries=count,
        time_ms=1_000 * count,
        event_ids=tuple(f"e{i}" for i in count),
        z=np.zeros((40, COORDINATES), np.int16),
        ratio=1.0 + carried,
        peak=np.cumsum(5.0 * carried, axis=0, dtype=np.float32),
        evaluations=evaluations,
        novelty=np.full(len(evaluations), 2.0),
        rows=np.zeros((len(evaluations), len(NAMES))),
        thresholds=Thresholds(alert=2.0, throttle=2.5, stop=(16.0,) * len(CHANNELS)),
        escalations=(Escalation("offset", "alert", 36, 36_000, 10.0), Escalation("offset", "perturb", 38, 38_000, 20.0)),
    )


def test_evidence_is_relative_to_what_it_leads_to(traced: Trace) -> None:
    """Construction is measured against its stop; novelty against the throttle, or the alert where it may not throttle."""
    assert traced.construction[-1] == pytest.approx(30.0 / 16.0)
    assert traced.strangeness.tolist() == pytest.approx([2.0 / 2.5] * 5)
    lenient = dataclasses.replace(traced, thresholds=Thresholds(alert=2.0, throttle=float("inf"), stop=(16.0,) * len(CHANNELS)))
    assert lenient.strangeness.tolist() == pytest.approx([1.0] * 5)
    assert traced.marks == ((38, "perturb"),)


def test_marks_only_escalate(traced: Trace) -> None:
    """A milder action after a harder one, or the same by other evidence, is no new moment; alerts are none at all."""
    escalations = tuple(
        Escalation(name, action, query, 0, 1.0)
        for name, action, query in (
            ("novelty", "alert", 8),
            ("offset", "perturb", 9),
            ("novelty", "throttle", 16),
            ("bisect", "perturb", 17),
            ("offset", "block", 20),
        )
    )
    assert dataclasses.replace(traced, escalations=escalations).marks == ((9, "perturb"), (20, "block"))


def passed(clients: list[str], queries: list[int], first: int = 0) -> Seen:
    """One pass of the engine, with coordinates that number the events."""
    n = len(clients)
    z = np.zeros((n, COORDINATES), np.int16)
    z[:, 0] = np.arange(first, first + n)
    none = np.zeros((n, len(CHANNELS)), np.float32)
    number = np.arange(first, first + n)
    batch = Batch(
        model="m",
        sequence=number,
        time=1_000 * number,
        client=clients,
        event_id=[f"e{i}" for i in number],
        vector=np.zeros((n, 1), np.float32),
        label=np.zeros(n, np.int32),
        confidence=np.ones(n, np.float32),
        runner_up=np.zeros(n, np.float32),
        weight=np.ones(n, np.float32),
        sender=[Sender()] * n,
        version=[None] * n,
        refused=np.zeros(n, np.uint8),
        digest=np.zeros(n, np.uint64),
    )
    evaluations = np.empty(0, np.intp)
    rows, scores = np.empty((0, len(NAMES))), np.empty(0)
    return Seen(batch, np.zeros(n, np.uint8), np.array(queries), none, none, z, evaluations, rows, scores, clients)


def test_a_client_that_was_forgotten_begins_anew() -> None:
    """Only the latest life is kept, and how many there were."""
    tracer = Tracer(None, PolicySettings())
    tracer.observed(passed(["a", "b", "a"], [1, 1, 2]))
    tracer.observed(passed(["a"], [1], first=3))
    again = tracer.trace("a", "m")
    assert (again.lives, again.queries.tolist(), again.event_ids) == (2, [1], ("e3",))
    assert tracer.trace("b", "m").lives == 1
    assert tracer.end_ms == 3_000


@given(cuts=st.lists(st.integers(1, 700), min_size=1, max_size=8))
def test_the_sample_of_other_clients_is_even_and_bounded(cuts: list[int]) -> None:
    """However the log is cut, the queries kept are every so many of all, fewer than twice `OTHERS`, and none of the traced."""
    tracer = Tracer(None, PolicySettings(), {"a"})
    first = 0
    for cut in cuts:
        tracer.observed(passed(["other"] * cut, [2] * cut, first))
        first += cut
    tracer.observed(passed(["a"], [1], first))
    kept = tracer.others("m")[:, 0].astype(int)
    assert 0 < len(kept) < 2 * OTHERS
    stride = int(kept[1] - kept[0]) if len(kept) > 1 else 1
    assert kept.tolist() == list(range(0, first, stride))


@pytest.mark.parametrize("known", [True, False])
def test_escalations_are_the_alerts_of_the_engine(
    make_log: Callable[..., list[bytes]], generated_baseline: Baseline, tmp_path: Path, *, known: bool
) -> None:
    """On a log with late and repeated events and untrusted clients, the escalations of the traces are the alerts raised."""
    log = tmp_path / "log.jsonl"
    log.write_bytes(
        b"\n".join(make_log(3, events=900, strays=0.02, habits=("flat", "flat", "bisect", "again", "still", "flat")))
    )
    config = Config(policy=PolicySection(never_block=("client-1",)))
    baseline = generated_baseline if known else None
    tracer = Tracer(baseline.models if baseline else None, engine_settings(config).policy)
    replay([str(log)], tmp_path / "out", config, baseline, observer=tracer)
    raised = (tmp_path / "out" / "alerts.jsonl").read_bytes().splitlines()
    alerts = [json.loads(line) for line in filter(about_one_client, raised)]
    traces = tracer.traces({f"client-{i}": "all" for i in range(6)})
    found = {
        (trace.client, f"extraction.{escalation.name}", escalation.action, escalation.query)
        for trace in traces
        for escalation in trace.escalations
    }
    assert found == {(a["user"]["id"], a["event"]["code"], a["detector"]["action"], a["detector"]["queries"]) for a in alerts}
    assert {action for _, _, action, _ in found} >= {"alert", "throttle", "perturb"}


@given(points=st.lists(st.integers(-30_000, 30_000), min_size=2, max_size=20))
def test_the_nearest_earlier_query_is_the_nearest_and_earlier(points: list[int]) -> None:
    """No earlier query is nearer, even across the whole range of 16 bits."""
    z: npt.NDArray[np.int16] = np.zeros((len(points), COORDINATES), np.int16)
    z[:, 3] = points
    found = nearest_earlier(z, len(points) - 1)
    assert found is not None
    assert abs(points[found] - points[-1]) == min(abs(point - points[-1]) for point in points[:-1])
    assert nearest_earlier(z, 0) is None
