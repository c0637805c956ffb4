"""HEC: an alert or a decision as an event for Splunk's HTTP Event Collector.

The collector expects an envelope: the time in seconds, the sender, and the event itself. The event is the document of our
contract, or another format. ``fields`` are indexed by Splunk itself, so a search for a client or model needs no parsing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from detector.contracts import Alert, parse_rfc3339
from detector.sinks.message import Document, severity_of


@dataclass(frozen=True, slots=True)
class Envelope:
    """The common fields of one receiver's events; None leaves the choice to the collector's token."""

    host: str | None = None
    source: str = "detector"
    index: str | None = None


def render(document: Document, envelope: Envelope | None = None, event: Any = None) -> dict[str, Any]:
    """Return the event as plain data; `event` replaces the document inside.

    >>> from detector.sinks.sample import sample_decision
    >>> sent = render(sample_decision(), Envelope(index="security"))
    >>> sent["time"], sent["sourcetype"], sent["index"], sent["fields"]["client"]
    (1777890667.412, 'detector:decision', 'security', 'acme-batch')
    """
    around = envelope or Envelope()
    alert = isinstance(document, Alert)
    time_ms = parse_rfc3339(document.timestamp) if isinstance(document, Alert) else document.issued_ms
    return {
        "time": time_ms / 1000,
        **({"host": around.host} if around.host else {}),
        "source": around.source,
        "sourcetype": "detector:alert" if alert else "detector:decision",
        **({"index": around.index} if around.index else {}),
        "event": document.model_dump(mode="json", by_alias=True) if event is None else event,
        "fields": dict(_fields(document)),
    }


def _fields(document: Document) -> Mapping[str, str]:
    """Return the indexed fields; the collector takes text and lists of text only."""
    if isinstance(document, Alert):
        found = document.detector
        return {
            "client": document.user.id,
            "model": document.service.name,
            "action": found.action,
            "severity": severity_of(document),
            "shadow": document.labels.shadow,
        }
    models = document.scope.models if document.scope else None
    return {
        document.subject.type: document.subject.id,
        **({"model": ",".join(models)} if models else {}),
        "action": document.action,
        "severity": severity_of(document),
        "shadow": "true" if document.simulated else "false",
    }
