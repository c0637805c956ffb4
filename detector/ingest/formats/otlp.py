"""OTLP, the protocol of OpenTelemetry, in JSON and protobuf -> the spans and log records in it, with plain attributes."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Final, NamedTuple

from detector.ingest.formats.event import UnusableError

__all__ = ["Entry", "entries_of", "events_of", "from_protobuf", "hex_id"]

_NO_LIBRARY: Final = "OTLP in protobuf needs a library: install the extra `otel`, or have the exporter write JSON"
_HEX: Final = re.compile(r"([0-9a-fA-F]{16}){1,2}")
_DEEPEST: Final = 16
_KINDS: Final = (("resourceSpans", "scopeSpans", "spans"), ("resourceLogs", "scopeLogs", "logRecords"))


class Entry(NamedTuple):
    """A span or a log record as JSON writes it, its own attributes and those of its resource."""

    raw: Mapping[str, Any]
    attributes: dict[str, Any]
    resource: dict[str, Any]


def entries_of(document: Any) -> Iterator[Entry]:
    """Yield the spans and log records of an export; what is not as it should be is left out."""
    if not isinstance(document, dict):
        return
    for outer, middle, inner in _KINDS:
        for group in _objects(document.get(outer)):
            owner = group.get("resource")
            resource = plain(owner.get("attributes")) if isinstance(owner, dict) else {}
            for scope in _objects(group.get(middle)):
                for raw in _objects(scope.get(inner)):
                    yield Entry(raw, plain(raw.get("attributes")), resource)


def events_of(entry: Entry) -> Iterator[Entry]:
    """Yield the events within a span."""
    yield from entries_of({"resourceLogs": [{"scopeLogs": [{"logRecords": entry.raw.get("events")}]}]})


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def plain(attributes: Any) -> dict[str, Any]:
    """Return a list of attributes as an object.

    >>> plain([{"key": "a", "value": {"intValue": "7"}}])
    {'a': 7}
    """
    return _pairs(attributes, 0)


def _pairs(attributes: Any, depth: int) -> dict[str, Any]:
    return {pair["key"]: _value(pair.get("value"), depth) for pair in _objects(attributes) if isinstance(pair.get("key"), str)}


def _value(value: Any, depth: int) -> Any:
    if not isinstance(value, dict) or not value or depth > _DEEPEST:
        return None
    kind, content = next(iter(value.items()))
    if kind == "intValue" and isinstance(content, str):
        return int(content) if content.lstrip("-").isdecimal() and len(content) <= 20 else None
    if kind == "arrayValue":
        values = content.get("values") if isinstance(content, dict) else None
        return [_value(entry, depth + 1) for entry in values] if isinstance(values, list) else []
    if kind == "kvlistValue":
        return _pairs(content.get("values"), depth + 1) if isinstance(content, dict) else {}
    return content


def hex_id(value: Any) -> str:
    """Return the id of a trace or a span in hexadecimal, also where a generic library wrote it as base64; empty without one.

    >>> hex_id("eee19b7ec3c1b174"), hex_id("7uGbfsPBsXQ=")
    ('eee19b7ec3c1b174', 'eee19b7ec3c1b174')
    """
    if not isinstance(value, str) or not value:
        return ""
    if _HEX.fullmatch(value):
        return value.lower()
    try:
        return base64.b64decode(value, validate=True).hex()
    except (binascii.Error, ValueError):
        return value


def from_protobuf(value: bytes) -> Any:
    """Return an export in protobuf as JSON writes it. Raises `UnusableError` where it is none, or without the library."""
    try:
        json_format = import_module("google.protobuf.json_format")
        service = "opentelemetry.proto.collector"
        spans_type = import_module(f"{service}.trace.v1.trace_service_pb2").ExportTraceServiceRequest
        logs_type = import_module(f"{service}.logs.v1.logs_service_pb2").ExportLogsServiceRequest
        broken = import_module("google.protobuf.message").DecodeError
    except ImportError:
        raise UnusableError("encoding", _NO_LIBRARY) from None
    try:
        spans = spans_type.FromString(value)
        of_scopes = (span for group in spans.resource_spans for scope in group.scope_spans for span in scope.spans)
        if any(span.trace_id or span.start_time_unix_nano for span in of_scopes):
            return json_format.MessageToDict(spans)
    except (broken, json_format.Error, ValueError):
        pass  # log records are no spans
    try:
        return json_format.MessageToDict(logs_type.FromString(value))
    except (broken, json_format.Error, ValueError) as error:
        raise UnusableError("encoding", f"neither JSON nor OTLP in protobuf: {error}") from None
