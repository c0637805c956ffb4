"""Decisions for tests, as detection and operators publish them."""

import uuid
from typing import Any

from detector.contracts.decision import Action, Decision, Member, Origin, Parameters, Reason, Scope, Subject, SubjectType
from detector.contracts.document import to_json
from detector.contracts.moment import rfc3339

NOW_MS = 1_800_000_000_000
HOUR_MS = 3_600_000


def decision(
    client: str = "acme",
    action: Action = "block",
    *,
    revision: int = 1,
    models: tuple[str, ...] | None = ("fraud",),
    kind: SubjectType = "client",
    address: str | None = None,
    issued_ms: int = NOW_MS,
    expires_ms: int | None = NOW_MS + HOUR_MS,
    origin: Origin = "detector",
    simulated: bool = False,
    routes: tuple[str, ...] | None = None,
    rate: int = 60,
    status: int | None = None,
    retry_after: int | None = None,
    members: tuple[Member, ...] | None = None,
) -> Decision:
    """Return a decision; each argument changes one field."""
    return Decision(
        decision_id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{kind}:{client}:{revision}")),
        revision=revision,
        subject=Subject(type=kind, id=client, address=address),
        members=members,
        scope=None if models is None and routes is None else Scope(models=models, routes=routes),
        action=action,
        parameters=Parameters(
            requests_per_minute=rate if action == "throttle" else None, status_code=status, retry_after_seconds=retry_after
        ),
        issued_at=rfc3339(issued_ms),
        expires_at=None if expires_ms is None else rfc3339(expires_ms),
        reason=Reason(code="extraction.offset", admin="flat steps"),
        origin=origin,
        actor="ops" if origin == "manual" else None,
        simulated=simulated,
    )


def value(client: str = "acme", action: Action = "block", **changes: Any) -> bytes:
    """Return the same as the value of a record."""
    return to_json(decision(client, action, **changes))
