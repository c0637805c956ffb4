"""The message: an alert or a decision in the format of one receiver, ready to be sent."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from detector.contracts import Alert, Decision, parse_rfc3339
from detector.contracts.decision import Action
from detector.contracts.ecs import SEVERITY, Severity

Kind = Literal["alert", "decision"]
Document = Alert | Decision

SEVERITIES: Final[tuple[Severity, ...]] = tuple(SEVERITY)
"""From the lowest to the highest."""

_BY_CODE: Final[Mapping[int, Severity]] = {code: name for name, code in SEVERITY.items()}
_BY_ACTION: Final[Mapping[Action, Severity]] = {
    "allow": "low",
    "alert": "low",
    "throttle": "medium",
    "perturb": "high",
    "block": "critical",
}


@dataclass(frozen=True, slots=True)
class Message:
    """A message: `body` is one line of UTF-8 without its line break; `id` is the same each time it is sent."""

    id: str
    kind: Kind
    time_ms: int
    severity: Severity
    body: bytes


def severity_of(document: Document) -> Severity:
    """Return the severity of a document: an alert names it, a decision has that of its action."""
    return _BY_CODE[document.event.severity] if isinstance(document, Alert) else _BY_ACTION[document.action]


def message(document: Document, body: bytes) -> Message:
    """Wrap a rendered document."""
    if isinstance(document, Alert):
        return Message(document.event.id, "alert", parse_rfc3339(document.timestamp), severity_of(document), body)
    name = f"{document.decision_id}-{document.revision}"
    return Message(name, "decision", document.issued_ms, severity_of(document), body)


def passes(document: Document, least: Severity) -> bool:
    """Return whether a document is severe enough to be sent.

    An ``allow`` always is, since it ends a decision that may have been sent.

    >>> from detector.sinks.sample import sample_alert, sample_decision
    >>> passes(sample_alert(severity="medium"), "high"), passes(sample_decision(action="allow"), "critical")
    (False, True)
    """
    if isinstance(document, Decision) and document.action == "allow":
        return True
    return SEVERITIES.index(severity_of(document)) >= SEVERITIES.index(least)
