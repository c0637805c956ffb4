"""A made-up alert and decision, to try out a receiver or to test one."""

from typing import Any

from detector.contracts.alert import Alert, Baseline, Cost, Evidence, Finding, Odometer, compose
from detector.contracts.decision import Action, Decision
from detector.contracts.ecs import Rule, Severity
from detector.contracts.moment import rfc3339

TIME_MS = 1_777_890_667_412
ALERT_ID = "c1d2a0b4-0d5f-5c57-8f0e-1f0a9e3b7c10"
DECISION_ID = "4b0a6f0e-3f55-5a83-9a3a-6a6f1c1d0a02"


def sample_alert(
    *,
    client: str = "acme-batch",
    model: str = "fraud-scorer",
    severity: Severity = "critical",
    action: Action = "block",
    shadow: bool = False,
    ip: str | None = "203.0.113.7",
    alert_id: str = ALERT_ID,
    time_ms: int = TIME_MS,
    evidence: bool = True,
) -> Alert:
    """Return an alert about queries made by flat steps.

    >>> sample_alert(client="reports").message
    'Suspected model extraction: client reports on model fraud-scorer'
    """
    text = "queries are earlier queries moved by one flat step: evidence 31.2, stop at 16.0, after 412 queries"
    shown = (
        Evidence(
            kind="construction",
            name="offset",
            value=31.2,
            baseline=Baseline(low=0.0, median=0.1, high=2.4, threshold=16.0),
            weight=0.9,
            event_ids=("7f1c-0", "7f1c-1"),
            text=text,
        ),
        Evidence(kind="novelty", name="novelty", value=1.4, weight=0.1, text="unlike every known benign client"),
    )
    return compose(
        alert_id=alert_id,
        time_ms=time_ms,
        first_ms=time_ms - 1_747_412,
        client=client,
        model=model,
        severity=severity,
        risk=97.4,
        rule=Rule(
            id="extraction.offset",
            name="Queries made by flat steps",
            version="1",
            description="Queries are earlier queries moved by one flat step.",
        ),
        reason=text,
        finding=Finding(
            queries=412,
            score=31.2,
            action=action,
            look=14,
            evidence=shown if evidence else (),
            features={"distance_mid": -0.25, "near_duplicate_rate": 0.5},
            baseline_version="2026-05-01.1",
            config_version="9f2c",
            shadow=shadow,
            odometer=Odometer(lead=0.71, low=0.47, high=0.95, queries=379),
            cost=Cost(leaked=177500.0, low=117500.0, high=237500.0, currency="EUR"),
        ),
        model_version="7",
        organization="acme",
        ip=ip,
        observer_version="0.1.0",
    )


def sample_decision(*, action: Action = "block", revision: int = 2, time_ms: int = TIME_MS, **changes: Any) -> Decision:
    """Return a decision about the client of `sample_alert`; `changes` replace fields of the document.

    >>> sample_decision().key
    'client:acme-batch:fraud-scorer'
    """
    document: dict[str, Any] = {
        "schema_version": 1,
        "decision_id": DECISION_ID,
        "revision": revision,
        "subject": {"type": "client", "id": "acme-batch"},
        "scope": {"models": ["fraud-scorer"]},
        "action": action,
        "parameters": {"requests_per_minute": 30, "retry_after_seconds": 60, "status_code": 403},
        "issued_at": rfc3339(time_ms),
        "expires_at": rfc3339(time_ms + 86_400_000),
        "reason": {
            "code": "extraction.offset",
            "admin": "queries are earlier queries moved by one flat step",
            "user": "Access suspended. Contact support with reference 4b0a6f0e.",
        },
        "risk": {"score": 97.4, "level": "HIGH"},
        "origin": "detector",
        "alert_id": ALERT_ID,
        "simulated": False,
    }
    return Decision.model_validate(document | changes)
