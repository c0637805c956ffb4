"""Enforcement gaps are found where an answer follows a decision in force, and nowhere else."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.audit.result import Finding
from tests.audit.logs import Audited, audit_of, clear, decision, event, finding, result, steady, unjudged

BLOCK, THROTTLE, PERTURB = "enforcement.block", "enforcement.throttle", "enforcement.perturb"

_folders = itertools.count()


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    times=st.lists(st.integers(0, 100), min_size=1, max_size=12),
    issued=st.integers(0, 100),
    lasts=st.integers(1, 60),
    lifted=st.none() | st.integers(1, 60),
    simulated=st.booleans(),
    status=st.sampled_from([None, 200, 403, 429, 500]),
)
def test_a_gap_is_an_answer_under_a_block(
    tmp_path: Path, times: list[int], issued: int, lasts: int, lifted: int | None, simulated: bool, status: int | None
) -> None:
    """It is found if, and only if, an answered query is later than the decision, before its end and before it was lifted."""
    ends = issued + lasts if lifted is None else min(issued + lasts, issued + lifted)
    answered = status is None or status < 400
    # A lift and the query at that very millisecond: the lift is not yet known, so the block still holds.
    under = [t for t in times if issued < t and (t < ends or (lifted is not None and t == ends < issued + lasts))]
    expected = len(under) if answered and not simulated else 0
    decisions = [decision(1, issued, issued + lasts, simulated=simulated)]
    if lifted is not None:
        decisions.append(decision(2, issued + lifted, issued + 1000, "allow"))
    events = [event(number, second, status=status) for number, second in enumerate(sorted(times))]
    folder = tmp_path / str(next(_folders))
    folder.mkdir()
    found = result(audit_of(folder, events, decisions=decisions), BLOCK)
    assert isinstance(found, Finding) == (expected > 0)
    if isinstance(found, Finding):
        assert found.figures["events"] == expected
        assert found.figures["longest_seconds"] == max(under) - issued


def test_figures_name_the_worst_client_and_its_events(audited: Audited) -> None:
    """Seconds are counted from the first of the decisions that follow each other."""
    decisions = [
        decision(1, 10, 50),
        decision(2, 40, 90),
        decision(1, 10, 90, subject={"type": "client", "id": "other"}),
    ]
    events = [*steady(30, "acme", step=3), event(900, 12, "other")]
    found = finding(audited(sorted(events, key=lambda one: one["time"]), decisions=decisions), BLOCK)
    assert found.severity == "critical"
    assert found.figures["clients"] == 2
    worst = found.figures["worst"][0]
    assert (worst["client"], worst["model"], worst["events"], worst["seconds_to_last"]) == ("acme", "fraud", 26, 77.0)
    assert found.examples == ("e4", "e5", "e6", "e7", "e8")


@pytest.mark.parametrize(("last", "severity"), [(9, "low"), (50, "medium"), (90, "critical")])
def test_what_a_decision_needs_to_arrive_is_told_from_what_is_not_enforced(audited: Audited, last: int, severity: str) -> None:
    """A gap of seconds is the way to the gateway; one of minutes is none."""
    report = audited([event(0, 0), event(1, last)], decisions=[decision(1, 0, 1000)])
    assert finding(report, BLOCK).severity == severity


@pytest.mark.parametrize(
    ("changes", "client"),
    [
        ({"subject": {"type": "organization", "id": "bank"}}, {"organization": "bank"}),
        ({"subject": {"type": "cidr", "id": "192.0.2.0/24"}}, {"ip": "192.0.2.9:4711"}),
        ({"subject": {"type": "ip", "id": "192.0.2.9"}}, {"ip": "192.0.2.9"}),
        ({"subject": {"type": "campaign", "id": "campaign-0123456789ab"}, "members": [{"id": "acme"}]}, {}),
        ({"subject": {"type": "client", "id": "acme", "address": "192.0.2.9"}}, {"ip": "192.0.2.9"}),
        ({"scope": {"models": ["fraud", "other"]}}, {}),
    ],
)
def test_decisions_of_every_subject_hold(audited: Audited, changes: dict[str, Any], client: dict[str, Any]) -> None:
    """Organisations, networks, members of campaigns and bound addresses are met as the gate meets them."""
    report = audited([event(0, 0), event(1, 20, client=client)], decisions=[decision(1, 1, 1000, **changes)])
    assert finding(report, BLOCK).examples == ("e1",)
    elsewhere = {"organization": "other", "ip": "198.51.100.7"}
    others = audited(
        [event(0, 0), event(1, 20, "somebody", client=elsewhere, model={"id": "third"})],
        decisions=[decision(1, 1, 1000, **changes)],
    )
    assert clear(others, BLOCK).figures["decisions"] == 1


def test_an_allow_of_a_person_holds_against_the_detector(audited: Audited) -> None:
    """Until it ends, there is no gap."""
    allow = decision(9, 5, 50, "allow", origin="manual", actor="ann")
    events = [event(0, 10), event(1, 40), event(2, 60)]
    assert finding(audited(events, decisions=[decision(1, 0, 1000), allow]), BLOCK).examples == ("e2",)


def test_routes_prove_nothing(audited: Audited) -> None:
    """A log does not name routes: a block of some is no gap, and an allow for some may be what was asked for."""
    routed = decision(1, 0, 1000, scope={"routes": ["/v1/slow"]})
    report = audited([event(0, 20)], decisions=[routed])
    assert report.by_route == 1
    assert not isinstance(result(report, BLOCK), Finding)
    allow = decision(9, 5, 1000, "allow", origin="manual", actor="ann", scope={"routes": ["/v1/slow"]})
    assert not isinstance(result(audited([event(0, 20)], decisions=[decision(1, 0, 1000), allow]), BLOCK), Finding)


def test_a_throttle_is_exceeded_by_what_the_gate_never_lets_through(audited: Audited) -> None:
    """Six a minute: as many as that pass at any time, and one a second for ten minutes do not."""
    throttle = decision(1, 0, 10_000, "throttle")
    assert clear(audited(steady(60, step=10.0, begin=1.0), decisions=[throttle]), THROTTLE).figures["decisions"] == 1
    found = finding(audited(steady(600, begin=1.0), decisions=[throttle]), THROTTLE)
    assert found.severity == "high"
    assert 520 <= found.figures["events"] <= 540


def test_an_organisation_shares_the_bucket_of_its_throttle(audited: Audited) -> None:
    """Seven clients at the allowed rate each are seven times too many."""
    throttle = decision(1, 0, 10_000, "throttle", subject={"type": "organization", "id": "bank"})
    events = [event(number, 1 + number, f"c{number % 7}", client={"organization": "bank"}) for number in range(600)]
    assert finding(audited(events, decisions=[throttle]), THROTTLE).figures["clients"] == 7


def test_repeats_do_not_exceed_a_throttle(audited: Audited) -> None:
    """A shipper that sends each record twenty times has answered nobody twenty times."""
    events = [one for one in steady(20, step=20.0, begin=1.0) for _ in range(20)]
    report = audited(events, decisions=[decision(1, 0, 10_000, "throttle")])
    clear(report, THROTTLE)
    assert (report.events, report.repeats) == (20, 380)


def test_a_throttle_to_nothing_lets_nothing_through(audited: Audited) -> None:
    """A rate of 0 has no first query."""
    throttle = decision(1, 0, 10_000, "throttle", parameters={"requests_per_minute": 0})
    assert finding(audited([event(0, 5)], decisions=[throttle]), THROTTLE).figures["events"] == 1


MARKED: dict[str, Any] = {"output": {"probabilities": [0.3, 0.7], "perturbed": {"mode": "top1"}}}
COARSE: dict[str, Any] = {"output": {"probabilities": [0.3, 0.7]}}


def test_answers_in_full_under_perturb(audited: Audited) -> None:
    """Where the log marks perturbed answers, those without the mark are the model's own."""
    perturb = decision(1, 0, 1000, "perturb")
    report = audited([event(0, 5, **MARKED), event(1, 80), event(2, 81, **COARSE)], decisions=[perturb])
    assert finding(report, PERTURB).examples == ("e1", "e2")
    assert clear(audited([event(0, 5, **MARKED)], decisions=[perturb]), PERTURB)


