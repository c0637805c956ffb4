"""OpenTelemetry's GenAI conventions in OTLP: spans and log records of calls of language models, as JSON or protocol buffers.

Prompts and answers are opt-in there (``gen_ai.input.messages``, ``gen_ai.output.messages``); without them a call counts for
its client as one without an input. The client is ``enduser.id`` or ``user.id``, which instrumentation sets. Other spans share
the file and are left out. Protocol buffers need the extra ``otel``. Source: OpenTelemetry semantic conventions for GenAI
(development), OTLP 1.5 (JSON: ids in hex, times in nanoseconds as text).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from detector.ingest.formats.call import Call, Caller, Payload, Skip
from detector.ingest.formats.decoder import Format, Record
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.fields import mapping, text
from detector.ingest.formats.serving import Found, ServingDecoder, parse_json

__all__ = ["FORMAT"]

_OPERATIONS: Final = frozenset({"chat", "text_completion", "generate_content", "embeddings"})
_MOST_DEPTH: Final = 16
_PROTOBUF: Final = "a request in protocol buffers: pip install 'model-extraction-detector[otel]'"


class OtelDecoder(ServingDecoder):
    """Decodes export requests of traces and of logs; the model is ``gen_ai.request.model``."""

    def document(self, record: Record) -> Any:
        """Parse JSON, or an export request in protocol buffers, whose spans or log records are turned into the same."""
        value = record.value.lstrip()
        kind = record.header("content-type") or ""
        if value[:1] in {b"{", b"["} and "protobuf" not in kind:
            return parse_json(record.value)
        return _of_protobuf(record.value)

    def calls(self, record: Record, document: Any) -> Iterable[Found]:
        """Return the calls among spans and log records."""
        del record
        if not isinstance(document, Mapping):
            raise UnusableError("schema", "not an export request of OTLP")
        entries = list(_entries(document))
        if not entries and document.keys().isdisjoint({"resourceSpans", "resourceLogs", "resource_spans", "resource_logs"}):
            raise UnusableError("schema", "neither resourceSpans nor resourceLogs")
        for shared, entry in entries:
            yield _call(shared, entry)


def _entries(document: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], Mapping[str, Any]]]:
    """Yield spans and log records, each with the attributes of its resource."""
    for kind, scope, name in (("resourceSpans", "scopeSpans", "spans"), ("resourceLogs", "scopeLogs", "logRecords")):
        for resource in _list(document.get(kind)):
            shared = _attributes(mapping(resource.get("resource")).get("attributes"))
            for group in _list(resource.get(scope)):
                for entry in _list(group.get(name)):
                    yield shared, entry


def _list(value: Any) -> list[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []


def _attributes(entries: Any) -> dict[str, Any]:
    found = {}
    for entry in _list(entries):
        key = text(entry.get("key"))
        if key is not None:
            found[key] = _value(entry.get("value"), 0)
    return found


def _value(value: Any, depth: int) -> Any:
    """Return what an attribute's value means; whole numbers are texts in JSON."""
    if not isinstance(value, Mapping) or depth > _MOST_DEPTH:
        return None
    for key, found in value.items():
        if key in {"stringValue", "boolValue", "doubleValue", "bytesValue"}:
            return found
        if key == "intValue":
            return int(found) if str(found).lstrip("-").isdecimal() and len(str(found)) < 25 else None
        if key == "arrayValue":
            values = mapping(found).get("values")
            return [_value(entry, depth + 1) for entry in values] if isinstance(values, list) else []
        if key == "kvlistValue":
            values = _list(mapping(found).get("values"))
            return {str(entry.get("key")): _value(entry.get("value"), depth + 1) for entry in values}
    return None


