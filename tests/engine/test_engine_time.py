"""Event time is the only time: shifted, disordered, late."""

import base64
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.baseline.store import Baseline
from detector.config import Config
from detector.contracts.moment import FIRST_EVENT_MS, parse_rfc3339
from detector.engine.shard import EngineSettings, Shard
from detector.testing import LATER_MS, START_MS, Events, HeldClock, batches, watch

Lines = Callable[..., list[bytes]]
Drive = Callable[..., dict[str, bytes]]

MINUTE_MS = 60_000
DAY_MS = 86_400_000
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
NAMES_OF_IDS = {"id", "alert_id", "decision_id", "supersedes", "user"}


def moved(document: Any, by_ms: int) -> Any:
    """Return a document with its moments moved, and without its ids, which follow from the client's first event time."""
    if isinstance(document, dict):
        return {
            name: moved(value, by_ms)
            for name, value in document.items()
            if not (name in NAMES_OF_IDS and isinstance(value, str))
        }
    if isinstance(document, list):
        return [moved(value, by_ms) for value in document]
    if isinstance(document, str) and MOMENT.fullmatch(document):
        return parse_rfc3339(document) + by_ms
    return document


def read(lines: bytes, by_ms: int = 0) -> list[Any]:
    return [moved(json.loads(line), by_ms) for line in lines.split(b"\n") if line]


@dataclass(slots=True)
class Clock:
    """The time that a client has reached: of events beyond the lateness it takes two in a row to move it."""

    latest: int
    lateness: int
    ahead: int | None = None

    def accepts(self, at: int) -> bool:
        if at < self.latest - self.lateness:
            return False
        beyond = at > self.latest + self.lateness
        if beyond and (self.ahead is None or at < self.ahead - self.lateness):
            self.ahead = at
            return True
        if beyond:
            self.latest = min(at, self.ahead or at)
        self.ahead = at if at > self.latest + self.lateness else None
        if self.ahead is None:
            self.latest = max(self.latest, at)
        return True


@settings(max_examples=8)
@given(
    st.integers(0, 10_000), st.sampled_from([1, FIRST_EVENT_MS - START_MS + 30 * DAY_MS, DAY_MS, 300 * DAY_MS]), st.booleans()
)
def test_a_shift_of_all_times_shifts_the_documents(
    make_log: Lines, drive: Drive, benign: Callable[[], Baseline], seed: int, shift: int, known: bool
) -> None:
    """The same log of another year leads to the same, at the same moments of that year."""
    engine = EngineSettings(learning_events=32)
    baselines = benign().models if known else None
    now = drive(make_log(seed), engine, baselines)
    then = drive(make_log(seed, shift_ms=shift), engine, baselines)
    for kind in ("alerts", "decisions"):
        assert read(then[kind]) == read(now[kind], shift)
    for kind in ("clients", "refused", "repeated"):
        assert then[kind] == now[kind]


def test_nobody_asks_the_machine_for_the_time(
    make_log: Lines, generated_baseline: Baseline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processing, snapshots and restoring work where every clock of the machine is broken."""
    lines = make_log(1, events=300)
    first, second = batches(lines[:150]), batches(lines[150:], first_sequence=150)
    warm = Shard(EngineSettings(), generated_baseline.models)
    warm.process(*first)

    def broken(*_: object) -> None:
        raise AssertionError("asked for the time")

    with monkeypatch.context() as patched:
        for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"):
            patched.setattr(time, name, broken)
        shard = Shard(EngineSettings(), generated_baseline.models)
        shard.process(*first)
        again = Shard(EngineSettings(), generated_baseline.models)
        again.restore(shard.snapshot())
        outputs = again.process(*second)
        list(again.reports())
    assert outputs.findings


def test_the_clock_only_says_what_is_in_the_future(make_log: Lines) -> None:
    """Replayed today and in a year, a log gives the same bytes; before its end, the rest of it is refused as future."""
    lines = make_log(2, events=200, disorder=0.0, pauses=0.0, repeats=0.0)
    today = watch(lines, clock=HeldClock(LATER_MS))
    assert today.written() == watch(lines, clock=HeldClock(LATER_MS + 31_536_000_000)).written()
    assert not today.dead
    early = watch(lines, clock=HeldClock(START_MS - 300_000))
    assert {record.reason for record in early.dead} == {"future"}


@settings(max_examples=10)
@given(st.integers(0, 10_000), st.sampled_from([1, 30, 90]))
def test_disorder_within_the_lateness_is_counted(make_log: Lines, seed: int, minutes: int) -> None:
    """Events behind their client by at most the lateness count; others become dead-letter records with their bytes."""
    lines = make_log(seed, repeats=0.0, disorder=0.4, clients=3, events=120)
    config = Config.model_validate({"engine": {"lateness_minutes": minutes, "learning_events": 32}})
    clocks: dict[str, Clock] = {}
    late = []
    for number, line in enumerate(lines, 1):
        event = json.loads(line)
        # Before a client's first event nothing is known of it, so the limit begins there.
        clock = clocks.setdefault(event["client"]["id"], Clock(event["time"], minutes * MINUTE_MS))
        if not clock.accepts(event["time"]):
            late.append((number, line))
    seen = watch(lines, config, chunk=17)
    assert sorted((record.line, base64.b64decode(record.record)) for record in seen.dead) == late
    assert {record.reason for record in seen.dead} <= {"late"}
    assert sum(client["queries"] for client in seen.reported) == len(lines) - len(late)
    for client in seen.reported:
        assert np.isfinite(list(client["features"].values())).all()


def test_the_time_a_client_has_reached_never_moves_back(make_log: Lines, generated_baseline: Baseline) -> None:
    """Whatever order events come in, per client and batch."""
    lines = make_log(7, events=300, disorder=0.5)
    shard = Shard(EngineSettings(lateness_ms=3_600_000), generated_baseline.models)
    reached = np.zeros(6, np.int64)
    for start in range(0, 300, 7):
        shard.process(*batches(lines[start : start + 7], first_sequence=start))
        now = shard._tables["alpha"].columns.admission.latest_ms[:6].copy()
        assert (now >= reached).all()
        reached = now


def test_late_events_change_nothing(make_log: Lines, drive: Drive, generated_baseline: Baseline) -> None:
    """A log without its late events leads to the same documents."""
    lines = make_log(9, repeats=0.0, disorder=0.4)
    engine = EngineSettings(lateness_ms=MINUTE_MS)
    whole = drive(lines, engine, generated_baseline.models)
    shard = Shard(engine, generated_baseline.models)
    late = {refusal.sequence for refusal in shard.process(*batches(lines)).refusals}
    assert late
    without = drive([line for i, line in enumerate(lines) if i not in late], engine, generated_baseline.models)
    for kind in ("alerts", "decisions", "clients"):
        assert without[kind] == whole[kind]


def test_a_record_that_waited_is_still_at_hand_when_it_is_refused() -> None:
    """A late event among those that wait for their model becomes a dead-letter record with its own bytes and line."""
    events = Events()
    rng = np.random.default_rng(1)
    lines = [events.line("c", rng.random(4), 0) for _ in range(40)]
    lines[20] = events.line("c", rng.random(4), 0, time=START_MS - 7 * 86_400_000)
    config = Config.model_validate({"engine": {"learning_events": 32}})
    for chunk in (1, 9, 100):
        (record,) = watch(lines, config, chunk=chunk).dead
        assert (record.line, record.reason, base64.b64decode(record.record)) == (21, "late", lines[20])
