"""One theft behind many accounts: found, named, stopped within the limits of policy, and the same however it is cut."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from detector.baseline.store import Baseline
from detector.config import Config
from detector.contracts import to_json
from detector.engine.findings import CampaignMember, Outputs, PendingDecision
from detector.engine.links import deciding
from detector.engine.links.groups import LEAST_ACCOUNTS
from detector.engine.links.joined import Group
from detector.engine.links.linker import Linker
from detector.engine.links.seeking.search import KINDS, NOTHING, OFFSET, SINGLE
from detector.engine.links.seeking.store import Entries
from detector.engine.links.settings import LinkSettings
from detector.engine.links.sketch import Sketches
from detector.engine.links.usual import COUNTED, EVENTS, HIGH_BAR, LARGEST, LIFTED, LOW_BAR, MARGIN
from detector.engine.memory.metered import FIRST_READING
from detector.engine.policy import ALERT, BLOCK, PERTURB, THROTTLE
from detector.errors import SnapshotError
from detector.ingest.batch import Sender
from detector.sinks import render
from detector.testing import START_MS, Events, watch
from tests.alone import about_one_client
from tests.engine.links.campaigns import LIVE, linked, linker, sketched, theft


@pytest.fixture(scope="module")
def sketches(digits_baseline: Baseline) -> Sketches:
    return sketched(theft(), digits_baseline)


@pytest.fixture(scope="module")
def found(sketches: Sketches, digits_baseline: Baseline) -> Outputs:
    return linked(sketches, digits_baseline)


def clients(members: tuple[CampaignMember, ...]) -> set[str]:
    return {member.client for member in members}


STAMP = render.Stamp("none", "none", LIVE)
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


def test_a_decision_is_renewed_when_it_has_ended_or_is_harder(digits_baseline: Baseline) -> None:
    """That more accounts are named does not make it last longer."""
    lasts_ms = 20_000
    policy = replace(LIVE, throttle_ms=lasts_ms, perturb_ms=lasts_ms, block_ms=lasts_ms)
    outputs = linked(sketched(theft(accounts=30), digits_baseline), digits_baseline, policy)
    kinds = set()
    latest: dict[str, PendingDecision] = {}
    for decision in outputs.pending_decisions:
        before = latest.get(decision.client, decision)
        latest[decision.client] = decision
        if before is decision or decision.issued_ms >= before.expires_ms or decision.action > before.action:
            kinds.add("anew")
            assert decision.expires_ms == decision.issued_ms + lasts_ms
        else:
            kinds.add("more accounts")
            assert decision.members != before.members
            assert decision.expires_ms == before.expires_ms
    assert kinds == {"anew", "more accounts"}


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


def halves(sketches: Sketches, found: Outputs) -> tuple[Sketches, Sketches]:
    """Return what comes until all accounts are blocked, and the rest, an hour later."""
    cut = int(np.searchsorted(sketches.sequence, found.pending_decisions[-1].sequence)) + 1
    rest = sketches.take(np.arange(cut, len(sketches)))
    return sketches.take(np.arange(cut)), replace(rest, time=rest.time + 3_600_000)


@pytest.mark.parametrize("restarted", [False, True])
def test_real_decisions_take_the_place_of_simulated_ones(
    sketches: Sketches, found: Outputs, digits_baseline: Baseline, *, restarted: bool
) -> None:
    before, after = halves(sketches, found)
    running = linker(digits_baseline, replace(LIVE, shadow=True))
    shadowed = running.process(before).pending_decisions
    assert shadowed[-1].action > THROTTLE
    assert shadowed[-1].simulated
    if restarted:
        state = running.snapshot()
        running = linker(digits_baseline)
        running.restore(state)
    else:
        running.adopt(LIVE)
    real = running.process(after).pending_decisions
    assert real, "the accounts are known and the decision about them holds for hours, but it was simulated"
    assert not any(decision.simulated for decision in real)
    assert clients(real[0].members) >= clients(shadowed[-1].members)
    assert real[0].revision > shadowed[-1].revision


def test_simulated_decisions_never_take_the_place_of_real_ones(sketches: Sketches, digits_baseline: Baseline) -> None:
    cut = len(sketches) * 3 // 4  # some accounts are stopped by then
    before, after = sketches.take(np.arange(cut)), sketches.take(np.arange(cut, len(sketches)))
    running = linker(digits_baseline)
    real = running.process(before).pending_decisions
    assert real[-1].action > THROTTLE
    running.adopt(replace(LIVE, shadow=True))
    assert not running.process(after).pending_decisions
    running.adopt(LIVE)
    much_later = replace(sketches, time=sketches.time + 30 * 3_600_000, event_id=[f"again-{one}" for one in sketches.event_id])
    assert not any(decision.simulated for decision in running.process(much_later).pending_decisions)


def shifted(data: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(data + 2.0 * rng.choice([-1.0, 1.0], 64), 0.0, 16.0)


@pytest.mark.parametrize("beforehand", [False, True])
def test_queries_beside_a_victims_get_nobody_stopped(digits_baseline: Baseline, *, beforehand: bool) -> None:
    """Whoever knows some queries of another client asks flat steps beside them, after it or even before it."""
    data, rng = load_digits(), np.random.default_rng(3)
    events = Events("digits", start_ms=START_MS, step_ms=700)
    rows = rng.permutation(len(data.data))
    victims, known, own = rows[:200], rows[:40], rows[200:240]
    asked = [("victim", data.data[row]) for row in victims]
    beside = [(f"thief-{turn % 4}", shifted(data.data[row], rng)) for turn, row in enumerate(known)]
    seeds = [(f"thief-{turn % 4}", data.data[row]) for turn, row in enumerate(own)]
    steps = [(f"thief-{turn % 4}", shifted(data.data[row], rng)) for turn, row in enumerate((*own, *own, *own, *known))]
    lines = [*beside, *asked, *seeds, *steps] if beforehand else [*asked, *seeds, *steps, *beside]
    outputs = linked(
        sketched([events.line(client, x, 3, trusted=True) for client, x in lines], digits_baseline), digits_baseline
    )
    stopped = [decision for decision in outputs.pending_decisions if decision.action > THROTTLE]
    assert len(clients(stopped[-1].members)) >= 3
    assert all("victim" not in clients(decision.members) for decision in stopped)
    throttled = [decision for decision in outputs.pending_decisions if decision.action == THROTTLE]
    assert clients(throttled[-1].members) == {"victim"}, "it is in the midst of a theft, which a person has to look at"


def test_long_names_do_not_make_a_decision_that_no_topic_takes(
    sketches: Sketches, digits_baseline: Baseline, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {account: account + "\x01\U0001f600" * 100 for account in THIEVES}
    longer = replace(sketches, account=[names.get(account, account) for account in sketches.account])
    assert len(linked(longer, digits_baseline).pending_decisions[-1].members) == len(THIEVES)
    monkeypatch.setattr(deciding, "MOST_MEMBER_BYTES", 3300)
    decisions = linked(longer, digits_baseline).pending_decisions
    assert {len(decision.members) for decision in decisions} >= {3}
    assert max(len(to_json(render.decision(decision, STAMP))) for decision in decisions) < 3300 + 1500


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


def test_places_beyond_the_store_are_refused(sketches: Sketches, digits_baseline: Baseline) -> None:
    running = linker(digits_baseline)
    running.process(sketches)
    state = msgspec.msgpack.decode(running.snapshot())
    at = Entries._fields.index("seen_place")
    state["arrays"][at] = (np.frombuffer(state["arrays"][at], np.int32) + 10**6).astype(np.int32).tobytes()
    with pytest.raises(SnapshotError, match="seen_place is beyond the store"):
        linker(digits_baseline).restore(msgspec.msgpack.encode(state))


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


def test_a_campaign_is_told_what_its_accounts_hold_together(found: Outputs) -> None:
    read = [finding for finding in found.findings if finding.odometer is not None]
    held = read[-1].odometer
    assert held is not None
    assert held.low < held.lead < held.high
    assert held.queries >= FIRST_READING
    assert f"together they hold a lead of {held.lead:.2f}" in read[-1].reasons[0].text
    assert read[-1].reasons[1].kind == "harm"
    assert read[-1].reasons[1].value == held.lead


def test_a_campaign_under_review_is_blocked_at_its_budget(
    sketches: Sketches, found: Outputs, digits_baseline: Baseline
) -> None:
    """The bar for its evidence is not passed by then; the decision says that it is about harm."""
    first = next(finding.odometer for finding in found.findings if finding.odometer is not None)
    outputs = linked(sketches, digits_baseline, replace(LIVE, campaign_stop_at=first.lead))
    decision = outputs.pending_decisions[0]
    assert decision.sequence < found.pending_decisions[0].sequence
    assert (decision.action, decision.evidence) == (BLOCK, "harm")
    assert f"campaigns are blocked from {first.lead:.2f}" in decision.text
    assert clients(outputs.pending_decisions[-1].members) == THIEVES
    unmet = linked(sketches, digits_baseline, replace(LIVE, campaign_stop_at=1.0)).pending_decisions
    assert {decision.evidence for decision in unmet} == {"campaign"}


@pytest.mark.parametrize("channel", ["campaign", "harm"])
def test_a_campaign_in_shadow_is_not_blocked_for_harm(sketches: Sketches, digits_baseline: Baseline, channel: str) -> None:
    policy = replace(LIVE, campaign_stop_at=0.2, shadow_channels=frozenset({channel}))
    harmed = [one for one in linked(sketches, digits_baseline, policy).pending_decisions if one.evidence == "harm"]
    assert harmed
    assert all(decision.simulated for decision in harmed)


def test_without_a_reference_set_nothing_is_read(sketches: Sketches, digits_baseline: Baseline) -> None:
    known = digits_baseline.models["digits"]
    running = Linker("digits", LinkSettings(), known.reference, replace(LIVE, campaign_stop_at=0.1), secret=5)
    outputs = running.process(sketches)
    assert outputs.findings
    assert all(finding.odometer is None for finding in outputs.findings)
    assert not any(decision.evidence == "harm" for decision in outputs.pending_decisions)


def test_the_odometer_may_be_turned_on_and_off(sketches: Sketches, digits_baseline: Baseline) -> None:
    """The links go on with the saved state of before; what is held together is read anew."""
    known = digits_baseline.models["digits"]
    plain = Linker("digits", LinkSettings(), known.reference, LIVE, scores=known.link_scores, secret=5)
    plain.process(sketches)
    metered = linker(digits_baseline)
    metered.restore(plain.snapshot())
    (campaign,) = metered.campaigns()
    assert metered.telling.reading_of(campaign) is None
    plain.restore(metered.snapshot())
    assert [group.number for group in plain.campaigns()] == [campaign.number]


def test_what_another_version_answered_counts_no_more(sketches: Sketches, digits_baseline: Baseline) -> None:
    half = len(sketches) // 2
    running = linker(digits_baseline)
    running.process(replace(sketches.take(np.arange(half)), version=["1"] * half))
    (campaign,) = running.campaigns()
    before = running.telling.reading_of(campaign)
    running.process(replace(sketches.take(np.arange(half, len(sketches))), version=["2"] * (len(sketches) - half)))
    after = running.telling.reading_of(campaign)
    assert before is not None
    assert after is not None
    assert after != before


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
    name, stopped = running.telling.name_of(kept), set(kept.stopped)
    for number, level in ((-1, 0), (10**9, 1)):
        gone = Group(number, 0, 0, 0, "another", level=level, stopped=[number])
        running.groups.groups[number] = gone
        running.groups._merge(gone, kept)
        stopped.add(number)
        assert running.telling.name_of(kept) == name
        assert {*kept.stopped, *kept.inherited} == stopped


@pytest.mark.parametrize("seed", range(2))
def test_a_few_clients_are_a_campaign_only_if_they_move_records_by_equal_steps(
    make_log: Callable[..., list[bytes]], generated_baseline: Baseline, seed: int
) -> None:
    """Nine accounts, and a baseline of thirty: the bars are the same, so those who ask at random or repeat pass none."""

    def alerted(*habits: str) -> bool:
        config = Config.model_validate({"engine": {"lateness_minutes": 60}})
        seen = watch(make_log(seed, clients=9, events=500, habits=habits), config, generated_baseline)
        return not all(about_one_client(to_json(alert)) for alert in seen.raised)

    assert not alerted("random", "again", "still")
    assert alerted("random", "flat", "again", "flat", "still", "flat")
