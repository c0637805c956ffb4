"""The alert: the ECS document, its constants, and the names of our own fields."""

import fnmatch
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from detector.contracts import LADDER, Alert, rank, to_json
from detector.contracts.alert import Baseline, Evidence, Finding, compose, event_type
from detector.contracts.ecs import SEVERITY, Rule, address

GOLDEN = Path(__file__).parents[1] / "golden" / "contracts" / "alerts.jsonl"

# ECS fields that an alert may hold, and whether ECS wants an array.
SINGLE = [
    "@timestamp",
    "ecs.version",
    "data_stream.type",
    "data_stream.dataset",
    "data_stream.namespace",
    "message",
    "event.id",
    "event.kind",
    "event.action",
    "event.outcome",
    "event.module",
    "event.dataset",
    "event.provider",
    "event.code",
    "event.reason",
    "event.severity",
    "event.risk_score",
    "event.risk_score_norm",
    "event.start",
    "event.end",
    "event.created",
    "rule.id",
    "rule.uuid",
    "rule.name",
    "rule.version",
    "rule.category",
    "rule.ruleset",
    "rule.description",
    "rule.reference",
    "threat.framework",
    "user.id",
    "user.name",
    "source.ip",
    "source.address",
    "client.ip",
    "service.name",
    "service.version",
    "service.type",
    "observer.vendor",
    "observer.product",
    "observer.type",
    "observer.version",
    "organization.id",
    "labels.model_id",
    "labels.model_version",
    "labels.shadow",
    "labels.atlas_version",
]
ARRAYS = [
    "event.category",
    "event.type",
    "related.ip",
    "related.user",
    "tags",
    "threat.tactic.id",
    "threat.tactic.name",
    "threat.tactic.reference",
    "threat.technique.id",
    "threat.technique.name",
    "threat.technique.reference",
    "threat.technique.subtechnique.id",
    "threat.technique.subtechnique.name",
    "threat.technique.subtechnique.reference",
]

# Paths that the stock ecs@mappings template gives a type of its own, whatever the value is.
RETYPED = [
    "*.timestamp",
    "*_timestamp",
    "*.not_after",
    "*.not_before",
    "*.accessed",
    "*.created",
    "*.installed",
    "*.creation_date",
    "*.ctime",
    "*.mtime",
    "*.ingested",
    "*.start",
    "*.end",
    "*.ip",
    "*_ip",
    "*.location",
    "*.usage",
    "*.score.*",
    "*_score*",
    "*structured_data",
    "*exports",
    "*imports",
]


def finding(**changes: Any) -> Finding:
    """A finding of a block for construction, with one piece of evidence."""
    facts: dict[str, Any] = {
        "queries": 412,
        "score": 11.25,
        "action": "block",
        "look": 14,
        "evidence": (
            Evidence(
                kind="construction",
                name="flat_offset",
                value=0.7,
                baseline=Baseline(low=0.0, median=0.0, high=0.02, threshold=0.1),
                weight=0.9,
                event_ids=("7f1c-0", "7f1c-1"),
                text="21 of 30 queries are flat steps around an earlier query; benign clients stay below 0.02",
            ),
            Evidence(kind="novelty", name="coverage", value=3.0, weight=0.1, text="further from the data than usual"),
        ),
        "features": {"rate_per_minute": 31.0, "nearest_median": 0.125},
        "baseline_version": "2026-05-01.1",
        "config_version": "9f2c",
        "shadow": False,
    }
    return Finding(**(facts | changes))


RULE = Rule(
    id="extraction.offset",
    uuid="0c0ffb53-2f0a-5f9e-a8d2-6c3f6a6f3b55",
    name="Queries made from earlier queries",
    version="1",
    description="Many queries are an earlier query plus a flat step.",
)


def alert(**changes: Any) -> Alert:
    """An alert with every optional part, before `changes`."""
    facts: dict[str, Any] = {
        "alert_id": "c1d2a0b4-0d5f-5c57-8f0e-1f0a9e3b7c10",
        "time_ms": 1_777_890_667_412,
        "first_ms": 1_777_888_920_000,
        "client": "acme-batch",
        "model": "fraud-scorer",
        "model_version": "7",
        "organization": "acme",
        "ip": "203.0.113.7",
        "severity": "high",
        "risk": 97.0,
        "rule": RULE,
        "reason": "21 of 30 queries are flat steps around an earlier query",
        "finding": finding(),
        "outcome": "success",
        "observer_version": "0.1.0",
    }
    return compose(**(facts | changes))


def least() -> Alert:
    """An alert with no optional part, in shadow mode."""
    return alert(
        model_version=None,
        organization=None,
        ip=None,
        severity="low",
        rule=Rule(id="novelty.coverage", name="Unlike the data", version="1"),
        finding=finding(action="alert", evidence=(), features={}, shadow=True),
        outcome="unknown",
        observer_version=None,
    )


