"""OCSF: an alert as a Detection Finding (class 2004) of the Open Cybersecurity Schema Framework, version 1.7.0.

An alert creates a finding; a decision updates the finding of its alert. A decision without an alert, as a person may make, is a
finding of its own. The profile ``security_control`` says what is done about the client, in `action_id` and `disposition_id`. In
shadow mode nothing is done, so both say observed and logged, whatever the action would have been.

Figures that the schema has no attribute for stand under ``unmapped``. The schema: https://schema.ocsf.io/1.7.0.
"""

from typing import Any, Final

from detector.contracts import Alert, Decision, parse_rfc3339
from detector.contracts.alert import Baseline, Evidence
from detector.contracts.decision import Action
from detector.contracts.ecs import ATLAS_VERSION
from detector.sinks.message import Document, severity_of

VERSION: Final = "1.7.0"
CLASS: Final = 2004

_ACTIVITIES: Final = {1: "Create", 2: "Update"}
_SEVERITIES: Final = {"low": (2, "Low"), "medium": (3, "Medium"), "high": (4, "High"), "critical": (5, "Critical")}
_RISKS: Final = {"low": (1, "Low"), "medium": (2, "Medium"), "high": (3, "High"), "critical": (4, "Critical")}
_ANALYTICS: Final = {
    "novelty": (4, "Learning (ML/DL)"),
    "construction": (2, "Behavioral"),
    "harm": (3, "Statistical"),
}
_OUTCOMES: Final[dict[Action, tuple[int, str, int, str]]] = {
    "allow": (1, "Allowed", 1, "Allowed"),
    "alert": (3, "Observed", 15, "Detected"),
    "throttle": (4, "Modified", 14, "Delayed"),
    "perturb": (4, "Modified", 7, "Custom Action"),
    "block": (2, "Denied", 2, "Blocked"),
}
_SHADOW: Final = (3, "Observed", 17, "Logged")


def render(document: Document) -> dict[str, Any]:
    """Return the finding as plain data.

    >>> from detector.sinks.sample import sample_alert
    >>> finding = render(sample_alert(shadow=True))
    >>> finding["type_uid"], finding["severity"], finding["action"], finding["disposition"]
    (200401, 'Critical', 'Observed', 'Logged')
    """
    return _alert(document) if isinstance(document, Alert) else _decision(document)


def _alert(alert: Alert) -> dict[str, Any]:
    found = alert.detector
    event = alert.event
    start, end = parse_rfc3339(event.start), parse_rfc3339(event.end)
    kind = found.evidence[0].kind if found.evidence else "novelty"
    analytic, analytic_name = _ANALYTICS[kind]
    finding: dict[str, Any] = {
        **_frame(alert, activity=1, uid=event.id, time_ms=parse_rfc3339(alert.timestamp)),
        **_outcome(found.action, simulated=found.shadow),
        "start_time": start,
        "end_time": end,
        "status_id": 1,
        "status": "New",
        "is_alert": True,
        "message": alert.message,
        "risk_score": round(event.risk_score),
        "finding_info": {
            "uid": event.id,
            "title": alert.rule.name,
            "desc": event.reason,
            "types": [alert.rule.category],
            "created_time": parse_rfc3339(event.created),
            "first_seen_time": start,
            "last_seen_time": end,
            "related_events_count": found.queries,
            "analytic": {
                "type_id": analytic,
                "type": analytic_name,
                "uid": alert.rule.id,
                "name": alert.rule.name,
                "version": alert.rule.version,
                **({"desc": alert.rule.description} if alert.rule.description else {}),
            },
            "attacks": _attacks(alert),
        },
        "evidences": [_evidence(alert)],
        "resources": [_model(alert.service.name, alert.service.version)],
        "unmapped": {
            "detector": {
                "score": found.score,
                "look": found.look,
                "features": found.features,
                "baseline_version": found.baseline_version,
                "config_version": found.config_version,
                "shadow": found.shadow,
                **({} if found.odometer is None else {"odometer": found.odometer.model_dump(mode="json")}),
                **({} if found.cost is None else {"cost": found.cost.model_dump(mode="json", exclude_none=True)}),
            }
        },
    }
    if found.evidence:
        usual = [_usual(evidence) for evidence in found.evidence if evidence.baseline != Baseline()]
        finding["anomaly_analyses"] = [
            {
                "analysis_targets": [{"name": alert.user.id, "type": "API client"}],
                "anomalies": [_anomaly(evidence, found.queries) for evidence in found.evidence],
                **({"baselines": usual} if usual else {}),
            }
        ]
    return finding


