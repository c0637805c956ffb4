"""Manual decisions: what a person decided, as the record that gateways read.

Each has an actor and a reason, an end unless it shall hold until it is lifted, and a key of its own (`Decision.key`), so the
detector goes on writing under its own and cannot undo it. Lifting publishes an ``allow`` that lasts as long as what it lifts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

from detector.contracts.decision import THROTTLED_TOO, Action, Decision, Member, Parameters, Reason, Scope, Subject, SubjectType
from detector.contracts.limits import ID_CHARACTERS
from detector.contracts.moment import LAST_MS, rfc3339
from detector.decisions.register import Held, Register, Target
from detector.errors import ConfigError
from detector.names import printable

__all__ = ["LIFT_MS", "REASON_CHARACTERS", "Order", "compose", "lifts"]

REASON_CHARACTERS: Final = 1000
LIFT_MS: Final = 300_000
"""How long the ``allow`` of a lift lasts at least: gateways whose clocks differ have read it by then."""

_NAMESPACE: Final[UUID] = uuid5(NAMESPACE_URL, "urn:detector:manual:v1")
_CODES: Final[dict[Action, str]] = {
    "allow": "manual.allow",
    "alert": "manual.alert",
    "throttle": "manual.throttle",
    "perturb": "manual.perturb",
    "block": "manual.block",
}


@dataclass(frozen=True, slots=True)
class Order:
    """What a person wants: the action about a subject, for some models or for all (none named), and until when.

    Raises `ConfigError` where actor or reason are missing or too long: a decision that nobody stands behind is not published.
    """

    target: Target
    models: tuple[str, ...]
    action: Action
    actor: str
    reason: str
    expires_ms: int | None
    told: str | None = None
    parameters: Parameters | None = field(default=None)
    simulated: bool = False
    code: str | None = None

    def __post_init__(self) -> None:
        """Check what has to be there."""
        _require("actor", self.actor, ID_CHARACTERS)
        _require("reason", self.reason, REASON_CHARACTERS)
        _require("subject", self.target.id, ID_CHARACTERS)
        for model in self.models:
            _require("model", model, ID_CHARACTERS)


def compose(order: Order, register: Register, now_ms: int) -> Decision:
    """Return the record for an order.

    Its revision is above that of all decisions about the same subject and models, whoever made them: even a reader that keeps
    one record for a subject then takes the latest. About a campaign it names the accounts that the latest decision named, which
    it may outlast. Raises `ConfigError` for an end that has passed.
    """
    if order.expires_ms is not None and not now_ms < order.expires_ms <= LAST_MS:
        raise ConfigError("a decision must end in the future, before the year 10000")
    models = frozenset(order.models) or None
    same = [held for held in register.about(order.target) if held.models == models]
    live = [held for held in same if held.live(now_ms)]
    revision = max((held.revision for held in same), default=0) + 1
    replaced = max(live, key=lambda held: (held.origin == "manual", held.revision), default=None)
    subject_type: SubjectType = order.target.type  # type: ignore[assignment]  # checked by the model
    decision = Decision(
        decision_id=str(UUID(int=0)),
        revision=revision,
        subject=Subject(type=subject_type, id=order.target.id, address=order.target.address),
        members=_members(order, register),
        scope=None if models is None else Scope(models=tuple(sorted(models))),
        action=order.action,
        parameters=order.parameters,
        issued_at=rfc3339(now_ms),
        expires_at=None if order.expires_ms is None else rfc3339(order.expires_ms),
        reason=Reason(code=order.code or _CODES[order.action], admin=order.reason, user=order.told),
        origin="manual",
        actor=order.actor,
        supersedes=None if replaced is None else replaced.decision_id,
        simulated=order.simulated,
    )
    name = "\x1f".join((decision.key, str(revision), decision.issued_at, order.action, order.actor))
    return decision.model_copy(update={"decision_id": str(uuid5(_NAMESPACE, name))})


def lifts(register: Register, target: Target, models: tuple[str, ...], by: tuple[str, str], now_ms: int) -> list[Order]:
    """Return the orders that lift all that is in force about a subject, one for each of its sets of models.

    `by` is the actor and the reason. With `models`, only what holds for exactly these is lifted. The ``allow`` lasts as long as
    the detector's decision would have: until then the detector alerts on the client and does not stop it.

    Raises `ConfigError` where there is nothing to lift.
    """
    # A campaign has a decision of its own about the accounts that may not be stopped: it is lifted as a whole.
    both = [target, Target(target.type, target.id + THROTTLED_TOO)] if target.type == "campaign" else [target]
    about = [held for one in both for held in register.about(one)]
    found = [held for held in about if held.live(now_ms) and held.action != "allow"]
    wanted = [held for held in found if not models or held.models == frozenset(models)]
    if not wanted:
        others = "; ".join(f"{held.action} on {_where(held)}" for held in found)
        campaigns = sorted({printable(held.target.id, ID_CHARACTERS) for held in register.naming(target, now_ms)})
        raise ConfigError(
            f"nothing is in force about {target.type} {target.id!r}"
            + (f" for exactly {', '.join(models)}; in force: {others}" if others else "")
            + (f"; it is named by {', '.join(campaigns)}: lift that, or allow {target.id!r} alone" if campaigns else "")
        )
    by_scope: dict[tuple[Target, frozenset[str] | None], list[Held]] = {}
    for held in wanted:
        by_scope.setdefault((held.target, held.models), []).append(held)
    actor, reason = by
    return [
        Order(whom, tuple(sorted(scope or ())), "allow", actor, reason, _until(held, now_ms), code="manual.lift")
        for (whom, scope), held in by_scope.items()
    ]


def _members(order: Order, register: Register) -> tuple[Member, ...] | None:
    if order.target.type != "campaign" or order.action == "allow":
        return None
    return next((named for held in register.about(order.target) if (named := held.decision.members)), None)


def _until(lifted: Sequence[Held], now_ms: int) -> int | None:
    ends = [held.expires_ms for held in lifted if held.origin != "manual"]
    return None if None in ends else max([now_ms + LIFT_MS, *(end for end in ends if end is not None)])


def _where(held: Held) -> str:
    return "every model" if held.models is None else ", ".join(sorted(held.models))


def _require(name: str, text: str, most: int) -> None:
    if not text.strip():
        raise ConfigError(f"a manual decision needs {'an' if name == 'actor' else 'a'} {name}")
    if len(text) > most:
        raise ConfigError(f"the {name} has {len(text)} characters, at most {most} are kept")
