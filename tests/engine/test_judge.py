"""From evidence to findings and orders: once per step, within the limits of policy, renewed when they run out."""

import re
from dataclasses import replace

import numpy as np
import pytest

from detector.baseline.store import Baseline
from detector.config import Config
from detector.engine.evidence.accumulate import CHANNELS, FLOORS
from detector.engine.features.row import CONTENT, NAMES
from detector.engine.findings import Finding, Outputs, PendingDecision
from detector.engine.moment import Moment
from detector.engine.policy import ALERT, ALERT_SHARE, BLOCK, PERTURB, THROTTLE, PolicySettings
from detector.engine.shard import EngineSettings, Shard
from detector.testing import START_MS, Events, MemorySink, batches, watch

HOUR_MS = 3_600_000


def theft(
    queries: int, *, client: str = "thief", trusted: bool = True, first: int = 0, start_ms: int = START_MS, step_ms: int = 1000
) -> list[bytes]:
    """Return queries of which every second is the one before it, moved by a flat step of a size of its own."""
    rng = np.random.default_rng(first)
    events = Events("alpha", start_ms=start_ms, step_ms=step_ms)
    lines = []
    x = np.zeros(9)
    signs = np.resize([1.0, -1.0], 9)
    for turn in range(queries):
        x = rng.uniform(0.2, 0.8, 9) if turn % 2 == 0 else x + rng.uniform(0.08, 0.12) * rng.permutation(signs)
        lines.append(events.line(client, x, int(x.sum() > 4.5), trusted=trusted, event_id=f"{first}-{turn}"))
    return lines


def judged(lines: list[bytes], baseline: Baseline, policy: PolicySettings | None = None) -> Outputs:
    shard = Shard(EngineSettings(policy=policy or PolicySettings()), baseline.models)
    return shard.process(*batches(lines))


def construction(outputs: Outputs) -> tuple[list[Finding], list[PendingDecision]]:
    return (
        [finding for finding in outputs.findings if finding.kind == "construction"],
        [order for order in outputs.pending_decisions if order.evidence != "novelty"],
    )


def test_a_thief_is_alerted_perturbed_and_blocked_once_each(generated_baseline: Baseline) -> None:
    """One finding per step of the ladder, in order, with the evidence that took it there; two orders."""
    findings, pending_decisions = construction(judged(theft(60), generated_baseline))
    assert [finding.action for finding in findings] == [ALERT, PERTURB, BLOCK]
    assert [order.action for order in pending_decisions] == [PERTURB, BLOCK]
    assert [order.alert_id for order in pending_decisions] == [finding.alert_id for finding in findings[1:]]
    stop = Shard(EngineSettings(), generated_baseline.models).thresholds("alpha").stop[0]
    assert ALERT_SHARE * stop <= findings[0].score < stop <= findings[1].score < 1.5 * stop <= findings[2].score
    assert [finding.risk for finding in findings] == sorted(finding.risk for finding in findings)
    assert all(0 <= finding.risk <= 100 for finding in findings)


def test_a_finding_says_why(generated_baseline: Baseline) -> None:
    """The channel in words with its threshold, and the latest queries that carried the evidence, the convicting one last."""
    findings, _ = construction(judged(theft(60), generated_baseline))
    for finding in findings:
        (reason,) = finding.reasons
        assert reason.name == finding.evidence == "offset"
        assert "one flat step" in reason.text
        assert reason.threshold is not None
        assert len(reason.event_ids) <= 5
        assert reason.event_ids[-1] == f"0-{finding.queries - 1}"
        assert all(int(event_id.split("-")[1]) % 2 == 1 for event_id in reason.event_ids)


def test_a_young_client_has_no_features_yet(generated_baseline: Baseline) -> None:
    """Before its first evaluation nothing is known but the evidence; after it, all figures are there and none is NaN."""
    findings, _ = construction(judged(theft(60), generated_baseline))
    assert findings[0].queries < 8
    assert findings[0].features == {}
    assert set(findings[-1].features) <= set(NAMES)
    assert len(findings[-1].features) > 15
    assert np.isfinite(list(findings[-1].features.values())).all()


def test_novelty_says_which_features_stand_out(generated_baseline: Baseline) -> None:
    """The score and the features that deviate most, each with the benign range; weights sum to 1."""
    events = Events("alpha")
    lines = [
        events.line("stranger", np.full(9, 5.0) + x, 1, probabilities=[0.5, 0.5])
        for x in np.random.default_rng(1).random((70, 9))
    ]
    outputs = judged(lines, generated_baseline)
    assert {finding.kind for finding in outputs.findings} == {"novelty"}
    assert max(order.action for order in outputs.pending_decisions) == THROTTLE
    for finding in outputs.findings:
        score, *features = finding.reasons
        assert score.name == "novelty"
        assert score.event_ids
        assert {reason.name for reason in features} <= set(NAMES[CONTENT])
        assert sum(reason.weight for reason in features) == pytest.approx(1.0, abs=1e-3)
        for reason in features:
            assert reason.low is not None
            assert reason.high is not None
            assert reason.low <= reason.high
            side = "above" if reason.value > reason.high else "below" if reason.value < reason.low else "within"
            assert f"is {side} the benign range" in reason.text