def _decision(decision: Decision) -> dict[str, Any]:
    finding: dict[str, Any] = {
        **_frame(decision, activity=2, uid=decision.decision_id, time_ms=decision.issued_ms),
        **_outcome(decision.action, simulated=decision.simulated),
        **_status(decision),
        "message": f"{decision.action} {decision.subject.type} {decision.subject.id}",
        "finding_info": {
            "uid": decision.alert_id or decision.decision_id,
            "title": f"Decision: {decision.action}",
            "desc": decision.reason.admin,
            "types": ["model_extraction"],
            "modified_time": decision.issued_ms,
        },
        "unmapped": {"decision": decision.model_dump(mode="json", by_alias=True)},
    }
    if decision.risk is not None and decision.risk.score is not None:
        finding["risk_score"] = round(decision.risk.score)
    if decision.subject.type in {"client", "user", "api_key"}:
        finding["evidences"] = [{"user": {"uid": decision.subject.id, "name": decision.subject.id}}]
    models = decision.scope.models if decision.scope else None
    if models:
        finding["resources"] = [_model(model, None) for model in models]
    return finding


def _frame(document: Document, *, activity: int, uid: str, time_ms: int) -> dict[str, Any]:
    """Return what every finding has."""
    severity, severity_name = _SEVERITIES[severity_of(document)]
    risk, risk_name = _RISKS[severity_of(document)]
    observer = document.observer.version if isinstance(document, Alert) else None
    return {
        "class_uid": CLASS,
        "class_name": "Detection Finding",
        "category_uid": 2,
        "category_name": "Findings",
        "activity_id": activity,
        "activity_name": _ACTIVITIES[activity],
        "type_uid": CLASS * 100 + activity,
        "type_name": f"Detection Finding: {_ACTIVITIES[activity]}",
        "time": time_ms,
        "severity_id": severity,
        "severity": severity_name,
        "risk_level_id": risk,
        "risk_level": risk_name,
        "metadata": {
            "version": VERSION,
            "uid": uid,
            "event_code": document.event.code if isinstance(document, Alert) else document.reason.code,
            "log_name": "detector.alert" if isinstance(document, Alert) else "detector.decision",
            "product": {"name": "detector", "vendor_name": "detector", **({"version": observer} if observer else {})},
            "profiles": ["security_control"],
            **({"labels": list(document.tags)} if isinstance(document, Alert) else {}),
        },
    }


def _outcome(action: Action, *, simulated: bool) -> dict[str, Any]:
    code, name, disposition, disposition_name = _SHADOW if simulated else _OUTCOMES[action]
    return {"action_id": code, "action": name, "disposition_id": disposition, "disposition": disposition_name}


def _status(decision: Decision) -> dict[str, Any]:
    """Return where the finding stands: a person's decision shows that it is looked at, a lift that it is done with."""
    if decision.origin != "manual":
        return {"status_id": 1, "status": "New"}
    if decision.action != "allow":
        return {"status_id": 2, "status": "In Progress"}
    if decision.reason.code.endswith("false_positive"):
        return {"status_id": 3, "status": "Suppressed"}
    return {"status_id": 4, "status": "Resolved"}


def _attacks(alert: Alert) -> list[dict[str, Any]]:
    tactic, technique = alert.threat.tactic, alert.threat.technique
    detail = technique.subtechnique
    return [
        {
            "version": ATLAS_VERSION,
            "tactic": {"uid": tactic.id[0], "name": tactic.name[0], "src_url": tactic.reference[0]},
            "technique": {"uid": technique.id[0], "name": technique.name[0], "src_url": technique.reference[0]},
            "sub_technique": {"uid": detail.id[0], "name": detail.name[0], "src_url": detail.reference[0]},
            "mitigation": {"uid": "AML.M0004", "name": "Restrict Number of AI Model Queries"},
        }
    ]


def _evidence(alert: Alert) -> dict[str, Any]:
    user: dict[str, Any] = {"uid": alert.user.id, "name": alert.user.name}
    if alert.organization is not None:
        user["org"] = {"uid": alert.organization.id}
    service: dict[str, Any] = {"name": alert.service.name}
    if alert.service.version is not None:
        service["version"] = alert.service.version
    examples = [example for evidence in alert.detector.evidence for example in evidence.event_ids]
    return {
        "user": user,
        "api": {"operation": "predict", "service": service},
        **({"src_endpoint": {"ip": alert.source.ip}} if alert.source and alert.source.ip else {}),
        **({"data": {"event_ids": examples}} if examples else {}),
    }


def _model(name: str, version: str | None) -> dict[str, Any]:
    resource: dict[str, Any] = {"type": "ml-model", "uid": name, "name": name, "role_id": 1, "role": "Target"}
    if version is not None:
        resource["version"] = version
    return resource


def _anomaly(evidence: Evidence, queries: int) -> dict[str, Any]:
    return {
        "observation_parameter": evidence.name,
        "observation_type": evidence.kind,
        "observed_pattern": evidence.text,
        "observations": [{"value": f"{evidence.value:g}", "count": queries}],
    }


def _usual(evidence: Evidence) -> dict[str, Any]:
    """Return what benign clients show; the values stand in the order that the pattern names."""
    known = {name: value for name, value in evidence.baseline.model_dump().items() if value is not None}
    return {
        "observation_parameter": evidence.name,
        "observation_type": evidence.kind,
        "observed_pattern": "benign clients: " + ", ".join(known),
        "observations": [{"value": f"{value:g}"} for value in known.values()],
    }
