"""The odometer inside the engine: readings, budgets, versions, and nothing that depends on how the stream is cut."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.baseline.store import Baseline
from detector.engine.findings import Outputs, Reading
from detector.engine.memory.metered import READINGS, STEADY
from detector.engine.parking import InMemory
from detector.engine.policy import ALERT, BLOCK, PERTURB, THROTTLE, Budget, PolicySettings, Tier
from detector.engine.shard import EngineSettings, Shard
from detector.testing import START_MS, Events, batches

DAY_MS = 86_400_000
AT_HALF = PolicySettings(shadow=False, budget=Budget(degrade_at=0.5))


def asks(
    client: str,
    queries: int,
    *,
    seed: int = 1,
    version: Callable[[int], str | None] = lambda _: None,
    turned: bool = False,
    span: Callable[[int], float] = lambda _: 1.0,
    start_ms: int = START_MS,
    sender: dict[str, Any] | None = None,
    **changes: Any,
) -> list[bytes]:
    """Return queries over the `span` of each value; the answers are those of the model, or of one that is `turned`."""
    rng = np.random.default_rng(seed)
    events = Events("alpha", start_ms=start_ms)
    lines = []
    for turn in range(queries):
        x = span(turn) * rng.random(9)
        chance = float(1.0 / (1.0 + np.exp(-6.0 * (x.sum() - 4.5))))
        chance = 1.0 - chance if turned else chance
        told = version(turn)
        model: dict[str, Any] = {"id": "alpha"} | ({} if told is None else {"version": told})
        fields = {"event_id": f"{client}-{seed}-{turn}", "model": model} | changes
        line = events.line(client, x, int(chance > 0.5), probabilities=[1.0 - chance, chance], **fields)
        whose = {"client": {"id": client, "trusted": True} | (sender or {})}
        lines.append(json.dumps(json.loads(line) | whose).encode())
    return lines


def begins_narrowly(turn: int) -> float:
    """Return how far each value of a query goes, of one who at first asks about a part of the input space."""
    return 0.6 if turn < 60 else 1.0


def run(lines: list[bytes], baseline: Baseline, policy: PolicySettings | None = None, **changes: Any) -> tuple[Shard, Outputs]:
    shard = Shard(EngineSettings(policy=policy or PolicySettings(), **changes), baseline.models)
    return shard, shard.process(*batches(lines))


def held(shard: Shard, client: str) -> Reading | None:
    (report,) = (report for report in shard.reports() if report.client == client)
    return report.odometer


def harm(outputs: Outputs) -> tuple[list[int], list[int]]:
    """Return the actions of the findings and of the decisions about harm."""
    found = [finding for finding in outputs.findings if finding.evidence == "harm"]
    decided = [decision for decision in outputs.pending_decisions if decision.evidence == "harm"]
    assert {finding.kind for finding in found} <= {"harm"}
    return [finding.action for finding in found], [decision.action for decision in decided]


def test_who_asked_more_holds_more(generated_baseline: Baseline) -> None:
    """From 32 queries on there is a reading; the lead grows with varied queries, and not with one that is repeated."""
    lines = asks("few", 31) + asks("some", 40) + asks("many", 300)
    again = [line.replace(b'"id": "some"', b'"id": "again"') for line in asks("some", 1)] * 300
    again = [line.replace(b"some-1-0", f"again-{i}".encode()) for i, line in enumerate(again)]
    shard, outputs = run(lines + again, generated_baseline)
    assert held(shard, "few") is None
    some, many, same = (held(shard, client) for client in ("some", "many", "again"))
    assert some is not None
    assert many is not None
    assert same is not None
    assert some.queries == 32
    assert many.queries in READINGS
    assert many.lead > max(some.lead, 0.5) > 0.3 > same.lead
    assert outputs.readings == sum(int((n >= READINGS).sum()) for n in (31, 40, 300, 300))
    assert sum(shard.holders((0.5,))) == sum(
        report.odometer is not None and report.odometer.lead >= 0.5 for report in shard.reports()
    )
    assert harm(outputs) == ([], [])


def test_without_it_nothing_is_measured(generated_baseline: Baseline) -> None:
    """Off by setting, and for a baseline without reference inputs."""
    old = {model: replace(known, reference_set=None) for model, known in generated_baseline.models.items()}
    lines = asks("many", 100)
    for shard in (Shard(EngineSettings(odometer=False), generated_baseline.models), Shard(EngineSettings(), old)):
        outputs = shard.process(*batches(lines))
        assert held(shard, "many") is None
        assert outputs.readings == 0
        assert shard.holders((0.0, 0.5)) == [0, 0]


@settings(max_examples=5)
@given(st.data())
def test_readings_do_not_depend_on_cuts_and_restarts(
    benign: Callable[[], Baseline],
    make_log: Callable[..., list[bytes]],
    drive: Callable[..., dict[str, bytes]],
    data: st.DataObject,
) -> None:
    """Every document is the same, budgets and versions included, wherever the stream is cut and the shard restored."""
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    logs = [
        asks("many", 120, version=lambda turn: "1" if turn < 60 else "2"),
        asks("other", 90, seed=2),
        asks("third", 50, seed=3),
        make_log(1, clients=2, events=60),
    ]
    order = rng.permutation(np.repeat(np.arange(4), [len(log) for log in logs]))
    taken = [iter(log) for log in logs]
    lines = [next(taken[i]) for i in order]
    engine = EngineSettings(policy=AT_HALF)
    whole = drive(lines, engine, benign().models)
    assert b'"harm"' in whole["alerts"]
    assert b'"odometer"' in whole["clients"]
    places = st.lists(st.integers(1, len(lines) - 1), max_size=4)
    assert drive(lines, engine, benign().models, cuts=data.draw(places), restarts=data.draw(places)) == whole
    assert drive(lines, engine, benign().models, cuts=data.draw(places), restarts=data.draw(places), compacted=True) == whole


def test_a_parked_client_is_read_as_if_it_had_stayed(generated_baseline: Baseline) -> None:
    """A client that met its budget has to make room, and comes back: its readings are those of one that never left."""
    lines = asks("many", 200)
    flood = [line for i in range(20) for line in asks(f"new-{i}", 1, seed=i)]
    parked = InMemory()
    small = Shard(EngineSettings(policy=AT_HALF, max_clients=4), generated_baseline.models, parked=parked)
    whole, _ = run(lines, generated_baseline, AT_HALF)
    small.process(*batches(lines[:150]))
    small.process(*batches(flood, first_sequence=150))
    assert len(parked) == 1
    assert held(small, "many") is not None
    small.process(*batches(lines[150:], first_sequence=200))
    assert held(small, "many") == held(whole, "many")


def test_a_budget_gives_labels_only_and_then_blocks(generated_baseline: Baseline) -> None:
    """Each limit leads to one finding and one decision, at a reading, with the figure in words."""
    early, late = (held(run(asks("many", queries), generated_baseline)[0], "many") for queries in (32, 400))
    assert early is not None
    assert late is not None
    assert early.lead < late.lead
    policy = PolicySettings(shadow=False, budget=Budget(0.4, late.lead))
    _, outputs = run(asks("many", 400), generated_baseline, policy)
    actions, decided = harm(outputs)
    assert actions == decided == [PERTURB, BLOCK]
    for finding in (finding for finding in outputs.findings if finding.evidence == "harm"):
        assert finding.queries in READINGS
        assert finding.odometer is not None
        assert finding.score == pytest.approx(finding.odometer.lead)
        assert finding.score >= (0.4 if finding.action == PERTURB else late.lead)
        assert f"labels only from 0.40, blocked from {late.lead:.2f}" in finding.reasons[0].text
        assert finding.reasons[0].threshold == 0.4
    alerts = {finding.alert_id for finding in outputs.findings}
    assert all(decision.alert_id in alerts for decision in outputs.pending_decisions)


def test_a_decision_is_renewed_while_the_client_asks_on(generated_baseline: Baseline) -> None:
    """What was learned stays learned: after the decision has expired the next scheduled evaluation makes another, no alert."""
    shard = Shard(EngineSettings(policy=replace(AT_HALF, perturb_ms=DAY_MS)), generated_baseline.models)
    first = shard.process(*batches(asks("many", 100)))
    assert harm(first)[1] == [PERTURB]
    later = shard.process(*batches(asks("many", 30, seed=2, start_ms=START_MS + 2 * DAY_MS), first_sequence=100))
    assert harm(later) == ([], [PERTURB])
    assert later.pending_decisions[-1].alert_id == first.pending_decisions[-1].alert_id
    assert later.pending_decisions[-1].revision == first.pending_decisions[-1].revision + 1


@pytest.mark.parametrize(
    ("policy", "sender", "action", "simulated"),
    [
        (AT_HALF, {}, PERTURB, False),
        (replace(AT_HALF, shadow=True), {}, PERTURB, True),
        (replace(AT_HALF, shadow_channels=frozenset({"harm"})), {}, PERTURB, True),
        (replace(AT_HALF, never_block=frozenset({"many"})), {}, THROTTLE, False),
        (replace(AT_HALF, never_block_organizations=frozenset({"acme"})), {"organization": "acme"}, THROTTLE, False),
        (AT_HALF, {"trusted": False}, THROTTLE, False),
        (replace(AT_HALF, budget=Budget(stop_at=0.5)), {}, BLOCK, False),
        (replace(AT_HALF, budget=Budget(stop_at=0.5)), {"trusted": False}, THROTTLE, False),
    ],
)
def test_what_holds_for_other_decisions_holds_for_these(
    generated_baseline: Baseline, policy: PolicySettings, sender: dict[str, Any], action: int, simulated: bool
) -> None:
    """Shadow mode, lists of who is throttled at most, and identities that nobody vouches for."""
    _, outputs = run(asks("many", 100, sender=sender), generated_baseline, policy)
    assert harm(outputs)[1] == [action]
    assert {decision.simulated for decision in outputs.pending_decisions} == {simulated}


def test_the_guard_holds_these_stops_back_as_well(generated_baseline: Baseline) -> None:
    """More clients at their budget than policy stops in a minute are throttled, and an alert says so."""
    lines = [line for i in range(4) for line in asks(f"many-{i}", 60, seed=i)]
    _, outputs = run(lines, generated_baseline, replace(AT_HALF, new_stops_per_minute=2))
    assert sorted(harm(outputs)[1]) == [THROTTLE, THROTTLE, PERTURB, PERTURB]
    assert outputs.held_back


TRIAL = Tier(Budget(stop_at=0.4), types=frozenset({"trial"}))
ACME = Tier(Budget(), organizations=frozenset({"acme"}), models=frozenset({"alpha"}))


@pytest.mark.parametrize(
    ("sender", "actions"),
    [
        ({}, [PERTURB]),
        ({"type": "trial"}, [BLOCK]),
        ({"organization": "acme"}, []),
        ({"type": "trial", "organization": "acme"}, [BLOCK]),
        ({"organization": "other"}, [PERTURB]),
    ],
)
def test_the_first_tier_that_fits_says_the_budget(
    generated_baseline: Baseline, sender: dict[str, Any], actions: list[int]
) -> None:
    """By type of client, organisation and model; its limits replace both of the others."""
    _, outputs = run(asks("many", 100, sender=sender), generated_baseline, replace(AT_HALF, tiers=(TRIAL, ACME)))
    assert harm(outputs)[1] == actions


@pytest.mark.parametrize(
    ("sender", "actions"),
    [({}, [THROTTLE]), ({"type": "rich"}, [THROTTLE]), ({"organization": "acme"}, [THROTTLE]), ({"type": "trial"}, [THROTTLE])],
)
def test_whoever_is_not_vouched_for_claims_no_larger_budget(
    generated_baseline: Baseline, sender: dict[str, Any], actions: list[int]
) -> None:
    """What he writes of himself brings him into a tier as far as that is stricter; a tier for a model alone holds for all."""
    rich = Tier(Budget(degrade_at=0.9), types=frozenset({"rich"}))
    lines = asks("many", 100, sender={"trusted": False, **sender})
    _, outputs = run(lines, generated_baseline, replace(AT_HALF, tiers=(rich, TRIAL, ACME)))
    assert set(harm(outputs)[1]) == set(actions)
    for_all = replace(AT_HALF, budget=Budget(), tiers=(rich, ACME, Tier(AT_HALF.budget, models=frozenset({"alpha"}))))
    _, outputs = run(lines, generated_baseline, for_all)
    assert harm(outputs)[1] == [THROTTLE]


def test_another_policy_brings_its_budgets(generated_baseline: Baseline) -> None:
    """Taken along while clients are held: those over the new limit are met at their next scheduled evaluation."""
    shard, outputs = run(asks("many", 100), generated_baseline)
    assert harm(outputs) == ([], [])
    shard.adopt(replace(AT_HALF, shadow=True))
    assert harm(shard.process(*batches(asks("many", 20, seed=2), first_sequence=100))) == ([PERTURB], [PERTURB])


def test_another_version_begins_anew(generated_baseline: Baseline) -> None:
    """What the old version answered counts no more, a budget may be met again, and two versions side by side change nothing."""
    switched = asks("many", 100, version=lambda _: "1") + asks("many", 100, seed=2, version=lambda _: "2")
    shard, outputs = run(switched[: 100 + STEADY], generated_baseline, AT_HALF)
    before = held(shard, "many")
    assert harm(outputs)[0] == [PERTURB]
    again = shard.process(*batches(switched[100 + STEADY :], first_sequence=200))
    after = held(shard, "many")
    assert before is not None
    assert after is not None
    assert before.queries < 100 + STEADY < after.queries
    assert harm(again)[0] == [PERTURB]
    beside = asks("many", 200, version=lambda turn: "12"[turn % 2])
    untold = asks("many", 200, version=lambda turn: "1" if turn < 100 else None)
    plain = held(run(asks("many", 200), generated_baseline)[0], "many")
    assert [held(run(lines, generated_baseline)[0], "many") for lines in (beside, untold)] == [plain, plain]


def test_versions_asked_in_turn_start_nothing_anew(generated_baseline: Baseline) -> None:
    """Whoever may choose the version gets nothing by going back and forth between two."""
    plain = held(run(asks("many", 400), generated_baseline)[0], "many")
    assert plain is not None
    found = held(run(asks("many", 400, version=lambda turn: str(turn // STEADY % 2)), generated_baseline)[0], "many")
    assert found is not None
    assert found.lead > plain.lead - 0.1


@pytest.mark.parametrize("mode", ["label", "mislead"])
def test_perturbed_answers_count_for_what_they_tell(generated_baseline: Baseline, mode: str) -> None:
    """A client that was told wrong labels has learned less than one that was told the labels alone."""

    def told(label: int) -> dict[str, Any]:
        said = 1 - label if mode == "mislead" else label
        return {"label": said, "perturbed": {"mode": mode}, "original": {"label": label}}

    rng = np.random.default_rng(1)
    events = Events("alpha")
    inputs = rng.random((100, 9))
    lines = [events.line("many", x, output=told(int(x.sum() > 4.5))) for x in inputs]
    reading = held(run(lines, generated_baseline)[0], "many")
    assert reading is not None
    assert (reading.lead > 0.4) == (mode == "label")
    assert reading.lead < 0.05 or mode == "label"


def test_novelty_throttles_where_something_has_leaked(generated_baseline: Baseline) -> None:
    """With `throttle_from` a foreign client that holds little is alerted on; without it, it is throttled as before."""
    rng = np.random.default_rng(3)
    events = Events("alpha")
    lines = [events.line("foreign", rng.choice([-8.0, 9.0], 9), 0) for _ in range(60)]
    before, after = (run(lines, generated_baseline, PolicySettings(throttle_from=lead))[1].findings for lead in (0.0, 0.5))
    assert max(finding.action for finding in before) >= THROTTLE
    assert [finding.action for finding in after if finding.kind == "novelty"] != []
    assert {finding.action for finding in after if finding.kind == "novelty"} == {ALERT}


def test_the_rate_of_a_throttle_falls_with_the_lead(generated_baseline: Baseline) -> None:
    """Whoever may only be throttled is let through less with each renewal, down to the floor; without the setting, as ever."""
    falling = PolicySettings(
        shadow=False,
        budget=Budget(degrade_at=0.2),
        throttle_ms=30_000,
        requests_per_minute=6400,
        halving_lead=0.1,
        least_rate=3,
    )
    lines = asks("many", 300, sender={"trusted": False}, span=begins_narrowly)
    shard, outputs = run(lines, generated_baseline, falling)
    decisions = outputs.pending_decisions
    assert {decision.action for decision in decisions} == {THROTTLE}
    rates = [decision.requests_per_minute or 0 for decision in decisions]
    assert len(rates) > 2
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > rates[-1] > 3
    assert all(
        f"; {rate} requests a minute at lead 0." in decision.text for rate, decision in zip(rates, decisions, strict=True)
    )
    reading = held(shard, "many")
    assert reading is not None
    assert rates[-1] >= falling.rate_at(reading.lead)
    _, usual = run(lines, generated_baseline, replace(falling, halving_lead=None))
    assert {decision.requests_per_minute for decision in usual.pending_decisions} == {None}
    assert [decision.issued_ms for decision in usual.pending_decisions] == [decision.issued_ms for decision in decisions]


@given(st.integers(0, 10_000), st.floats(0.01, 1.0), st.integers(0, 100), st.lists(st.floats(0.0, 1.0), min_size=2, max_size=2))
def test_no_lead_raises_a_rate(rate: int, every: float, floor: int, leads: list[float]) -> None:
    """The rate falls or stays, and lies between the floor and that of everybody."""
    policy = PolicySettings(requests_per_minute=rate, halving_lead=every, least_rate=floor)
    low, high = (policy.rate_at(lead) for lead in sorted(leads))
    assert min(rate, floor) <= high <= low <= rate