def test_protected_clients_are_throttled_at_most(generated_baseline: Baseline) -> None:
    """On the never-block list the evidence is told in full, and the gateway only slows down."""
    policy = PolicySettings(never_block=frozenset({"thief"}))
    findings, pending_decisions = construction(judged(theft(60), generated_baseline, policy))
    assert [finding.action for finding in findings] == [ALERT, THROTTLE, THROTTLE]
    assert [order.action for order in pending_decisions] == [THROTTLE]
    other, _ = construction(judged(theft(60, client="other"), generated_baseline, policy))
    assert other[-1].action == BLOCK


def test_untrusted_identities_are_throttled_at_most(generated_baseline: Baseline) -> None:
    """A forger must not be able to have a victim locked out, or told wrong answers."""
    findings, pending_decisions = construction(judged(theft(60, trusted=False), generated_baseline))
    assert [finding.action for finding in findings] == [ALERT, THROTTLE, THROTTLE]
    assert {order.action for order in pending_decisions} == {THROTTLE}


def test_a_decision_in_force_is_not_repeated_and_one_that_ran_out_is_renewed(generated_baseline: Baseline) -> None:
    """While a block lasts nothing is sent; the first constructed query after its end blocks again, under the same alert."""
    policy = PolicySettings(block_ms=HOUR_MS, perturb_ms=HOUR_MS)
    lines = theft(40)
    lines += theft(10, first=1, start_ms=START_MS + HOUR_MS // 2)
    lines += theft(10, first=2, start_ms=START_MS + 2 * HOUR_MS)
    lines += theft(10, first=3, start_ms=START_MS + 2 * HOUR_MS + 60_000)
    findings, pending_decisions = construction(judged(lines, generated_baseline, policy))
    assert len(findings) == 3
    assert [order.action for order in pending_decisions] == [PERTURB, BLOCK, BLOCK]
    assert [order.revision for order in pending_decisions] == sorted({order.revision for order in pending_decisions})
    first, renewed = pending_decisions[1:]
    assert START_MS + 2 * HOUR_MS < renewed.issued_ms < START_MS + 2 * HOUR_MS + 10_000
    assert renewed.alert_id == first.alert_id
    assert renewed.decision_id != first.decision_id


def test_every_order_ends_when_its_terms_say(generated_baseline: Baseline) -> None:
    """Issued at the event time of its cause, and until then plus the duration of its action."""
    policy = PolicySettings(throttle_ms=111_000, perturb_ms=222_000, block_ms=333_000)
    outputs = judged(theft(200, step_ms=9000), generated_baseline, policy)
    lasts = {THROTTLE: 111_000, PERTURB: 222_000, BLOCK: 333_000}
    assert len(outputs.pending_decisions) > 4
    for order in outputs.pending_decisions:
        assert order.expires_ms == order.issued_ms + lasts[order.action]
        assert (order.issued_ms - START_MS) // 9000 == order.sequence


def test_a_harder_action_replaces_a_softer_one_at_once_and_never_the_reverse(generated_baseline: Baseline) -> None:
    """Within the duration of an order only a harder one follows."""
    outputs = judged(theft(200, step_ms=HOUR_MS // 4), generated_baseline)
    for before, after in zip(outputs.pending_decisions[:-1], outputs.pending_decisions[1:], strict=True):
        assert after.issued_ms >= before.expires_ms or after.action > before.action


def test_ids_tell_clients_and_models_apart(generated_baseline: Baseline) -> None:
    """Two clients who make the same queries in the same milliseconds, of two models each, share no id."""
    known = generated_baseline.models["alpha"]
    shard = Shard(EngineSettings(), {"alpha": known, "beta": known})
    one, other = theft(60), theft(60, client="other")
    lines = [line for pair in zip(one, other, strict=True) for line in pair]
    lines += [line.replace(b'"alpha"', b'"beta"') for line in lines]
    outputs = shard.process(*batches(lines))
    for ids in ([finding.alert_id for finding in outputs.findings], [order.decision_id for order in outputs.pending_decisions]):
        assert len(ids) >= 8
        assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("shadow", [True, False])
def test_shadow_mode_decides_the_same_and_says_so(generated_baseline: Baseline, shadow: bool) -> None:
    """Every decision and alert is marked, and the policy has another version; otherwise nothing differs."""
    seen = watched(generated_baseline, shadow=shadow)
    assert {decision.simulated for decision in seen.decided} == {shadow}
    assert {alert.detector.shadow for alert in seen.raised} == {shadow}
    other = watched(generated_baseline, shadow=not shadow)
    assert [replace_mark(seen.written()[kind]) for kind in ("decisions", "clients")] == [
        replace_mark(other.written()[kind]) for kind in ("decisions", "clients")
    ]


def watched(baseline: Baseline, *, shadow: bool) -> MemorySink:
    return watch(theft(80), Config.model_validate({"policy": {"shadow": shadow, "trust_clients": True}}), baseline)


def replace_mark(written: bytes) -> bytes:
    marked = rb'"simulated":(true|false),"policy_version":"[0-9a-f]{12}"'
    return re.sub(marked, b"", written)


def test_a_stricter_budget_never_acts_earlier(generated_baseline: Baseline) -> None:
    """Raising the budget of false blocks can only bring the first alert of a channel forward."""
    loud = replace(
        generated_baseline.models["alpha"],
        channel_scores=np.random.default_rng(1).exponential(9.0, (400, len(CHANNELS))),
    )
    alerts = []
    for budget in (0.01, 1.0, 100.0, 5000.0):
        shard = Shard(EngineSettings(policy=PolicySettings(false_blocks_per_10000=budget)), {"alpha": loud})
        findings = shard.process(*batches(theft(120))).findings
        alerts.append(min(finding.sequence for finding in findings if finding.kind == "construction"))
    assert alerts == sorted(alerts, reverse=True)
    assert alerts[0] > alerts[-1]


def test_a_channel_that_benign_clients_set_off_may_only_alert(generated_baseline: Baseline) -> None:
    """Where a calibration client passed the floor of a channel, the channel has lost the right to stop."""
    known = generated_baseline.models["alpha"]
    loud = replace(known, channel_scores=np.full_like(known.channel_scores, 20.0))
    for baseline, stopped in ((known, True), (loud, False)):
        outputs = Shard(EngineSettings(), {"alpha": baseline}).process(*batches(theft(120)))
        construction = [finding for finding in outputs.findings if finding.kind == "construction"]
        assert construction
        assert (max(finding.action for finding in construction) >= PERTURB) is stopped


def in_company(baseline: Baseline, policy: PolicySettings, share: float = 0.7) -> Outputs:
    """Judge a client with a `share` of the evidence at which halving alone stops, and with turns above their threshold."""
    shard = Shard(EngineSettings(policy=policy), baseline.models)
    (batch,) = batches([Events("alpha").line("acme", np.full(9, 0.5), 1)])
    shard.process(batch)
    bisect, turns = CHANNELS.index("bisect"), CHANNELS.index("turns")
    peak = np.zeros(len(CHANNELS), np.float32)
    peak[bisect], peak[turns] = share * FLOORS[bisect], 2.0 * FLOORS[turns]
    moment = Moment(
        batch=batch,
        event=0,
        slot=0,
        queries=40,
        peak=peak,
        channels=[turns],
        score=None,
        odds=(),
        row=np.zeros(len(NAMES)),
        emitted=0,
    )
    outputs = Outputs()
    shard._table("alpha", "alpha").judge.judge(moment, outputs)
    return outputs


def test_a_stop_in_company_names_both(generated_baseline: Baseline) -> None:
    """Neither is enough by itself; together they perturb, as construction, and the reason gives both figures."""
    outputs = in_company(generated_baseline, PolicySettings(shadow=False))
    found = {finding.evidence: finding for finding in outputs.findings}
    assert {name: finding.action for name, finding in found.items()} == {"bisect": PERTURB, "turns": THROTTLE}
    assert [reason.name for reason in found["bisect"].reasons] == ["bisect", "turns"]
    assert sum(reason.weight for reason in found["bisect"].reasons) == 1.0
    assert "is enough here" in found["bisect"].reasons[0].text
    assert [reason.name for reason in found["turns"].reasons] == ["turns"]
    assert max(order.action for order in outputs.pending_decisions) == PERTURB


@pytest.mark.parametrize(("share", "simulated"), [(0.7, True), (2.0, False)])
def test_company_in_shadow_mode_stops_nobody(generated_baseline: Baseline, share: float, *, simulated: bool) -> None:
    """A channel that is only tried convicts in simulation; what stops without it still stops."""
    policy = PolicySettings(shadow=False, shadow_channels=frozenset({"turns"}))
    outputs = in_company(generated_baseline, policy, share)
    stops = [order for order in outputs.pending_decisions if order.action >= PERTURB]
    assert [(order.evidence, order.simulated) for order in stops] == [("bisect", simulated)]
