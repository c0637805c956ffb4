"""Shadow mode by model and by channel, and the lists of who is throttled at most."""

import json
from typing import Any

import pytest

from detector.baseline.store import Baseline
from detector.engine.policy import BLOCK, PERTURB, THROTTLE, PolicySettings
from detector.engine.shard import EngineSettings, Shard
from detector.testing import START_MS, batches
from tests.engine.test_judge import HOUR_MS, construction, judged, theft


def settings(**changes: Any) -> PolicySettings:
    return PolicySettings(**({"shadow": False} | changes))


@pytest.mark.parametrize(
    ("policy", "simulated"),
    [
        (settings(), {False}),
        (settings(shadow_models=frozenset({"alpha"})), {True}),
        (settings(shadow_models=frozenset({"beta"})), {False}),
        (PolicySettings(live_models=frozenset({"alpha"})), {False}),
        (PolicySettings(live_models=frozenset({"beta"})), {True}),
        (settings(shadow_channels=frozenset({"offset", "novelty"})), {True}),
        (PolicySettings(live_models=frozenset({"alpha"}), shadow_channels=frozenset({"offset"})), {True}),
    ],
)
def test_a_model_or_a_channel_may_be_simulated(
    generated_baseline: Baseline, policy: PolicySettings, simulated: set[bool]
) -> None:
    """What a model says goes over what all say, and what is said of a channel over both."""
    outputs = judged(theft(60), generated_baseline, policy)
    found, decided = construction(outputs)
    assert {finding.simulated for finding in found} == {decision.simulated for decision in decided} == simulated
    assert [decision.action for decision in decided] == [PERTURB, BLOCK]


def test_a_simulated_decision_takes_the_place_of_no_real_one(generated_baseline: Baseline) -> None:
    """A client is stopped, then the channel is put into shadow mode: nothing is published until the block has expired."""
    shard = Shard(EngineSettings(policy=settings(block_ms=HOUR_MS)), generated_baseline.models)
    real = shard.process(*batches(theft(40))).pending_decisions
    assert real[-1].action == BLOCK
    shard.adopt(settings(block_ms=HOUR_MS, shadow_channels=frozenset({"offset"})))
    during = shard.process(*batches(theft(10, first=1, start_ms=START_MS + 60_000), first_sequence=40))
    assert during.pending_decisions == []
    after = shard.process(*batches(theft(10, first=2, start_ms=START_MS + 2 * HOUR_MS), first_sequence=50))
    assert [(decision.action, decision.simulated) for decision in after.pending_decisions] == [(BLOCK, True)]


def test_a_real_decision_takes_the_place_of_a_simulated_one(generated_baseline: Baseline) -> None:
    """Out of shadow mode a client is stopped by its next evidence, though a simulated block holds."""
    shard = Shard(EngineSettings(policy=settings(shadow_models=frozenset({"alpha"}))), generated_baseline.models)
    assert shard.process(*batches(theft(40))).pending_decisions[-1].simulated
    shard.adopt(settings())
    outputs = shard.process(*batches(theft(10, first=1, start_ms=START_MS + 60_000), first_sequence=40))
    assert [(decision.action, decision.simulated) for decision in outputs.pending_decisions] == [(BLOCK, False)]
    assert outputs.pending_decisions[0].revision > 1


def of(organization: str, lines: list[bytes]) -> list[bytes]:
    changed = []
    for line in lines:
        event = json.loads(line)
        event["client"]["organization"] = organization
        changed.append(json.dumps(event).encode())
    return changed


def test_clients_of_a_listed_organization_are_throttled_at_most(generated_baseline: Baseline) -> None:
    """The list is of organisations, not of clients, and another organisation is stopped."""
    policy = settings(never_block_organizations=frozenset({"partner", "thief"}))
    _, decided = construction(judged(of("partner", theft(60)), generated_baseline, policy))
    assert {decision.action for decision in decided} == {THROTTLE}
    _, others = construction(judged(of("other", theft(60)), generated_baseline, policy))
    assert others[-1].action == BLOCK


def test_each_setting_changes_the_version() -> None:
    """Equal settings have one version, whatever the order of their lists."""
    changes: list[dict[str, Any]] = [
        {},
        {"shadow": True},
        {"never_block": frozenset({"a"})},
        {"never_block_organizations": frozenset({"a"})},
        {"shadow_channels": frozenset({"a"})},
        {"new_stops_per_minute": 60},
        {"stopped_share": 0.5},
        {"block_ms": 1},
    ]
    assert len({settings(**change).version for change in changes}) == len(changes)
    one, other = (settings(never_block=frozenset(names)) for names in ("abc", "cba"))
    assert one.version == other.version
    assert len(one.version) == 12
