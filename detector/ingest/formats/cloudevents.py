"""CloudEvents 1.0 as servers log with them: the attributes of a record, wherever its carrier puts them.

Binary over Kafka (headers ``ce_*``), binary over HTTP kept as a dump (headers ``ce-*``, body in base64), structured JSON, and
the rows of KServe's blob storage, which have columns of their own. Source: CloudEvents 1.0.2, HTTP and Kafka bindings; KServe
pkg/logger (blob rows).
"""

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from detector.ingest.formats.call import Payload
from detector.ingest.formats.decoder import Record
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.identity import lowered, text_of
from detector.ingest.formats.tensors import HEADER, json_bytes_of

__all__ = ["CloudEvent", "cloud_event_of", "is_in_headers", "type_of"]

_BLOB: Final = {
    "reqtype": "type",
    "id": "id",
    "sourceuri": "source",
    "inferenceservice": "inferenceservicename",
    "namespace": "namespace",
    "component": "component",
    "endpoint": "endpoint",
    "metadata": "metadata",
    "annotations": "annotations",
    "occurrencetime": "time",
    "recordedtime": "recordedtime",
}
"""Columns of KServe's blob storage, in lower case, and the attributes that they hold."""


class CloudEvent(NamedTuple):
    """Attributes by name in lower case, and the data."""

    attributes: Mapping[str, str]
    data: Payload

    def get(self, name: str) -> str | None:
        """Return an attribute, None without it."""
        return self.attributes.get(name)


def is_in_headers(record: Record) -> bool:
    """Return whether a record's attributes are in its Kafka headers, so that its value is a body."""
    return any(name.casefold() in {"ce_type", "ce-type", "type"} for name, _ in record.headers)


def cloud_event_of(record: Record, document: Any) -> CloudEvent:
    """Return the event in a record, whose value was parsed as `document` where it is no body. Raises `UnusableError`."""
    if is_in_headers(record):
        attributes, headers = _split(record)
        length = json_bytes_of(headers) if HEADER in headers else None
        return CloudEvent(attributes, Payload(record.value, headers.get("content-type", ""), json_bytes=length))
    if not isinstance(document, dict):
        raise UnusableError("schema", "not a CloudEvent: neither headers nor an object with attributes")
    if isinstance(document.get("headers"), dict):
        headers = lowered(document["headers"])
        body = document.get("body", document.get("data"))
        data = _data(body, headers.get("content-type", ""), base64=_in_base64(body))
        return CloudEvent(_attributes(headers), replace(data, json_bytes=json_bytes_of(headers)))
    if "specversion" in document:
        return _structured(document)
    names = {str(name).lower(): value for name, value in document.items()}
    if "bytes" in names and ("reqtype" in names or "id" in names):
        found = {_BLOB[name]: text for name, value in names.items() if name in _BLOB and (text := _text(value))}
        return CloudEvent(found, _data(names["bytes"], _text(names.get("contenttype")) or "", base64=True))
    raise UnusableError("schema", "not a CloudEvent: no specversion, no ce- headers, no bytes")


def type_of(record: Record, document: Any) -> str:
    """Return the type of the event in a record, an empty text where it holds none."""
    try:
        return cloud_event_of(record, document).get("type") or ""
    except UnusableError:
        return ""


def _structured(document: Mapping[str, Any]) -> CloudEvent:
    attributes = {
        str(name).lower(): text
        for name, value in document.items()
        if name not in {"data", "data_base64"} and (text := _text(value))
    }
    kind = attributes.get("datacontenttype", "")
    if "data_base64" in document:
        return CloudEvent(attributes, _data(document["data_base64"], kind, base64=True))
    return CloudEvent(attributes, _data(document.get("data"), kind, base64=False))


def _data(value: Any, content_type: str, *, base64: bool) -> Payload:
    return Payload("" if value is None else value, content_type, base64=base64 and isinstance(value, str))


def _in_base64(body: Any) -> bool:
    """A dump holds bytes in base64; text that is JSON already begins like JSON."""
    return isinstance(body, str) and body.lstrip()[:1] not in {"{", "[", '"'}


def _text(value: Any) -> str | None:
    if isinstance(value, dict):
        return json.dumps(value)
    return text_of(value)


def _split(record: Record) -> tuple[dict[str, str], dict[str, str]]:
    """Return the attributes in the headers of a record, and the other headers; of several with one name the first counts."""
    attributes: dict[str, str] = {}
    others: dict[str, str] = {}
    for name, value in record.headers:
        if value is not None:
            lower = name.lower()
            if lower[:3] in {"ce_", "ce-"}:
                attributes.setdefault(lower[3:], str(value, "utf-8", "replace"))
            else:
                others.setdefault(lower, str(value, "utf-8", "replace"))
    return (attributes, others) if attributes else (others, others)


def _attributes(headers: dict[str, str]) -> dict[str, str]:
    """Return the attributes of headers; Seldon's own Kafka writer leaves the prefix out."""
    return {name[3:]: text for name, text in headers.items() if name[:3] in {"ce-", "ce_"}} or headers
