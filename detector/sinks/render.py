"""Rendering: findings and pending decisions of the engine as the documents of the contracts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from detector.config import CostSection
from detector.contracts.alert import Alert, Baseline, Cost, Evidence, Odometer, Price, compose
from detector.contracts.alert import Finding as AlertDetails
from detector.contracts.decision import Action, Decision, Level, Member, Parameters, Reason, Risk, Scope, Subject
from detector.contracts.ecs import Rule, Severity
from detector.contracts.moment import rfc3339
from detector.distribution import VERSION
from detector.engine.evidence.registry import TYPES
from detector.engine.findings import Finding, HeldBack, Outputs, PendingDecision, Reading, Report, Unfamiliar
from detector.engine.policy import ACTIONS, ALERT, BLOCK, PERTURB, THROTTLE, PolicySettings

SEVERITIES: Mapping[int, Severity] = {0: "low", ALERT: "low", THROTTLE: "medium", PERTURB: "high", BLOCK: "critical"}


HELD_BACK = Rule(
    id="policy.held_back",
    name="Stops held back",
    version="1",
    description="More clients of a model called for a stop than policy allows; the others are throttled. Either many accounts "
    "copy the model, or traffic has changed and innocent clients look like thieves.",
)
HELD_BACK_RISK = 70.0
NO_COST = CostSection()


@dataclass(frozen=True, slots=True)
class Stamp:
    """The fields of every document that describe the set-up. `copies` are the prices of copies of models, by their ids."""

    baseline_version: str
    config_version: str
    policy: PolicySettings
    cost: CostSection = NO_COST
    copies: Mapping[str, Price] = field(default_factory=dict)


def action_name(action: int) -> Action:
    """Return the name of an action on the ladder."""
    name: Action = ACTIONS[action]  # type: ignore[assignment]  # a test holds the two ladders together
    return name


def alert(finding: Finding, stamp: Stamp) -> Alert:
    """Render a finding as an alert."""
    found = TYPES[finding.evidence]
    code = f"extraction.{finding.evidence}"
    held = None if finding.odometer is None else odometer_of(finding.odometer)
    return compose(
        alert_id=finding.alert_id,
        time_ms=finding.time_ms,
        first_ms=min(finding.first_ms, finding.time_ms),
        client=f"organization:{finding.client}" if finding.subject == "organization" else finding.client,
        model=finding.model,
        severity=SEVERITIES[finding.action],
        risk=finding.risk,
        rule=Rule(id=code, name=found.title, version="1", description=found.description),
        reason=finding.reasons[0].text,
        finding=AlertDetails(
            queries=finding.queries,
            score=finding.score,
            action=action_name(finding.action),
            look=finding.look,
            evidence=tuple(
                Evidence(
                    kind=reason.kind,
                    name=reason.name,
                    value=reason.value,
                    baseline=Baseline(low=reason.low, median=reason.median, high=reason.high, threshold=reason.threshold),
                    weight=reason.weight,
                    event_ids=reason.event_ids,
                    text=reason.text,
                )
                for reason in finding.reasons
            ),
            features=dict(finding.features),
            baseline_version=stamp.baseline_version,
            config_version=stamp.config_version,
            shadow=finding.simulated,
            odometer=held,
            cost=cost_of(held, stamp.cost, finding.queries, stamp.copies.get(finding.model)),
        ),
        model_version=finding.version,
        organization=finding.sender.organization,
        ip=finding.sender.ip,
        message=_message(finding),
        members=tuple(dict.fromkeys(member.client for member in finding.members)),
        observer_version=VERSION,
    )


def cost_of(held: Odometer | None, cost: CostSection, queries: int, price: Price | None) -> Cost | None:
    """Return what a reading is worth, what so many queries cost and what a copy would; None where nobody has said a figure."""
    return Cost.of(held, cost.model_value, cost.currency, cost.price_of(queries), price)


def _message(finding: Finding) -> str | None:
    """Return the name of an alert that is not about one client."""
    if finding.subject == "client":
        return None
    whose = "organization " if finding.subject == "organization" else ""
    return f"Suspected model extraction: {whose}{finding.client} on model {finding.model}"


def held_back(held: HeldBack, stamp: Stamp) -> Alert:
    """Render the news that stops are held back as an alert, about the client whose stop was the latest."""
    return compose(
        alert_id=held.alert_id,
        time_ms=held.time_ms,
        first_ms=held.first_ms,
        client=held.client,
        model=held.model,
        severity="high",
        risk=HELD_BACK_RISK,
        rule=HELD_BACK,
        reason=held.text,
        message=f"Stops held back on model {held.model}",
        finding=AlertDetails(
            queries=held.queries,
            score=float(held.clients),
            action="throttle",
            look=0,
            features={"clients_held_back": float(held.clients)},
            baseline_version=stamp.baseline_version,
            config_version=stamp.config_version,
            shadow=held.simulated,
        ),
        model_version=held.version,
        organization=held.sender.organization,
        ip=held.sender.ip,
        observer_version=VERSION,
    )


def alerts(outputs: Outputs, stamp: Stamp) -> Iterator[Alert]:
    """Render all alerts of sorted outputs, in stream order."""
    held = list(outputs.held_back)
    for finding in outputs.findings:
        while held and (held[0].emitted, held[0].sequence) < (finding.emitted, finding.sequence):
            yield held_back(held.pop(0), stamp)
        yield alert(finding, stamp)
    yield from (held_back(one, stamp) for one in held)


def _parameters(pending: PendingDecision, policy: PolicySettings) -> Parameters:
    if pending.action == THROTTLE:
        rate = policy.requests_per_minute if pending.requests_per_minute is None else pending.requests_per_minute
        return Parameters(requests_per_minute=rate, retry_after_seconds=60)
    if pending.action == PERTURB:
        return Parameters(labels_only=True)
    return Parameters(status_code=403)


def _level(risk: float) -> Level:
    return "HIGH" if risk >= 70 else "MEDIUM" if risk >= 30 else "LOW"


def decision(pending: PendingDecision, stamp: Stamp) -> Decision:
    """Render a pending decision."""
    sentences = {
        THROTTLE: "Request rate limited.",
        PERTURB: "Answers are given with less detail.",
        BLOCK: "Access suspended.",
    }
    return Decision(
        decision_id=pending.decision_id,
        revision=pending.revision,
        subject=Subject(type=pending.subject, id=pending.client, address=pending.address),
        members=tuple(Member(id=member.client, address=member.address) for member in pending.members) or None,
        scope=Scope(models=(pending.model,)),
        action=action_name(pending.action),
        parameters=_parameters(pending, stamp.policy),
        issued_at=rfc3339(pending.issued_ms),
        expires_at=rfc3339(pending.expires_ms),
        reason=Reason(
            code=f"extraction.{pending.evidence}",
            admin=pending.text,
            user=f"{sentences[pending.action]} Contact support with reference {pending.decision_id[:8]}.",
        ),
        risk=Risk(score=pending.risk, level=_level(pending.risk)),
        origin="detector",
        alert_id=pending.alert_id,
        supersedes=pending.supersedes,
        simulated=pending.simulated,
        policy_version=stamp.policy.version,
    )


def client(report: Report) -> dict[str, Any]:
    """Render a client as a line of ``clients.jsonl``."""
    return {
        "client": report.client,
        **({} if report.address is None else {"address": report.address}),
        "model": report.model,
        "queries": report.queries,
        "level": action_name(report.highest),
        "evidence": dict(report.evidence),
        "features": dict(report.features),
        "refused": dict(report.refused),
        "reused": report.reused,
        **({} if report.odometer is None else {"odometer": _odometer(report.odometer)}),
        **({} if report.unfamiliar is None else {"unfamiliar": _unfamiliar(report.unfamiliar)}),
    }


def odometer_of(found: Reading) -> Odometer:
    """Render the highest reading of a client as alerts hold it."""
    return Odometer(**_odometer(found))


def _odometer(found: Reading) -> dict[str, Any]:
    """Render the highest reading of a client."""
    return {
        "lead": round(found.lead, 4),
        "low": round(found.low, 4),
        "high": round(found.high, 4),
        "queries": found.queries,
    }


def _unfamiliar(found: Unfamiliar) -> dict[str, Any]:
    """Render in what a client is unlike every known one; clients of one kind have the same profile and features."""
    return {"score": round(found.score, 4), "profile": found.profile, "features": list(found.features)}