def _call(shared: Mapping[str, Any], entry: Mapping[str, Any]) -> Found:
    own = _attributes(entry.get("attributes"))
    body = _value(entry.get("body"), 0)
    if isinstance(body, Mapping):
        own = {**body, **own}
    for event in _list(entry.get("events")):
        own = {**_attributes(event.get("attributes")), **own}
    known = {**shared, **own}
    operation = text(known.get("gen_ai.operation.name"))
    if operation not in _OPERATIONS and not (operation is None and "gen_ai.request.model" in own):
        return Skip("no call of a model")
    start, end = text(entry.get("startTimeUnixNano")), text(entry.get("endTimeUnixNano"))
    failure = text(known.get("error.type"))
    whole = start is not None and end is not None and start.isdecimal() and end.isdecimal() and max(len(start), len(end)) < 25
    asked = known.get("gen_ai.input.messages") or known.get("gen_ai.prompt")
    return Call(
        id=text(known.get("gen_ai.response.id")) or text(entry.get("spanId")) or "",
        time=_time(start, entry.get("timeUnixNano"), entry.get("observedTimeUnixNano")),
        model=text(known.get("gen_ai.request.model")) or text(known.get("gen_ai.response.model")),
        version=text(known.get("gen_ai.response.model")),
        request=_messages(asked),
        response=_answer(known),
        caller=Caller(
            id=text(known.get("enduser.id")) or text(known.get("user.id")) or text(known.get("enduser.pseudo.id")),
            type="user",
            ip=text(known.get("client.address")),
            user_agent=text(known.get("user_agent.original")),
        ),
        document={"attributes": known},
        latency_ms=(int(end) - int(start)) / 1e6 if whole and start and end and int(end) >= int(start) else None,
        failure=f"the call failed: {failure}" if failure else None,
    )


def _time(*nanoseconds: Any) -> int | None:
    """Return the first time that is given; 0 means that it is missing."""
    for value in nanoseconds:
        found = text(value)
        if found is not None and found.isdecimal() and len(found) < 25 and int(found) > 0:
            return int(found)
    return None


def _messages(messages: Any) -> Payload | None:
    messages = _parsed(messages)
    if isinstance(messages, str) and messages:
        return Payload({"prompt": messages})
    return Payload({"messages": messages}) if isinstance(messages, list) and messages else None


def _answer(known: Mapping[str, Any]) -> Payload | None:
    messages = _parsed(known.get("gen_ai.output.messages") or known.get("gen_ai.completion"))
    if isinstance(messages, str) and messages:
        return Payload({"predictions": [{"text": messages}]})
    if not isinstance(messages, list) or not messages or not isinstance(messages[0], Mapping):
        return None
    parts = messages[0].get("parts", messages[0].get("content"))
    if isinstance(parts, list):
        said = "".join(str(part.get("content", part.get("text", ""))) for part in parts if isinstance(part, Mapping))
        return Payload({"predictions": [{"text": said}]})
    return Payload({"predictions": [{"text": parts}]}) if isinstance(parts, str) else None


def _parsed(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip()[:1] in {"[", "{"}:
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _of_protobuf(value: bytes) -> Any:
    try:
        from google.protobuf.json_format import MessageToDict  # noqa: PLC0415  # an extra
        from google.protobuf.message import DecodeError  # noqa: PLC0415
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest  # noqa: PLC0415
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest  # noqa: PLC0415
    except ImportError:
        raise UnusableError("schema", _PROTOBUF) from None
    for kind in (ExportTraceServiceRequest, ExportLogsServiceRequest):
        try:
            found: dict[str, Any] = MessageToDict(kind.FromString(value))
        except (DecodeError, ValueError, RecursionError):
            continue
        if next(_entries(found), None) is not None and _plausible(found):
            return found
    raise UnusableError("schema", "neither JSON nor an export request of OTLP in protocol buffers")


def _plausible(document: Mapping[str, Any]) -> bool:
    """Spans and log records have the same numbers of fields: a span has a start, and a log record of another kind has none."""
    return all(
        "startTimeUnixNano" in entry or "timeUnixNano" in entry or "observedTimeUnixNano" in entry
        for _, entry in _entries(document)
    )


def _recognize(record: Record, document: Any) -> str | None:
    if isinstance(document, Mapping) and not document.keys().isdisjoint({"resourceSpans", "resourceLogs"}):
        return "resourceSpans or resourceLogs, as OTLP has them"
    if "protobuf" in (record.header("content-type") or ""):
        return "OTLP in protocol buffers"
    return None


FORMAT = Format("otel", "OpenTelemetry GenAI in OTLP, JSON or protocol buffers", OtelDecoder, _recognize)
