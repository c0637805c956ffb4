r"""CEF: an alert or a decision as one line of the Common Event Format, version 0.

A header of seven fields separated by ``|``, then keys and values. In the header ``|`` and ``\`` are escaped, in values ``=``
and ``\``, and line breaks become ``\n`` and ``\r``; other control characters become spaces, since a line is a record. Keys,
types and lengths are those of the extension dictionary (ArcSight, Implementing Common Event Format, version 25). Values that
are too long are cut; an id that is too long becomes its hash, so that it still identifies the alert.

An IPv6 address goes to ``c6a2``, since ``src`` is for IPv4. The action of a decision in shadow mode is ``simulated block``, so
that a search for ``act=block`` finds only real blocks.
"""

import ipaddress
import re
from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

from detector.contracts import Alert, Decision, parse_rfc3339, rank
from detector.distribution import VERSION
from detector.sinks.message import Document, severity_of

LENGTHS: Final = {
    "act": 63,
    "c6a2Label": 1023,
    "cat": 1023,
    "cfp1Label": 1023,
    "cn1Label": 1023,
    "cn2Label": 1023,
    "cn3Label": 1023,
    "cs1": 4000,
    "cs1Label": 1023,
    "cs2": 4000,
    "cs2Label": 1023,
    "cs3": 4000,
    "cs3Label": 1023,
    "cs4": 4000,
    "cs4Label": 1023,
    "cs5": 4000,
    "cs5Label": 1023,
    "cs6": 4000,
    "cs6Label": 1023,
    "destinationServiceName": 1023,
    "deviceCustomDate1Label": 1023,
    "externalId": 40,
    "msg": 1023,
    "outcome": 63,
    "reason": 1023,
    "shost": 1023,
    "suid": 1023,
    "suser": 1023,
}
"""Longest value of each text key, in bytes of the escaped form."""

_SEVERITIES: Final = {"low": 3, "medium": 6, "high": 8, "critical": 10}
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]")
_ANY_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_VALUE: Final = str.maketrans({"\\": r"\\", "=": r"\=", "\n": r"\n", "\r": r"\r"})


def header(text: str) -> str:
    r"""Escape a field of the header, where line breaks cannot be.

    >>> print(header("a|b\\c\nd"))
    a\|b\\c d
    """
    return _ANY_CONTROL.sub(" ", text).replace("\\", r"\\").replace("|", r"\|")


def value(text: str, most: int | None = None) -> str:
    r"""Escape a value and cut it to `most` bytes, never within a character or an escape.

    >>> print(value("a=b\\c\nd"), value("länger", 3), value("x=y", 2))
    a\=b\\c\nd lä x
    """
    clean = _CONTROL.sub(" ", text)
    escaped = clean.translate(_VALUE)
    if most is None or len(escaped.encode()) <= most:
        return escaped
    kept, size = [], 0
    for character in clean:
        piece = character.translate(_VALUE)
        size += len(piece.encode())
        if size > most:
            break
        kept.append(piece)
    return "".join(kept)


def render(document: Document) -> str:
    """Return the line, without its end.

    >>> from detector.sinks.sample import sample_alert
    >>> print(render(sample_alert())[:92])
    CEF:0|detector|detector|0.1.0|extraction.offset|Suspected model extraction|10|rt=17778906674
    """
    if isinstance(document, Alert):
        code, pairs = document.event.code, _alert(document)
        name = document.rule.name if code.startswith("policy.") else "Suspected model extraction"
    else:
        code, name, pairs = f"decision.{document.action}", f"Decision: {document.action}", _decision(document)
    version = document.observer.version if isinstance(document, Alert) else VERSION
    severity = _SEVERITIES[severity_of(document)]
    front = "|".join(header(field) for field in ("detector", "detector", version or VERSION, code, name))
    return f"CEF:0|{front}|{severity}|" + " ".join(f"{key}={value(text, LENGTHS.get(key))}" for key, text in pairs)


