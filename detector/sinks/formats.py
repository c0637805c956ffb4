"""The formats by name, and the encoders that turn a document into one line."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, get_args

from detector.contracts import Alert, Decision, rfc3339, to_json
from detector.sinks import cef, hec, ocsf
from detector.sinks.elastic.documents import documents
from detector.sinks.hec import Envelope
from detector.sinks.message import Document, Kind

Format = Literal["native", "ecs", "ocsf", "cef", "hec"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)


def encoder(name: Format, envelope: Envelope | None = None) -> Callable[[Document], bytes]:
    r"""Return the encoder of a document to one line of UTF-8, without its line break.

    ``native`` is the document of the contract. ``ecs`` is the same for an alert, which is an ECS document already; a decision
    is the document that Elasticsearch gets. ``hec`` is the native document in Splunk's envelope.

    >>> from detector.sinks.sample import sample_alert
    >>> encoder("cef")(sample_alert())[:6], encoder("native")(sample_alert())[:14]
    (b'CEF:0|', b'{"@timestamp":')
    """
    makers: Mapping[Format, Callable[[Document], bytes]] = {
        "native": to_json,
        "ecs": _ecs,
        "ocsf": lambda document: _json(ocsf.render(document)),
        "cef": lambda document: cef.render(document).encode(),
        "hec": lambda document: _json(hec.render(document, envelope)),
    }
    return makers[name]


def enveloped(name: Format, envelope: Envelope) -> Callable[[Document], bytes]:
    """Return the encoder of a document to a Splunk event, with the format `name` inside the envelope."""
    if name == "cef":
        return lambda document: _json(hec.render(document, envelope, cef.render(document)))
    if name in {"ocsf", "ecs"}:
        inner = encoder(name)
        return lambda document: _json(hec.render(document, envelope, json.loads(inner(document))))
    return encoder("hec", envelope)


def read(kind: Kind, data: bytes) -> Document:
    """Read a document from the topic of its kind; raises `ValueError` (pydantic's `ValidationError`) for anything else."""
    try:
        return Alert.model_validate_json(data) if kind == "alert" else Decision.model_validate_json(data)
    except (TypeError, OverflowError, RecursionError) as error:  # raised by a validator that got an unexpected value
        raise ValueError(f"not a document: {error}") from error


def _ecs(document: Document) -> bytes:
    if isinstance(document, Alert):
        return to_json(document)
    content = json.loads(documents("decision", to_json(document), "default", rfc3339(0))[0].source)
    del content["event"]["ingested"]  # whoever ingests it knows when
    return _json(content)


def _json(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
