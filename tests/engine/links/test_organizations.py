"""What the accounts of an organisation hold together: of whom the gateway vouches for, bounded, the same however cut."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.baseline.store import Baseline
from detector.contracts import to_json
from detector.engine.findings import Outputs
from detector.engine.links import organizations
from detector.engine.links.latest import LEAST_RING, Latest
from detector.engine.links.organizations import SAMPLED_EACH, Organization, Organizations
from detector.engine.links.sketch import Sketches
from detector.engine.memory.metered import FIRST_READING
from detector.engine.policy import BLOCK, PERTURB, THROTTLE, Budget, PolicySettings, Tier
from detector.errors import SnapshotError
from detector.ingest.batch import Sender
from detector.sinks import render
from tests.engine.links.campaigns import LIVE, linked, linker, sketched
from tests.engine.links.houses import HOUSE, house_log
from tests.engine.links.test_holdings import asked, judging

BUDGET = replace(LIVE, organizations=Budget(degrade_at=0.3, stop_at=0.8))
DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def sketches(digits_baseline: Baseline) -> Sketches:
    return sketched(house_log(), digits_baseline)


@pytest.fixture(scope="module")
def found(sketches: Sketches, digits_baseline: Baseline) -> Outputs:
    return linked(sketches, digits_baseline, BUDGET)


def of_the_house(outputs: Outputs) -> list[int]:
    return [decision.action for decision in outputs.pending_decisions if decision.subject == "organization"]


def test_an_organisation_is_told_labels_only_and_then_blocked(found: Outputs) -> None:
    decisions = [decision for decision in found.pending_decisions if decision.subject == "organization"]
    assert [decision.action for decision in decisions] == [PERTURB, BLOCK]
    assert {(decision.client, decision.evidence, decision.simulated) for decision in decisions} == {(HOUSE, "harm", False)}
    assert [decision.revision for decision in decisions] == [1, 2]
    assert decisions[1].supersedes == decisions[0].decision_id
    alerts = [finding for finding in found.findings if finding.subject == "organization"]
    assert [finding.action for finding in alerts] == [PERTURB, BLOCK]
    assert [finding.alert_id for finding in alerts] == [decision.alert_id for decision in decisions]
    assert {member.client for member in alerts[0].members} == {f"house-{number}" for number in range(4)}
    assert alerts[0].kind == "harm"
    assert alerts[0].odometer is not None
    assert alerts[0].odometer.queries >= FIRST_READING
    assert "4 accounts of organisation acme hold a lead of" in decisions[0].text
    assert "labels only from 0.30, blocked from 0.80" in decisions[0].text


def test_documents_name_the_organisation(found: Outputs) -> None:
    stamp = render.Stamp("none", "none", BUDGET)
    (first, *_) = (decision for decision in found.pending_decisions if decision.subject == "organization")
    decision = render.decision(first, stamp)
    assert decision.key == "organization:acme:digits"
    assert decision.reason.code == "extraction.harm"
    assert decision.parameters is not None
    assert decision.parameters.labels_only
    (finding, *_) = (finding for finding in found.findings if finding.subject == "organization")
    alert = render.alert(finding, stamp)
    assert alert.message == "Suspected model extraction: organization acme on model digits"
    assert alert.user.id == "organization:acme"
    assert alert.organization is not None
    assert alert.organization.id == HOUSE
    assert set(alert.related.user) == {"organization:acme", *(f"house-{number}" for number in range(4))}
    assert to_json(alert)


def test_without_a_budget_it_is_read_and_nothing_is_done(sketches: Sketches, digits_baseline: Baseline) -> None:
    running = linker(digits_baseline)
    outputs = running.process(sketches)
    assert not outputs.findings
    assert not outputs.pending_decisions
    assert 0.3 < running.leads()[HOUSE] <= 1.0
    assert list(running.leads()) == [HOUSE], "accounts without an organisation have none"


@given(cuts=st.lists(st.integers(1, 479), max_size=6, unique=True), saved=st.integers(0, 6))
def test_cuts_and_restarts_change_nothing(
    sketches: Sketches, found: Outputs, digits_baseline: Baseline, cuts: list[int], saved: int
) -> None:
    running = linker(digits_baseline, BUDGET)
    outputs = Outputs()
    for number, (start, stop) in enumerate(pairwise([0, *sorted(cuts), len(sketches)])):
        outputs.add(running.process(sketches.take(np.arange(start, stop))))
        if number == saved:
            state = running.snapshot()
            running = linker(digits_baseline, BUDGET)
            running.restore(state)
            assert running.snapshot() == state
    assert outputs == found


def test_a_name_that_nobody_vouches_for_counts_for_nobody(digits_baseline: Baseline) -> None:
    forged = sketched(house_log(trusted=False), digits_baseline)
    running = linker(digits_baseline, replace(BUDGET, trust_clients=False))
    assert not of_the_house(running.process(forged))
    assert not running.leads()


def test_forgers_use_up_no_budget_of_others(digits_baseline: Baseline) -> None:
    """Three of four accounts are not vouched for: the fourth is alone, and is measured as a client."""
    running = linker(digits_baseline, BUDGET)
    assert not of_the_house(running.process(sketched(house_log(forgers=3), digits_baseline)))
    assert not running.leads()
    two = linker(digits_baseline, BUDGET)
    two.process(sketched(house_log(forgers=2), digits_baseline))
    assert two.together is not None
    (own,) = two.together.organizations.known.values()
    assert own.queries == 120, "what the two that are vouched for asked"


def test_one_account_alone_is_no_organisation(digits_baseline: Baseline) -> None:
    running = linker(digits_baseline, BUDGET)
    assert not running.process(sketched(house_log(accounts=1), digits_baseline)).pending_decisions
    assert not running.leads()


@pytest.mark.parametrize(
    "policy",
    [
        replace(BUDGET, never_block_organizations=frozenset({HOUSE})),
        replace(BUDGET, never_block=frozenset({"house-2"})),
    ],
)
def test_who_may_not_be_stopped_is_throttled(sketches: Sketches, digits_baseline: Baseline, policy: PolicySettings) -> None:
    """Also where one of its accounts is on the list, since the decision holds for all of them."""
    outputs = linked(sketches, digits_baseline, policy)
    assert of_the_house(outputs) == [THROTTLE]


def tiered(budget: Budget, **whom: frozenset[str]) -> PolicySettings:
    return replace(BUDGET, tiers=(Tier(Budget(), **whom, together=budget),))


def test_a_tier_has_a_budget_of_its_own(sketches: Sketches, digits_baseline: Baseline) -> None:
    acme = frozenset({HOUSE})
    assert not of_the_house(linked(sketches, digits_baseline, tiered(Budget(), organizations=acme)))
    assert of_the_house(linked(sketches, digits_baseline, tiered(Budget(stop_at=0.3), organizations=acme))) == [BLOCK]
    other = tiered(Budget(), organizations=frozenset({"other"}))
    assert of_the_house(linked(sketches, digits_baseline, other)) == [PERTURB, BLOCK]
    some = tiered(Budget(), organizations=acme, types=frozenset({"trial"}))
    assert of_the_house(linked(sketches, digits_baseline, some)) == [PERTURB, BLOCK], "a tier of some of its clients"


def test_shadow_mode_simulates(sketches: Sketches, digits_baseline: Baseline) -> None:
    outputs = linked(sketches, digits_baseline, replace(BUDGET, shadow_channels=frozenset({"harm"})))
    decisions = [decision for decision in outputs.pending_decisions if decision.subject == "organization"]
    assert decisions
    assert all(decision.simulated for decision in decisions)


def test_a_stop_of_too_many_accounts_is_held_back(digits_baseline: Baseline) -> None:
    """All accounts of an organisation are stopped at once: 30 of 33 are more than a quarter."""
    sketches = sketched(house_log(accounts=30), digits_baseline)
    outputs = linked(sketches, digits_baseline, replace(BUDGET, stopped_share=0.25))
    assert of_the_house(outputs) == [THROTTLE]
    assert "stopped_share" in next(one.text for one in outputs.pending_decisions if one.subject == "organization")
    assert [held.clients for held in outputs.held_back] == [1]


def test_a_decision_that_has_ended_is_made_again(sketches: Sketches, digits_baseline: Baseline) -> None:
    running = linker(digits_baseline, BUDGET)
    half = sketches.take(np.arange(400))
    assert of_the_house(running.process(half))[-1] == BLOCK
    later = sketches.take(np.arange(400, 480))
    soon, late = replace(later, time=later.time + 1000), replace(later, time=later.time + 2 * DAY_MS)
    state = running.snapshot()
    assert not of_the_house(running.process(soon))
    running = linker(digits_baseline, BUDGET)
    running.restore(state)
    assert of_the_house(running.process(late)) == [BLOCK]


def test_another_version_of_the_model_begins_anew(sketches: Sketches, digits_baseline: Baseline) -> None:
    running = linker(digits_baseline)
    running.process(replace(sketches, version=["1"] * len(sketches)))
    before = running.leads()[HOUSE]
    few = replace(
        sketched(house_log(400), digits_baseline).take(np.arange(480, 640)),
        version=["2"] * 160,
    )
    running.process(replace(few, sequence=few.sequence + 480))
    assert running.leads()[HOUSE] < before


def counted(number: int = 1) -> tuple[Organizations, Callable[[str, int, int], Organization]]:
    """Return organisations, and what lets an account of a named one ask a number of times."""
    found = Organizations(Latest(judging(), 4 * LEAST_RING, 7), int, lambda sender: bool(sender.trusted))

    def ask(name: str, account: int, times: int = number) -> Organization:
        whose = found._number_of(name) + 1
        found._names[whose] = name
        for _ in range(times):
            latest = found.asks(whose, account, 0)
        return latest

    return found, ask


def test_those_that_ask_most_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(organizations, "MOST_MEASURED", 2)
    found, ask = counted()
    for name, times in (("1", 5), ("2", 50), ("3", 20)):
        ask(name, 1, times)
        ask(name, 2, times)
    assert sorted(one.name for one in found.measured()) == ["2", "3"], "a third that asked more takes the place of the first"
    ask("4", 1, 1)
    ask("4", 2, 1)
    assert sorted(one.name for one in found.measured()) == ["2", "3"]
    found.known[found._number_of("3") + 1].level = BLOCK
    ask("4", 2, 1000)
    found.read(ask("4", 2, 1), 1)
    assert sorted(one.name for one in found.measured()) == ["3", "4"], "one that met its budget stays"


def test_no_more_are_counted_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(organizations, "MOST_KNOWN", 3)
    found, ask = counted()
    ask("1", 1, 1).level = PERTURB
    for name in ("2", "3", "4", "5"):
        ask(name, 1, 1)
    assert [one.name for one in found.known.values()] == ["1", "4", "5"]


def test_the_samples_are_bounded(digits_baseline: Baseline) -> None:
    running = linker(digits_baseline)
    running.process(sketched(house_log(600), digits_baseline))
    assert running.together is not None
    (own,) = running.together.organizations.measured()
    assert own.sample is not None
    assert len(own.sample.rows) == SAMPLED_EACH
    assert own.queries == 600
    assert running.together.organizations.nbytes == own.sample.rows.nbytes


def test_damaged_state_is_refused() -> None:
    found, ask = counted()
    ask("1", 1, 40)
    ask("1", 2, 40)
    found.read(ask("1", 2, 1), 1)
    (row,) = found.state()
    for place, value in ((1, 7), (3, -1), (3, "many"), (len(row) - 1, None), (len(row) - 4, b"1"), (len(row) - 2, 10_000)):
        bad = [*row]
        bad[place] = value
        with pytest.raises(SnapshotError, match="damaged"):
            counted()[0].restore([bad])
    with pytest.raises(SnapshotError, match="damaged"):
        counted()[0].restore([row[:5]])
    same = counted()[0]
    same.restore([row])
    assert same.state() == [row]


def test_an_empty_name_is_no_organisation() -> None:
    found, _ = counted()
    sketches = replace(asked(2)[0], sender=[Sender(trusted=True, organization=""), Sender(trusted=True)])
    assert found.numbers(sketches).tolist() == [0, 0]