def _alert(alert: Alert) -> Iterator[tuple[str, str]]:
    found, event = alert.detector, alert.event
    yield "rt", str(parse_rfc3339(alert.timestamp))
    yield "start", str(parse_rfc3339(event.start))
    yield "end", str(parse_rfc3339(event.end))
    yield "externalId", _id(event.id)
    yield "cat", alert.rule.category
    yield "act", _act(found.action, simulated=found.shadow)
    yield "outcome", event.outcome
    yield "msg", alert.message
    yield "reason", event.reason
    yield "suid", alert.user.id
    yield "suser", alert.user.name
    if alert.source is not None:
        yield from _source(alert.source.ip, alert.source.address)
    yield "destinationServiceName", alert.service.name
    yield from _labelled("cs1", "model", alert.service.name)
    yield from _labelled("cs2", "rule", alert.rule.name)
    yield from _labelled("cs3", "shadow", "true" if found.shadow else "false")
    if alert.organization is not None:
        yield from _labelled("cs4", "organization", alert.organization.id)
    if alert.service.version is not None:
        yield from _labelled("cs5", "modelVersion", alert.service.version)
    if found.evidence:
        yield from _labelled("cs6", "evidence", ", ".join(f"{entry.name} {entry.value:g}" for entry in found.evidence))
    yield from _labelled("cn1", "riskScore", str(round(event.risk_score)))
    yield from _labelled("cn2", "queries", str(found.queries))
    yield from _labelled("cn3", "look", str(found.look))
    yield from _labelled("cfp1", "score", f"{found.score:.6f}")
    if found.odometer is not None:
        yield from _labelled("cfp2", "lead", f"{found.odometer.lead:.6f}")
    if found.cost is not None:
        if found.cost.leaked is not None:
            yield from _labelled("cfp3", "leaked", f"{found.cost.leaked:.2f}")
        yield from _labelled("flexString1", "currency", found.cost.currency)


def _decision(decision: Decision) -> Iterator[tuple[str, str]]:
    yield "rt", str(decision.issued_ms)
    yield "externalId", _id(decision.decision_id)
    yield "cat", "model_extraction"
    yield "act", _act(decision.action, simulated=decision.simulated)
    yield "reason", decision.reason.admin
    yield "suid", decision.subject.id
    yield "suser", decision.subject.id
    models = decision.scope.models if decision.scope else None
    if models:
        yield from _labelled("cs1", "model", ",".join(models))
    yield from _labelled("cs2", "rule", decision.reason.code)
    yield from _labelled("cs3", "shadow", "true" if decision.simulated else "false")
    yield from _labelled("cs4", "decidedBy", decision.actor or decision.origin)
    if decision.alert_id is not None:
        yield from _labelled("cs5", "alertId", decision.alert_id)
    yield from _labelled("cs6", "subjectType", decision.subject.type)
    if decision.risk is not None and decision.risk.score is not None:
        yield from _labelled("cn1", "riskScore", str(round(decision.risk.score)))
    yield from _labelled("cn2", "revision", str(decision.revision))
    if decision.expires_at is not None:
        yield from _labelled("deviceCustomDate1", "expires", str(parse_rfc3339(decision.expires_at)))


def _labelled(key: str, label: str, text: str) -> Iterator[tuple[str, str]]:
    yield f"{key}Label", label
    yield key, text


def _act(action: str, *, simulated: bool) -> str:
    return f"simulated {action}" if simulated and rank(action) > rank("alert") else action


def _id(text: str) -> str:
    return text if len(value(text).encode()) <= LENGTHS["externalId"] else blake2b(text.encode(), digest_size=20).hexdigest()


def _source(ip: str | None, address: str) -> Iterator[tuple[str, str]]:
    if ip is None:
        yield "shost", address
    elif ipaddress.ip_address(ip).version == 4:
        yield "src", ip
    else:
        yield from _labelled("c6a2", "Source IPv6 Address", ipaddress.ip_address(ip).exploded)
