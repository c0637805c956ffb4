"""What the engine finds, as documents that keep to the contracts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from detector.baseline.price import copies_of
from detector.baseline.settings import engine_settings
from detector.baseline.store import Baseline
from detector.config import Config
from detector.contracts import to_json
from detector.contracts.ecs import SEVERITY
from detector.engine.findings import Reading, Report, Unfamiliar
from detector.engine.policy import ACTIONS, ALERT, BLOCK, PERTURB, THROTTLE
from detector.engine.state import PLACES
from detector.sinks import cef, ocsf, render
from detector.testing import MemorySink, watch
from tests.engine.test_guard import crowd
from tests.engine.test_odometer import asks

Lines = Callable[..., list[bytes]]

SCHEMAS = Path(__file__).parents[2] / "schemas"


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((SCHEMAS / name).read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def seen(make_log: Lines, generated_baseline: Baseline) -> MemorySink:
    """Return what a log with every kind of finding leads to."""
    lines = make_log(3, events=700, clients=6)
    return watch(
        lines,
        Config.model_validate({"policy": {"shadow": False, "trust_clients": True, "requests_per_minute": 7}}),
        generated_baseline,
    )


def test_every_alert_and_decision_keeps_to_its_schema(seen: MemorySink) -> None:
    """As bytes, against the published schemas."""
    for documents, schema in ((seen.raised, "alert.v1.json"), (seen.decided, "decision.v1.json")):
        assert documents
        for document in documents:
            assert list(validator(schema).iter_errors(json.loads(to_json(document)))) == []


def test_every_kind_of_finding_is_rendered(seen: MemorySink) -> None:
    """Novelty and several channels, and every action that can be ordered."""
    assert {alert.detector.evidence[0].name for alert in seen.raised} >= {"offset", "bisect", "novelty"}
    assert {decision.action for decision in seen.decided} == {"throttle", "perturb", "block"}


def test_an_alert_says_what_its_finding_says(seen: MemorySink) -> None:
    """Names, severity by action, risk, rule and versions stand where ECS wants them."""
    severity = {"alert": 21, "throttle": 47, "perturb": 73, "block": 99}
    for alert in seen.raised:
        found = alert.detector
        assert alert.event.severity == severity[found.action]
        assert alert.event.code == alert.rule.id == f"extraction.{found.evidence[0].name}"
        assert alert.event.reason == found.evidence[0].text
        assert 0 <= alert.event.risk_score <= 100
        assert alert.event.start <= alert.event.end == alert.timestamp
        assert found.config_version
        assert found.baseline_version not in {"", "none"}
        assert alert.message == f"Suspected model extraction: client {alert.user.id} on model alpha"


def test_a_decision_carries_what_the_gateway_needs(seen: MemorySink) -> None:
    """A rate for a throttle, labels only for a perturbation, a status for a block; the caller learns no threshold."""
    for decision in seen.decided:
        assert decision.parameters is not None
        assert decision.expires_ms is not None
        assert decision.expires_ms > decision.issued_ms
        if decision.action == "throttle":
            assert decision.parameters.requests_per_minute == 7
        elif decision.action == "perturb":
            assert decision.parameters.labels_only
        else:
            assert decision.parameters.status_code == 403
        told = (decision.reason.user or "").lower()
        assert decision.decision_id[:8] in told
        for secret in (*PLACES, "evidence", "score", "threshold"):
            assert secret not in told
        assert "stop at" in decision.reason.admin or "alert at" in decision.reason.admin


@pytest.mark.parametrize(("risk", "level"), [(0.0, "LOW"), (29.9, "LOW"), (30.0, "MEDIUM"), (70.0, "HIGH"), (100.0, "HIGH")])
def test_levels_of_risk(risk: float, level: str) -> None:
    """Three levels, at 30 and 70."""
    assert render._level(risk) == level


def test_every_action_has_a_name_and_a_severity() -> None:
    """The ladder is complete on both sides."""
    assert [render.action_name(action) for action in range(5)] == list(ACTIONS)
    assert [SEVERITY[render.SEVERITIES[action]] for action in (ALERT, THROTTLE, PERTURB, BLOCK)] == [21, 47, 73, 99]


def test_a_client_is_one_plain_object() -> None:
    """Everything that clients.jsonl promises, under its names."""
    line: dict[str, Any] = render.client(Report("c", "m", 9, BLOCK, {"offset": 1.0}, {"step": 2.0}, {"schema": 3}, 1))
    assert line == {
        "client": "c",
        "model": "m",
        "queries": 9,
        "level": "block",
        "evidence": {"offset": 1.0},
        "features": {"step": 2.0},
        "refused": {"schema": 3},
        "reused": 1,
    }
    line = render.client(Report("c", "m", 90, BLOCK, {}, {}, {}, 0, odometer=Reading(87, 0.9, 0.75, 0.512345, 0.98)))
    assert line["odometer"] == {"lead": 0.75, "low": 0.5123, "high": 0.98, "queries": 87}
    stranger = Unfamiliar(2.5, 1, ("step below",))
    line = render.client(Report("c", "m", 9, BLOCK, {}, {}, {}, 0, unfamiliar=stranger))
    assert line["unfamiliar"] == {"score": 2.5, "profile": 1, "features": ["step below"]}


def test_an_alert_says_what_has_leaked_where_that_has_a_value(generated_baseline: Baseline) -> None:
    """The lead times the value, with its interval; without a reading or a value there is no such field."""
    budget = {"odometer": {"degrade_at": 0.2}}
    lines = asks("many", 60)
    plain = watch(lines, Config.model_validate(budget), generated_baseline)
    assert {alert.detector.cost for alert in plain.raised} == {None}
    config = Config.model_validate({**budget, "cost": {"model_value": 250_000, "currency": "CHF"}})
    priced = watch(lines, config, generated_baseline)
    assert priced.raised
    for alert, before in zip(priced.raised, plain.raised, strict=True):
        held, cost = alert.detector.odometer, alert.detector.cost
        assert held is not None
        assert cost is not None
        assert (cost.leaked, cost.low, cost.high) == tuple(round(250_000 * x, 2) for x in (held.lead, held.low, held.high))
        assert cost.currency == "CHF"
        assert list(validator("alert.v1.json").iter_errors(json.loads(to_json(alert)))) == []
        bare = alert.detector.model_copy(update={"cost": None})
        assert alert.model_copy(update={"detector": bare}) == before


def test_an_alert_says_what_was_paid_and_what_a_copy_costs(generated_baseline: Baseline) -> None:
    """At the price of queries, with what policy would do meanwhile; the model needs no value for that."""
    budget = {"odometer": {"degrade_at": 0.2}}
    config = Config.model_validate({**budget, "cost": {"price_per_1000": 1.5}})
    policy = engine_settings(config).policy
    copies = copies_of(generated_baseline, config.cost, policy)
    assert list(copies) == ["alpha"]
    assert (copies["alpha"].amount, copies["alpha"].action) == (round(copies["alpha"].queries * 0.0015, 6), "perturb")
    assert copies_of(generated_baseline, Config().cost, policy) == copies_of(None, config.cost, policy) == {}
    for alert in watch(asks("many", 60), config, generated_baseline).raised:
        cost = alert.detector.cost
        assert cost is not None
        assert (cost.leaked, cost.low, cost.high, cost.currency) == (None, None, None, "EUR")
        assert cost.paid == pytest.approx(alert.detector.queries * 0.0015)
        assert cost.price == copies["alpha"]
        assert list(validator("alert.v1.json").iter_errors(json.loads(to_json(alert)))) == []
        assert "cfp3" not in cef.render(alert)


def test_stops_that_are_held_back_are_an_alert(generated_baseline: Baseline) -> None:
    """It names the model, says how many clients and why, keeps to the schema, and stands where it was found."""
    lines = crowd(3, [0, 0, 0], range(3))
    config = Config.model_validate({"policy": {"new_stops_per_minute": 1}})
    seen = watch(lines, config, generated_baseline)
    (alert,) = (alert for alert in seen.raised if alert.rule.id == "policy.held_back")
    assert list(validator("alert.v1.json").iter_errors(json.loads(to_json(alert)))) == []
    assert alert.message == "Stops held back on model alpha"
    assert alert.event.reason == "1 client is throttled instead of stopped: [policy] new_stops_per_minute allows 1"
    assert alert.detector.features == {"clients_held_back": 1.0}
    assert "|policy.held_back|Stops held back|" in cef.render(alert)
    assert ocsf.render(alert)["finding_info"]["title"] == "Stops held back"
    assert watch(lines, config, generated_baseline, chunk=5).written() == seen.written()
    throttled = next(decision for decision in seen.decided if decision.subject.id == alert.user.id)
    assert "; not stopped: [policy] new_stops_per_minute allows 1" in throttled.reason.admin


def test_decisions_name_the_policy(seen: MemorySink, generated_baseline: Baseline, make_log: Lines) -> None:
    """All of a run name the same, and another budget is another policy."""
    (version,) = {decision.policy_version for decision in seen.decided}
    config = Config.model_validate({"policy": {"false_blocks_per_10000": 2}})
    others = watch(make_log(3, events=700, clients=6), config, generated_baseline)
    assert version not in {decision.policy_version for decision in others.decided}