def leaves(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """Flatten nested objects to dotted paths; an array of objects gives the paths of its objects."""
    if isinstance(value, dict):
        return [leaf for key, part in value.items() for leaf in leaves(part, f"{path}.{key}" if path else key)]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [leaf for part in value for leaf in leaves(part, path)]
    return [(path, value)]


def document(made: Alert) -> dict[str, Any]:
    """The alert as decoded JSON."""
    decoded: dict[str, Any] = json.loads(to_json(made))
    return decoded


def test_compose_gives_the_golden_bytes() -> None:
    """The same facts give the same document, byte for byte, with and without optional parts."""
    assert to_json(alert()) + b"\n" + to_json(least()) + b"\n" == GOLDEN.read_bytes()


@pytest.mark.parametrize("made", [alert(), least()], ids=["full", "least"])
def test_only_fields_that_ecs_knows(made: Alert) -> None:
    """Outside `detector` every field is an ECS field, and is an array exactly where ECS has arrays."""
    for path, value in leaves(document(made)):
        if path.startswith("detector."):
            continue
        assert path in (ARRAYS if isinstance(value, list) else SINGLE)


def test_own_fields_keep_their_type_under_ecs_mappings() -> None:
    """No path under `detector` is one that Elastic's stock template would turn into a date, an address or the like."""
    own = [path for path, _ in leaves(document(alert())) if path.startswith("detector.")]
    assert len(own) > 10
    assert [path for path in own for trap in RETYPED if fnmatch.fnmatchcase(path, trap)] == []


def test_no_field_is_null_and_no_key_is_dotted() -> None:
    """Absent parts are left out, and objects are nested rather than written with dotted keys."""
    made = document(least())
    assert None not in [value for _, value in leaves(made)]
    assert {"source", "client", "organization"}.isdisjoint(made)
    assert "." not in "".join(key for part in (made, *made.values()) if isinstance(part, dict) for key in part)


def test_figures_are_floats_on_the_wire() -> None:
    """A whole figure still has its decimal point, or the first document would make the field an integer for ever."""
    text = to_json(alert(risk=97)).decode()
    assert '"risk_score":97.0' in text
    assert '"rate_per_minute":31.0' in text


def test_message_holds_no_figure_that_changes() -> None:
    """Two alerts about the same client and model have the same message, since it names the alert in the SIEM."""
    other = alert(time_ms=1_777_890_700_000, risk=12.5, finding=finding(queries=9000, score=1.0))
    assert other.message == alert().message == "Suspected model extraction: client acme-batch on model fraud-scorer"


def test_severity_takes_the_four_values_of_the_promotion_rule() -> None:
    """Names map to 21, 47, 73 and 99; another number is refused."""
    assert [alert(severity=name).event.severity for name in SEVERITY] == [21, 47, 73, 99]
    broken = document(alert())
    broken["event"]["severity"] = 50
    with pytest.raises(ValidationError):
        Alert.model_validate_json(json.dumps(broken))


@pytest.mark.parametrize("action", LADDER)
def test_shadow_mode_never_claims_to_deny(action: Any) -> None:
    """A shadow alert says info or allowed; a real one says denied exactly for throttle and block."""
    assert event_type(action, shadow=True) != "denied"
    assert (event_type(action, shadow=False) == "denied") == (action in {"throttle", "block"})
    assert event_type(action, shadow=True) == ("info" if rank(action) <= rank("alert") else "allowed")


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("203.0.113.7", True),
        ("2001:db8::7", True),
        ("203.0.113.7:443", False),
        ("fe80::1%eth0", False),
        ("unknown", False),
        ("203.0.113.0/24", False),
        ("203.000.113.7", False),
    ],
)
def test_only_addresses_enter_ip_fields(text: str, valid: bool) -> None:
    """What the log calls an address is kept as text, and enters fields of type ip only if it is one."""
    assert (address(text) == text) is valid
    made = document(alert(ip=text))
    assert made["source"]["address"] == text
    assert ("ip" in made["source"], "client" in made, "ip" in made["related"]) == (valid, valid, valid)


@pytest.mark.parametrize("name", ["Rate", "a.b", "", "first_timestamp", "client_ip", "start", "hit_score", "location"])
def test_feature_names_that_would_be_indexed_wrongly_are_refused(name: str) -> None:
    """A feature's name is one plain word that the stock template leaves alone."""
    with pytest.raises(ValidationError):
        finding(features={name: 1.0})


@given(st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True))
def test_accepted_feature_names_match_no_dynamic_template(name: str) -> None:
    """Whatever name is accepted, its path is none of those that the stock template retypes."""
    try:
        finding(features={name: 1.0})
    except ValidationError:
        return
    assert not any(fnmatch.fnmatchcase(f"detector.features.{name}", trap) for trap in RETYPED)


def test_features_are_written_in_the_order_of_their_names() -> None:
    """The order in which features were computed does not show in the bytes."""
    one, other = {"a": 1.0, "b": 2.0}, {"b": 2.0, "a": 1.0}
    assert to_json(finding(features=one)) == to_json(finding(features=other))


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_figures_are_finite(broken: float) -> None:
    """NaN and infinity, which JSON cannot write, are refused when the alert is built."""
    with pytest.raises(ValidationError):
        finding(score=broken)
    with pytest.raises(ValidationError):
        finding(features={"a": broken})


def test_unknown_fields_and_missing_constants_are_refused() -> None:
    """An alert read back is exactly what we would write: nothing more, and nothing less."""
    more, less = document(alert()), document(alert())
    more["detector"]["note"] = "x"
    del less["threat"]["framework"]
    for broken in (more, less):
        with pytest.raises(ValidationError):
            Alert.model_validate_json(json.dumps(broken))


def test_times_are_written_in_one_form_only() -> None:
    """The same moment in another form of RFC 3339 is refused."""
    broken = document(alert())
    broken["@timestamp"] = "2026-05-04T12:31:07.412+02:00"
    with pytest.raises(ValidationError):
        Alert.model_validate_json(json.dumps(broken))
