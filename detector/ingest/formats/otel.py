"""Spans and log records of OpenTelemetry's conventions for generative models, as OTLP in JSON or protobuf.

The texts stand in ``gen_ai.input.messages`` and ``gen_ai.output.messages``, or in an older form (see `otel_messages`);
instrumentations leave them out unless told otherwise. The client is ``enduser.id`` or ``user.id``, as the application set it;
whether it can be trusted is for ``[policy] trust_clients`` to say. Other spans and log records in the same export are left out.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from detector.ingest.formats.bodies import parsed
from detector.ingest.formats.call import Call, Caller, Payload, Skip
from detector.ingest.formats.decoder import Format, Record
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.identity import text_of
from detector.ingest.formats.otel_messages import older_messages
from detector.ingest.formats.otlp import Entry, entries_of, events_of, from_protobuf, hex_id
from detector.ingest.formats.prompts import prompts_of
from detector.ingest.formats.serving import Found, ServingDecoder

__all__ = ["FORMAT"]

_ROOTS: Final = {"resourceSpans", "resourceLogs"}
_OPERATIONS: Final = {"chat", "text_completion", "generate_content", "embeddings"}
_DETAILS: Final = "gen_ai.client.inference.operation.details"
_IDENTITIES: Final = ("enduser.id", "user.id", "enduser.pseudo.id")
_HEADER: Final = "http.request.header."
_PRINTABLE_START: Final = re.compile(rb"[\s\xef\xbb\xbf]*[\[{]")


class OtelDecoder(ServingDecoder):
    """Decodes exports of spans and of log records; a call is a span or an event that asks a model."""

    def document(self, record: Record) -> Any:
        """Parse JSON, or protobuf where it is none."""
        if _PRINTABLE_START.match(record.value) or not record.value:
            return self.parsed(record)
        return from_protobuf(record.value)

    def calls(self, record: Record, document: Any) -> Iterable[Found]:
        """Return the calls of models in an export."""
        del record
        if not isinstance(document, dict) or not document.keys() & _ROOTS:
            raise UnusableError("schema", "neither resourceSpans nor resourceLogs")
        if not any(document.get(root) for root in _ROOTS):
            yield Skip("an empty export")
        for entry in entries_of(document):
            yield _call(entry) if _asks(entry) else Skip("asks no model")


def _asks(entry: Entry) -> bool:
    operation = text_of(entry.attributes.get("gen_ai.operation.name"))
    if "startTimeUnixNano" not in entry.raw:  # a log record
        return _DETAILS in (entry.raw.get("eventName"), entry.attributes.get("event.name")) and operation in (
            *_OPERATIONS,
            None,
        )
    return operation in _OPERATIONS if operation is not None else "gen_ai.request.model" in entry.attributes


def _call(entry: Entry) -> Call:
    raw = entry.raw
    told = _told(entry)
    start = _nanoseconds(raw.get("startTimeUnixNano")) or _nanoseconds(raw.get("timeUnixNano"))
    start = start or _nanoseconds(raw.get("observedTimeUnixNano"))
    end = _nanoseconds(raw.get("endTimeUnixNano"))
    ids = [text for name in ("traceId", "spanId") if (text := hex_id(raw.get(name)))]
    status = told.get("http.response.status_code")
    return Call(
        id=text_of(told.get("gen_ai.response.id")) or "-".join(ids),
        time=None if start is None else str(start),
        model=text_of(told.get("gen_ai.request.model")) or text_of(told.get("gen_ai.response.model")),
        request=_request(told),
        response=_response(told),
        caller=_caller(told),
        headers={
            name.removeprefix(_HEADER).lower(): header
            for name, value in told.items()
            if name.startswith(_HEADER) and (header := text_of(value))
        },
        document={"name": raw.get("name"), "attributes": told, "resource": entry.resource},
        status=status if isinstance(status, int) else None,
        latency_ms=None if start is None or end is None or end < start else (end - start) / 1e6,
        failure=_failure(raw, told),
    )


def _told(entry: Entry) -> dict[str, Any]:
    """Return the attributes of a span and of the events within it that carry its texts; of a log record, of its body too."""
    told = dict(entry.attributes)
    for event in events_of(entry):
        told.update({name: value for name, value in event.attributes.items() if name.startswith("gen_ai.")})
    return {**older_messages(entry), **told}


def _nanoseconds(value: Any) -> int | None:
    """Return a time, which is a text in OTLP; zero stands for none."""
    if isinstance(value, str) and value.isdecimal() and len(value) <= 20:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 64 else None


def _messages(value: Any) -> Any:
    """Return messages parsed; as they are where they cannot be, so that the call is refused with its owner."""
    try:
        return parsed(Payload(value)) if isinstance(value, str) else value
    except (UnusableError, RecursionError):
        return None


def _request(told: Mapping[str, Any]) -> Payload | None:
    given = told.get("gen_ai.input.messages", told.get("gen_ai.prompt"))
    messages = _messages(given)
    if isinstance(given, str) and not isinstance(messages, list):
        return Payload(given) if given.lstrip()[:1] in ("[", "{") else Payload({"prompt": given}) if given else None
    system = _messages(told.get("gen_ai.system_instructions"))
    several = isinstance(messages, list) and all(isinstance(entry, str) for entry in messages)
    key = "prompt" if several else "messages"
    prompts = prompts_of({key: messages, "system": system})
    return Payload({"prompt": prompts}) if prompts else None


def _response(told: Mapping[str, Any]) -> Payload | None:
    given = told.get("gen_ai.output.messages", told.get("gen_ai.completion"))
    messages = _messages(given)
    if isinstance(messages, list) and messages and isinstance(messages[0], dict):
        return Payload({"choices": [{"message": message} for message in messages]})
    if isinstance(given, str) and given:
        return Payload(given) if given.lstrip()[:1] in ("[", "{") else Payload({"choices": [{"text": given}]})
    return None


def _caller(told: Mapping[str, Any]) -> Caller:
    name = next((found for key in _IDENTITIES if (found := text_of(told.get(key)))), None)
    return Caller(
        id=name,
        type="app_user" if name else None,
        ip=text_of(told.get("client.address")),
        user_agent=text_of(told.get("user_agent.original")),
    )


def _failure(raw: Mapping[str, Any], told: Mapping[str, Any]) -> str | None:
    if error := text_of(told.get("error.type")):
        return f"the call failed: {error}"
    status = raw.get("status")
    failed = isinstance(status, dict) and status.get("code") in (2, "2", "STATUS_CODE_ERROR")
    return "the call failed" if failed else None


def _recognize(record: Record, document: Any) -> str | None:
    del record
    if isinstance(document, dict):
        for entry in entries_of(document):
            if any(name.startswith("gen_ai.") for name in entry.attributes):
                return "resourceSpans or resourceLogs with attributes gen_ai.*"
    return None


FORMAT = Format("otel", "OpenTelemetry spans and logs of generative models, as OTLP JSON or protobuf", OtelDecoder, _recognize)