def test_a_log_without_marks_proves_only_what_the_answer_shows(audited: Audited) -> None:
    """Three decimals are no perturbed answer; one decimal may be one."""
    perturb = decision(1, 0, 1000, "perturb")
    assert finding(audited([event(0, 5, **COARSE), event(1, 80)], decisions=[perturb]), PERTURB).examples == ("e1",)
    assert "output.perturbed" in unjudged(audited([event(0, 5, **COARSE)], decisions=[perturb]), PERTURB).why
    label: dict[str, Any] = {"output": {"probabilities": [0.0, 1.0]}}
    clear(audited([event(0, 5, **label)], decisions=[perturb]), PERTURB)


def test_refusals_are_counted_beside_the_gap(audited: Audited) -> None:
    """So a gap with many refusals reads otherwise than one without any."""
    events = [event(0, 5), event(1, 80), *steady(3, begin=81, first=10, status=403)]
    found = finding(audited(events, decisions=[decision(1, 0, 1000)]), BLOCK)
    assert (found.figures["events"], found.figures["refused"]) == (2, 3)


def test_without_decisions_nothing_is_said(audited: Audited) -> None:
    """Nor where the log ends before the first one."""
    assert "--decisions" in unjudged(audited(steady(3)), BLOCK).why
    assert "ends before" in unjudged(audited(steady(3), decisions=[decision(1, 50, 90)]), BLOCK).why
    assert "no block" in unjudged(audited(steady(3), decisions=[decision(1, 0, 90, "perturb")]), BLOCK).why


def test_events_out_of_order_make_no_gap(audited: Audited) -> None:
    """A query from before the decision, logged after a later one, was answered in time."""
    events = [event(0, 0), event(1, 100, "other"), event(2, 40), event(3, 60)]
    assert finding(audited(events, decisions=[decision(1, 50, 1000)]), BLOCK).examples == ("e3",)


def test_a_query_from_the_future_ends_no_decision(audited: Audited) -> None:
    """One event dated years ahead would otherwise be later than every decision's end."""
    events = [event(0, 10), event(1, 1e9, "other"), event(2, 20)]
    decisions = [decision(1, 5, 1000), decision(2, 5000, 9000, "allow")]
    report = audited(events, decisions=decisions, now_ms=events[0]["time"] + 10_000_000)
    assert finding(report, BLOCK).examples == ("e0", "e2")
    assert finding(report, "records.future").examples == ("e1",)
