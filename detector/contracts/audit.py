"""The audit record: who decided what, about whom, and what had been in force before.

An ECS document, as alerts are, so a SIEM takes both by the same road. It is written before the decision: no decision of a
person is published without its trail. Where publishing then fails, a second record says so.
"""

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field

from detector.contracts.decision import Decision
from detector.contracts.document import Document, Texts
from detector.contracts.ecs import TAGS, Ecs, Observer, Outcome
from detector.contracts.moment import Instant

__all__ = ["AUDIT_DATASET", "Audit", "AuditDetails", "AuditEvent", "AuditUser", "Host", "audit_of"]

AUDIT_DATASET: Final = "detector.audit"


class AuditStream(Document):
    """Where Elasticsearch keeps it: ``logs-detector.audit-<namespace>``."""

    type: Literal["logs"] = "logs"
    dataset: Literal["detector.audit"] = AUDIT_DATASET
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9_.]{1,100}$")] = "default"


class AuditEvent(Document):
    """ECS ``event``: a change of what gateways enforce."""

    id: Annotated[str, Field(min_length=1, max_length=512, description="the decision's id, its revision and the outcome")]
    kind: Literal["event"] = "event"
    category: Annotated[tuple[Literal["configuration"]], Field(strict=False)] = ("configuration",)
    type: Annotated[tuple[Literal["change"]], Field(strict=False)] = ("change",)
    action: Annotated[str, Field(description="decision-block, decision-allow, ...")]
    outcome: Annotated[Outcome, Field(description="unknown: about to be published; failure: it was not published")]
    module: Literal["detector"] = "detector"
    dataset: Literal["detector.audit"] = AUDIT_DATASET
    provider: Literal["detector"] = "detector"
    code: str
    reason: Annotated[str, Field(description="the reason that was given")]
    created: Instant


class Named(Document):
    """A user, or another subject, by name."""

    id: str
    name: str


class AuditUser(Document):
    """ECS ``user``: who decided, and about whom (``user.target``)."""

    id: str
    name: str
    target: Named


class Host(Document):
    """ECS ``host``: the machine that the command ran on."""

    hostname: str


class Service(Document):
    """ECS ``service``: the models."""

    name: Texts
    type: Literal["ml-model"] = "ml-model"


class Related(Document):
    """ECS ``related``: values to pivot on."""

    user: Texts


class AuditDetails(Document):
    """Our own object in the document: the decision, and the ones it takes the place of."""

    decision: Decision
    before: Annotated[tuple[Decision, ...], Field(strict=False, description="what was in force about the subject")] = ()
    login: Annotated[str | None, Field(description="operating system account that ran the command")] = None


class Audit(Document):
    """One act of a person. `audit_of` builds it."""

    model_config = ConfigDict(
        title="Audit record of a manual decision",
        json_schema_extra={
            "description": "An ECS document; what ECS has no field for is under detector. The actor is who the person said,"
            " detector.login what the operating system says."
        },
    )

    timestamp: Annotated[Instant, Field(validation_alias="@timestamp", serialization_alias="@timestamp")]
    ecs: Ecs = Ecs()
    data_stream: AuditStream = AuditStream()
    message: str
    event: AuditEvent
    user: AuditUser
    host: Host | None = None
    service: Service | None = None
    observer: Observer = Observer()
    related: Related
    tags: Texts = TAGS
    detector: AuditDetails


def audit_of(
    decision: Decision,
    before: tuple[Decision, ...],
    *,
    outcome: Outcome,
    login: str | None = None,
    host: str | None = None,
    version: str | None = None,
) -> Audit:
    """Return the audit record of a manual decision; `before` is what was in force about the subject.

    Raises ValueError where the decision has no actor.
    """
    if decision.actor is None:
        raise ValueError("a decision without an actor has no audit record")
    models = decision.scope.models if decision.scope is not None else None
    subject = decision.subject
    where = f"model {', '.join(models)}" if models else "every model"
    until = "until it is lifted" if decision.expires_at is None else f"until {decision.expires_at}"
    failed = "not published: " if outcome == "failure" else ""
    return Audit(
        timestamp=decision.issued_at,
        message=f"{failed}{decision.actor}: {decision.action} {subject.type} {subject.id} on {where} {until}",
        event=AuditEvent(
            id=f"{decision.decision_id}.{decision.revision}.{outcome}",
            action=f"decision-{decision.action}",
            outcome=outcome,
            code=decision.reason.code,
            reason=decision.reason.admin,
            created=decision.issued_at,
        ),
        user=AuditUser(id=decision.actor, name=decision.actor, target=Named(id=subject.id, name=subject.id)),
        host=None if host is None else Host(hostname=host),
        service=None if models is None else Service(name=models),
        observer=Observer(version=version),
        related=Related(user=(decision.actor, subject.id)),
        detector=AuditDetails(decision=decision, before=before, login=login),
    )
