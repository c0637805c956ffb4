"""The register: the latest decision of each key, and which of them is in force for a subject.

A register is what a reader of the decisions topic holds. Of each key the highest revision counts. Several keys may be about
one subject: one of the detector, one of a person, for one model or for all. In force is the hardest of them, unless a person
allows: then the detector's do not count until that ends, and afterwards they hold again if they have not expired, too. So the
detector may raise what a person decided, and never lifts it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from pydantic import ValidationError

from detector.contracts.decision import ORIGINS, Decision, Origin, rank

__all__ = ["PRECEDENCE", "Held", "Register", "Target"]

PRECEDENCE: Final[dict[Origin, int]] = {origin: place for place, origin in enumerate(ORIGINS)}
"""Whose ``allow`` holds against whose decisions."""


class Target(NamedTuple):
    """Whom decisions are about; `address` is there where the identity is not vouched for."""

    type: str
    id: str
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """The latest decision of a key; `data` is the record, which a million of keep in less room than what it decodes to."""

    key: str
    target: Target
    models: frozenset[str] | None
    revision: int
    action: str
    origin: Origin
    issued_ms: int
    expires_ms: int | None
    simulated: bool
    decision_id: str
    data: bytes

    @classmethod
    def of(cls, data: bytes) -> "Held":
        """Read a record. Raises ValueError (pydantic's) where it is no decision."""
        found = Decision.model_validate_json(data)
        models = found.scope.models if found.scope is not None else None
        return cls(
            key=found.key,
            target=Target(found.subject.type, found.subject.id, found.subject.address),
            models=None if models is None else frozenset(models),
            revision=found.revision,
            action=found.action,
            origin=found.origin,
            issued_ms=found.issued_ms,
            expires_ms=found.expires_ms,
            simulated=found.simulated,
            decision_id=found.decision_id,
            data=data,
        )

    @property
    def decision(self) -> Decision:
        """The whole decision."""
        return Decision.model_validate_json(self.data)

    def live(self, now_ms: int) -> bool:
        """Tell whether it has not expired."""
        return self.expires_ms is None or now_ms < self.expires_ms

    def covers(self, model: str) -> bool:
        """Tell whether it holds for a model."""
        return self.models is None or model in self.models


class Register:
    """Decisions by key; `unreadable` counts the records that were none, which are left out."""

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}
        self.unreadable = 0

    def take(self, data: bytes | None, key: str | None = None) -> Held | None:
        """Take the next record of the topic or file; return what it changed, None where it changed nothing.

        A record without data is a tombstone, which forgets its `key`. A revision that does not grow is dropped.
        """
        if not data:
            return self._held.pop(key, None) if key is not None else None
        try:
            found = Held.of(data)
        except (ValidationError, ValueError):
            self.unreadable += 1
            return None
        before = self._held.get(found.key)
        if before is not None and before.revision >= found.revision:
            return None
        self._held[found.key] = found
        return found

    def __iter__(self) -> Iterator[Held]:
        """Yield the latest decision of each key."""
        return iter(self._held.values())

    def about(self, target: Target) -> list[Held]:
        """Return the latest decisions about a subject, whoever decided, the latest first."""
        found = [held for held in self._held.values() if held.target == target]
        return sorted(found, key=lambda held: (held.issued_ms, held.revision), reverse=True)

    def naming(self, target: Target, now_ms: int) -> list[Held]:
        """Return the live decisions about campaigns that name a client, the latest first; lifted ones are among them."""
        if target.type != "client":
            return []
        campaigns = (held for held in self._held.values() if held.target.type == "campaign" and held.live(now_ms))
        found = [held for held in campaigns if any(member.id == target.id for member in held.decision.members or ())]
        return sorted(found, key=lambda held: (held.issued_ms, held.revision), reverse=True)

    def in_force(self, target: Target, model: str, now_ms: int) -> Held | None:
        """Return the decision that gateways carry out for queries of a subject to a model, None where there is none.

        Simulated decisions are not carried out. Only decisions about this very subject are looked at: those about its
        organization or campaign are up to the gateway, which knows of them.
        """
        live = [held for held in self.about(target) if held.covers(model) and held.live(now_ms) and not held.simulated]
        least = max((PRECEDENCE[held.origin] for held in live if held.action == "allow"), default=0)
        counted = [held for held in live if PRECEDENCE[held.origin] >= least]
        return max(counted, key=lambda held: (rank(held.action), PRECEDENCE[held.origin]), default=None)

    def overruled(self, held: Held, now_ms: int) -> Held | None:
        """Return the live ``allow`` of a person or an import that holds instead of this one on all its models, if any."""
        for other in self.about(held.target):
            higher = PRECEDENCE[other.origin] > PRECEDENCE[held.origin]
            wide = other.models is None or (held.models is not None and held.models <= other.models)
            if higher and wide and other.action == "allow" and other.live(now_ms) and not other.simulated:
                return other
        return None
