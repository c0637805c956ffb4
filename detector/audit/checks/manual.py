"""Decisions of people: without an end, without a name, without a trail; and policies that take turns."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from detector.audit.check import Check
from detector.audit.result import EXAMPLES, Clear, Finding, Result, Unjudged
from detector.audit.trail import Entry, Trail
from detector.contracts.decision import LADDER
from detector.gate.store import ALLOW

__all__ = ["Manual"]

_RESPONSE: Final = ("AISVS v1.0-C11.3.4",)
_CONTROLS: Final = ("AISVS v1.0-C12.5.3", "ASVS v5.0.0-16.2.1")
_END: Final = ("manual.unlimited", "Decisions of people without an end")
_NAME: Final = ("manual.nobody", "Decisions of people that name nobody")
_TRAIL: Final = ("manual.trail", "Decisions of people without an audit record")
_POLICY: Final = ("policy.turns", "Two policies decide in turns")
TURNS: Final = 4  # more changes of the policy than versions explain, back and forth


class Manual(Check):
    """Looks at the decisions alone."""

    def results(self) -> Iterator[Result]:
        """Say what decisions lack."""
        trail = self.known.trail
        if trail is None:
            why = "no decisions were named: --decisions FILE"
            for name, title in (_END, _POLICY):
                yield Unjudged(name, title, _RESPONSE, why)
            for name, title in (_NAME, _TRAIL):
                yield Unjudged(name, title, _CONTROLS, why)
            return
        manual = [entry for entry in trail.entries if entry.origin == "manual"]
        yield _unlimited(trail)
        yield _nobody(manual)
        yield _without_trail(trail, manual)
        yield _turns(trail)


def _unlimited(trail: Trail) -> Result:
    last: dict[object, Entry] = {}
    for entry in trail.entries:
        held = last.get(entry.record.key)
        if held is None or entry.record.revision > held.record.revision:
            last[entry.record.key] = entry
    forever = [entry for entry in last.values() if entry.is_unlimited and not entry.record.simulated]
    if not forever:
        return Clear(*_END, _RESPONSE, f"each of {len(last):,} subjects' latest decisions ends by itself")
    allowed = [entry for entry in forever if entry.record.rank == ALLOW]
    named = ", ".join(
        f"{LADDER[entry.record.rank]} {entry.record.key.kind} {entry.record.key.subject}" for entry in forever[:EXAMPLES]
    )
    return Finding(
        *_END,
        _RESPONSE,
        "medium" if allowed else "low",
        "an allow without an end holds against all that is ever detected about the subject"
        if allowed
        else "it stays until somebody remembers it",
        f"{len(forever):,} decisions hold until they are lifted, {len(allowed):,} of them allow: {named}",
        "give them an end (--for), or lift them: `detector decisions list` shows them",
        {"decisions": len(forever), "allow": len(allowed)},
        tuple(entry.decision_id for entry in forever[:EXAMPLES]),
    )


def _nobody(manual: list[Entry]) -> Result:
    nobody = [entry for entry in manual if entry.actor is None]
    if not nobody:
        return Clear(*_NAME, _CONTROLS, f"each of {len(manual):,} manual decisions names its actor", {"manual": len(manual)})
    return Finding(
        *_NAME,
        _CONTROLS,
        "high",
        "a gateway obeys them, `detector decisions` writes none without a name, and so they came another way",
        f"{len(nobody):,} of {len(manual):,} manual decisions have no actor",
        "find out who else writes decisions, and let only the service and operators do so (ACLs: the page on the security "
        "model)",
        {"manual": len(manual), "without_actor": len(nobody)},
        tuple(entry.decision_id for entry in nobody[:EXAMPLES]),
    )


def _without_trail(trail: Trail, manual: list[Entry]) -> Result:
    if not manual:
        return Clear(*_TRAIL, _CONTROLS, "no decision is of a person", {"manual": 0})
    if trail.audited is None:
        why = f"there is no audit trail beside {trail.path}: name it in [decisions] audit_file"
        return Unjudged(*_TRAIL, _CONTROLS, why)
    without = [entry for entry in manual if entry.decision_id not in trail.audited]
    figures = {"manual": len(manual), "without_audit_record": len(without)}
    if not without:
        return Clear(*_TRAIL, _CONTROLS, f"each of {len(manual):,} manual decisions has its audit record", figures)
    return Finding(
        *_TRAIL,
        _CONTROLS,
        "high",
        "the audit record is written before the decision, so a decision without one came another way, or its record is gone",
        f"{len(without):,} of {len(manual):,} manual decisions have no audit record",
        "find out who else writes decisions; keep the audit trail where nobody who decides can change it",
        figures,
        tuple(entry.decision_id for entry in without[:EXAMPLES]),
    )


def _turns(trail: Trail) -> Result:
    versions = [entry.policy for entry in trail.entries if entry.policy is not None]
    if not versions:
        return Unjudged(*_POLICY, _RESPONSE, f"no decision of {trail.path} names a policy_version")
    known = len(set(versions))
    changes = sum(before != after for before, after in pairwise(versions))
    figures = {"policy_versions": known, "changes": changes}
    if changes - (known - 1) < TURNS:
        return Clear(*_POLICY, _RESPONSE, f"{known} policy versions, {changes} changes between them", figures)
    return Finding(
        *_POLICY,
        _RESPONSE,
        "medium",
        "versions that follow each other change once; back and forth they are of workers or deployments with different "
        "settings, and what a "
        "client gets depends on which of them decides",
        f"{known} policy versions took turns {changes:,} times",
        "give every worker the same configuration and signal each host after a change; two deployments need two [kafka] "
        "prefixes",
        figures,
    )
