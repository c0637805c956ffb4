"""One theft behind many accounts: found, named, stopped within the limits of policy, and the same however it is cut."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.baseline.store import Baseline
from detector.engine.findings import CampaignMember, Outputs
from detector.engine.links.groups import LEAST_ACCOUNTS, Group
from detector.engine.links.linker import Linker
from detector.engine.links.seeking.search import KINDS, NOTHING, OFFSET, SINGLE
from detector.engine.links.settings import LinkSettings
from detector.engine.links.sketch import Sketches
from detector.engine.links.usual import COUNTED, EVENTS, HIGH_BAR, LARGEST, LIFTED, LOW_BAR, MARGIN
from detector.engine.policy import ALERT, BLOCK, PERTURB, THROTTLE
from detector.errors import SnapshotError
from detector.ingest.batch import Sender
from tests.engine.links.campaigns import LIVE, linked, linker, sketched, theft


@pytest.fixture(scope="module")
def sketches(digits_baseline: Baseline) -> Sketches:
    return sketched(theft(), digits_baseline)


@pytest.fixture(scope="module")
def found(sketches: Sketches, digits_baseline: Baseline) -> Outputs:
    return linked(sketches, digits_baseline)


def clients(members: tuple[CampaignMember, ...]) -> set[str]:
    return {member.client for member in members}


THIEVES = {f"thief-{number}" for number in range(6)}


def test_all_accounts_of_a_theft_are_stopped_and_nobody_else(found: Outputs) -> None:
    *_, last = found.pending_decisions
    assert clients(last.members) == THIEVES
    assert {decision.client for decision in found.pending_decisions} == {last.client}
    assert last.client.startswith("campaign-")
    assert [decision.revision for decision in found.pending_decisions] == list(range(1, len(found.pending_decisions) + 1))
    assert {PERTURB, BLOCK} == {decision.action for decision in found.pending_decisions}
    assert all(not decision.simulated and decision.evidence == "campaign" for decision in found.pending_decisions)


def test_a_review_comes_before_a_stop(found: Outputs) -> None:
    first = found.findings[0]
    assert first.action == ALERT
    assert LOW_BAR < first.score <= HIGH_BAR
    assert found.pending_decisions[0].sequence > first.sequence
    assert [finding.action for finding in found.findings] == sorted(finding.action for finding in found.findings)
    assert len({finding.alert_id for finding in found.findings}) == len(found.findings)
    assert {finding.client for finding in found.findings} == {first.client}


def test_innocent_accounts_alone_make_no_campaign(sketches: Sketches, digits_baseline: Baseline) -> None:
    rows = np.array([i for i, account in enumerate(sketches.account) if account not in THIEVES])
    outputs = linked(sketches.take(rows), digits_baseline)
    assert not outputs.findings
    assert not outputs.pending_decisions


def test_accounts_of_one_organisation_count_as_one(sketches: Sketches, digits_baseline: Baseline) -> None:
    house = Sender(trusted=True, organization="one-house")
    senders = [
        house if account in THIEVES else sender for account, sender in zip(sketches.account, sketches.sender, strict=True)
    ]
    assert not linked(replace(sketches, sender=senders), digits_baseline).findings
    forged = Sender(trusted=False, organization="one-house")
    claimed = [forged if sender is house else sender for sender in senders]
    assert linked(replace(sketches, sender=claimed), digits_baseline).findings, "anybody can write an organisation"


@given(cuts=st.lists(st.integers(1, 319), max_size=6, unique=True), saved=st.integers(0, 6))
def test_cuts_and_restarts_change_nothing(sketches: Sketches, digits_baseline: Baseline, cuts: list[int], saved: int) -> None:
    whole = linker(digits_baseline)
    expected = whole.process(sketches)
    running = linker(digits_baseline)
    outputs = Outputs()
    edges = [0, *sorted(cuts), len(sketches)]
    for number, (start, stop) in enumerate(pairwise(edges)):
        outputs.add(running.process(sketches.take(np.arange(start, stop))))
        if number == saved:
            state = running.snapshot()
            running = linker(digits_baseline)
            running.restore(state)
            assert running.snapshot() == state
    assert outputs == expected
    assert running.snapshot() == whole.snapshot()


def test_who_may_not_be_stopped_is_throttled(sketches: Sketches, digits_baseline: Baseline) -> None:
    outputs = linked(sketches, digits_baseline, replace(LIVE, never_block=frozenset({"thief-0", "thief-1"})))
    stops = [decision for decision in outputs.pending_decisions if decision.action > THROTTLE]
    throttles = [decision for decision in outputs.pending_decisions if decision.action == THROTTLE]
    assert clients(stops[-1].members) == THIEVES - {"thief-0", "thief-1"}
    assert clients(throttles[-1].members) == {"thief-0", "thief-1"}
    assert throttles[-1].client == f"{stops[-1].client}-throttled"


def test_forgeable_names_are_throttled_at_their_address(digits_baseline: Baseline) -> None:
    sketches = sketched(theft(trusted=False), digits_baseline)
    outputs = linked(sketches, digits_baseline, replace(LIVE, trust_clients=False))
    assert {decision.action for decision in outputs.pending_decisions} == {THROTTLE}
    assert all(member.address is not None for member in outputs.pending_decisions[-1].members)


def test_shadow_mode_simulates(sketches: Sketches, digits_baseline: Baseline) -> None:
    for policy in (replace(LIVE, shadow=True), replace(LIVE, shadow_channels=frozenset({"campaign"}))):
        outputs = linked(sketches, digits_baseline, policy)
        assert outputs.pending_decisions
        assert all(decision.simulated for decision in outputs.pending_decisions)
        assert all(finding.simulated for finding in outputs.findings)


def test_the_guard_holds_stops_back(sketches: Sketches, digits_baseline: Baseline) -> None:
    outputs = linked(sketches, digits_baseline, replace(LIVE, new_stops_per_minute=2))
    first = next(decision for decision in outputs.pending_decisions if decision.action > THROTTLE)
    assert len(first.members) <= 2
    assert outputs.held_back
    assert clients(outputs.pending_decisions[-1].members) <= THIEVES


def test_an_adopted_policy_holds_from_then_on(sketches: Sketches, digits_baseline: Baseline) -> None:
    running = linker(digits_baseline, replace(LIVE, shadow=True))
    running.adopt(LIVE)
    assert not any(decision.simulated for decision in running.process(sketches).pending_decisions)


def test_two_accounts_are_no_campaign(digits_baseline: Baseline) -> None:
    assert LEAST_ACCOUNTS == 3
    assert not linked(sketched(theft(2), digits_baseline), digits_baseline).findings


def test_damaged_state_is_refused(sketches: Sketches, digits_baseline: Baseline) -> None:
    running = linker(digits_baseline)
    running.process(sketches)
    state = running.snapshot()
    for bad in (b"", state[: len(state) // 2], b"\x80", state.replace(b"reference", b"referende")):
        with pytest.raises(SnapshotError):
            linker(digits_baseline).restore(bad)
    with pytest.raises(SnapshotError, match="sizes"):
        linker(digits_baseline, settings=LinkSettings(entries=1024)).restore(state)


def test_groups_are_forgotten_after_a_while(sketches: Sketches, digits_baseline: Baseline) -> None:
    running = linker(digits_baseline, settings=LinkSettings(memory_ms=1000))
    late = replace(sketches, time=sketches.time * 10)
    running.process(late)
    assert sum(len(group.accounts) for group in running.groups.groups.values()) == len(running.groups.grouped) <= len(THIEVES)


def test_few_accounts_are_counted(sketches: Sketches, digits_baseline: Baseline) -> None:
    running = linker(digits_baseline, settings=LinkSettings(accounts=4))
    running.process(sketches)
    assert len(running.groups.accounts) <= 4
    assert len(running.groups.grouped) <= 4 + 1


def test_what_many_innocents_show_joins_nobody(sketches: Sketches, digits_baseline: Baseline) -> None:
    known = digits_baseline.models["digits"]
    usual = np.zeros((KINDS, 2))
    usual[NOTHING, EVENTS], usual[OFFSET, EVENTS] = 20_000, 300
    noisy = Linker("digits", LinkSettings(), known.reference, LIVE, scores=usual, secret=5)
    assert not noisy.process(sketches).findings
    assert not noisy.groups.grouped
    usual[OFFSET, EVENTS] = 0
    usual[SINGLE] = (300, 9000.0)
    other = Linker("digits", LinkSettings(), known.reference, LIVE, scores=usual, secret=5)
    assert clients(other.process(sketches).pending_decisions[-1].members) == THIEVES, "another kind of event was noisy"


def test_groups_are_for_review_only_where_innocents_make_large_ones(digits_baseline: Baseline) -> None:
    known = digits_baseline.models["digits"]
    usual = np.zeros((KINDS, 2))
    usual[OFFSET, LARGEST] = 1.01 * LIFTED * HIGH_BAR / MARGIN
    running = Linker("digits", LinkSettings(), known.reference, LIVE, scores=usual, secret=5)
    outputs = running.process(sketched(theft(seeds=80), digits_baseline))
    assert outputs.findings
    assert {finding.action for finding in outputs.findings} == {ALERT}
    assert not outputs.pending_decisions


def test_what_accounts_show_is_counted_for_calibration(sketches: Sketches, digits_baseline: Baseline) -> None:
    running = linker(digits_baseline)
    running.process(sketches)
    usual = running.usual()
    assert usual.shape == (KINDS, 2)
    assert 0 < usual[NOTHING, EVENTS] <= len(sketches)
    assert 0 < usual[OFFSET, EVENTS] <= COUNTED * len(THIEVES)
    assert usual[OFFSET, LARGEST] > HIGH_BAR


def test_a_campaign_keeps_its_name_and_its_stops_when_groups_merge(sketches: Sketches, digits_baseline: Baseline) -> None:
    running = linker(digits_baseline)
    running.process(sketches)
    (kept,) = running.campaigns()
    name, stopped = running.name_of(kept), set(kept.stopped)
    for number, level in ((-1, 0), (10**9, 1)):
        gone = Group(number, 0, 0, 0, "another", level=level, stopped=[number])
        running.groups.groups[number] = gone
        running.groups._merge(gone, kept)
        stopped.add(number)
        assert running.name_of(kept) == name
        assert {*kept.stopped, *kept.inherited} == stopped
