"""Documents for Elasticsearch, made of the records in the topics.

An alert is an ECS document already; it gets the configured namespace and ``event.ingested``, by which Elastic's own rules find
alerts that arrive late. A decision stays as it is under ``detector.decision`` and gets the ECS fields to find it by. The
client's figures come from its alerts: one sample for each, with numbers where the alert has one opaque object. Clients that
raise no alert leave no samples.

Little is checked here: fields of later versions pass, and Elasticsearch refuses what the mapping cannot hold.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from detector.contracts.ecs import ECS_VERSION
from detector.errors import NoDocumentError
from detector.sinks.message import Kind

ALERTS: Final = "logs-detector.alert"
DECISIONS: Final = "logs-detector.decision"
CLIENTS: Final = "metrics-detector.client"
DETAIL_CHARACTERS: Final = 200
LONGEST_ID: Final = 512  # bytes; Elasticsearch refuses the whole request for a longer one

_TYPES: Final = {"allow": "allowed", "alert": "info", "perturb": "allowed", "throttle": "denied", "block": "denied"}
_JSON = msgspec.json.Decoder()


@dataclass(frozen=True, slots=True)
class ElasticDocument:
    """A document for one data stream: `id` is the same whenever the same record is read; `source` is JSON on one line."""

    stream: str
    id: str
    source: bytes


def documents(kind: Kind, record: bytes, namespace: str, ingested: str) -> list[ElasticDocument]:
    """Return the documents of one record; `ingested` is the time now, in RFC 3339.

    Raises `NoDocumentError` for a record that is not of this kind.

    >>> documents("decision", b"[1]", "default", "2026-05-04T10:31:07.412Z")
    Traceback (most recent call last):
    detector.errors.NoDocumentError: not an object
    """
    try:
        content = _JSON.decode(record)
    except (msgspec.DecodeError, RecursionError) as error:
        raise NoDocumentError("json", str(error)) from error
    except UnicodeDecodeError as error:
        raise NoDocumentError("json", "not UTF-8 text") from error
    if not isinstance(content, dict):
        raise NoDocumentError("schema", "not an object")
    makers: Mapping[Kind, Callable[..., list[ElasticDocument]]] = {"alert": _of_alert, "decision": _of_decision}
    try:
        return makers[kind](content, namespace, ingested)
    except NoDocumentError:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        # Not everything that decodes can be encoded: numbers of thousands of digits, deep nesting, half a surrogate pair.
        raise NoDocumentError("schema", f"cannot be written again: {error}"[:DETAIL_CHARACTERS]) from error


def _of_alert(alert: dict[str, Any], namespace: str, ingested: str) -> list[ElasticDocument]:
    event = _object(alert, "event")
    name = _id(event, "id")
    _text(alert, "@timestamp")
    event["ingested"] = ingested
    alert["data_stream"] = _stream("logs", "detector.alert", namespace)
    found = [_document(ALERTS, namespace, name, alert)]
    details = alert.get("detector")
    if isinstance(details, dict) and isinstance(details.get("features"), dict):
        found.append(_document(CLIENTS, namespace, name, _sample(alert, details, namespace, ingested)))
    return found


def _sample(alert: dict[str, Any], details: dict[str, Any], namespace: str, ingested: str) -> dict[str, Any]:
    """Return a client's figures at one alert."""
    kept = (
        "queries",
        "score",
        "action",
        "look",
        "features",
        "baseline_version",
        "config_version",
        "shadow",
        "odometer",
        "cost",
    )
    sample: dict[str, Any] = {
        "@timestamp": alert["@timestamp"],
        "ecs": {"version": ECS_VERSION},
        "data_stream": _stream("metrics", "detector.client", namespace),
        "event": {
            "kind": "metric",
            "module": "detector",
            "dataset": "detector.client",
            "ingested": ingested,
            "risk_score": alert["event"].get("risk_score"),
        },
        "user": alert.get("user"),
        "service": alert.get("service"),
        "organization": alert.get("organization"),
        "detector": {name: details[name] for name in kept if name in details} | {"alert_id": alert["event"]["id"]},
    }
    return {name: value for name, value in sample.items() if value is not None}


def _of_decision(decision: dict[str, Any], namespace: str, ingested: str) -> list[ElasticDocument]:
    name = _id(decision, "decision_id")
    subject = _object(decision, "subject")
    reason = _object(decision, "reason")
    action, who = _text(decision, "action"), _text(subject, "id")
    simulated = decision.get("simulated") is True
    scope = decision.get("scope")
    models = scope.get("models") if isinstance(scope, dict) else None
    risk = decision.get("risk")
    place = f"on model {', '.join(map(str, models))}" if isinstance(models, list) else "on every model"
    whose = f"{kind} {who}" if isinstance(kind := subject.get("type"), str) else who
    document: dict[str, Any] = {
        "@timestamp": _text(decision, "issued_at"),
        "ecs": {"version": ECS_VERSION},
        "data_stream": _stream("logs", "detector.decision", namespace),
        "message": f"{'Would ' if simulated else ''}{action} {whose} {place}",
        "event": {
            "id": name,
            "kind": "event",
            "category": ["intrusion_detection", "api"],
            "type": ["allowed" if simulated else _TYPES.get(action, "info")],
            "action": action,
            "outcome": "success",
            "module": "detector",
            "dataset": "detector.decision",
            "provider": "detector",
            "code": reason.get("code"),
            "reason": reason.get("admin"),
            "risk_score": risk.get("score") if isinstance(risk, dict) else None,
            "ingested": ingested,
        },
        "rule": {"id": reason.get("code")},
        "service": {"name": models, "type": "ml-model"} if isinstance(models, list) else None,
        "observer": {"vendor": "detector", "product": "detector", "type": "ids"},
        "labels": {"shadow": "true" if simulated else "false"},
        "tags": ["model-extraction"],
        "detector": {"decision": decision},
        **_who(subject.get("type"), who),
    }
    # The same decision has the same id; a later one about the same subject has another, or at least another revision.
    key = f"{name}.{decision.get('revision')}"
    return [_document(DECISIONS, namespace, key, {field: value for field, value in document.items() if value is not None})]


def _who(kind: Any, name: str) -> dict[str, Any]:
    """Return the ECS fields for a subject; a network is left to ``detector.decision``."""
    if kind == "ip":
        return {"source": {"address": name}}
    if kind == "organization":
        return {"organization": {"id": name}}
    if kind in ("client", "user", "api_key"):  # a tuple, not a set: the value may be unhashable
        return {"user": {"id": name, "name": name}, "related": {"user": [name]}}
    return {}


def _stream(kind: str, dataset: str, namespace: str) -> dict[str, str]:
    return {"type": kind, "dataset": dataset, "namespace": namespace}


def _document(stream: str, namespace: str, name: str, content: dict[str, Any]) -> ElasticDocument:
    return ElasticDocument(f"{stream}-{namespace}", name, msgspec.json.encode(content))


def _object(content: dict[str, Any], name: str) -> dict[str, Any]:
    found = content.get(name)
    if not isinstance(found, dict):
        raise NoDocumentError("schema", f"{name} is missing or no object")
    return found


def _text(content: dict[str, Any], name: str) -> str:
    found = content.get(name)
    if not isinstance(found, str) or not found:
        raise NoDocumentError("schema", f"{name} is missing or no text")
    return found


def _id(content: dict[str, Any], name: str) -> str:
    found = _text(content, name)
    if len(found.encode(errors="surrogatepass")) > LONGEST_ID - 24:  # a revision may follow
        raise NoDocumentError("schema", f"{name} is longer than Elasticsearch takes")
    return found
