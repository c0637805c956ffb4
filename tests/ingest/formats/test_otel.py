"""OTLP in protobuf is read as in JSON; without its library a record says what is missing."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from detector.ingest.formats.decoder import Record, Surroundings, several
from detector.ingest.formats.event import Refusal
from detector.ingest.formats.registry import format_named

ATTRIBUTES = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "gpt-4o",
    "enduser.id": "acme",
    "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": "Hi"}]}]),
    "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": "Hello"}]}]),
}
PAIRS = [{"key": key, "value": {"stringValue": value}} for key, value in ATTRIBUTES.items()]
COMMON = {"traceId": "W47/95gDgQPSabYzgT/GDA==", "spanId": "7uGbfsPBsXQ=", "attributes": PAIRS}
SPAN = {**COMMON, "name": "chat", "startTimeUnixNano": "1777890667412000000", "endTimeUnixNano": "1777890668912000000"}
LOG = {**COMMON, "timeUnixNano": "1777890667412000000", "eventName": "gen_ai.client.inference.operation.details"}
SPANS = {"resourceSpans": [{"scopeSpans": [{"spans": [SPAN]}]}]}
LOGS = {"resourceLogs": [{"scopeLogs": [{"logRecords": [LOG]}]}]}


@pytest.mark.parametrize(("document", "message"), [(SPANS, ExportTraceServiceRequest), (LOGS, ExportLogsServiceRequest)])
def test_protobuf_gives_what_json_gives(document: dict[str, Any], message: type[Any]) -> None:
    """Spans and log records alike; the ids are the same, too."""
    reader = format_named("otel").build(Surroundings())
    value = ParseDict(document, message()).SerializeToString()
    first, second = (several(reader.decode(Record(text))) for text in (json.dumps(document).encode(), value))
    assert not isinstance(first[0], Refusal)
    assert repr(first) == repr(second)
    assert first[0].event_id == "5b8efff798038103d269b633813fc60c-eee19b7ec3c1b174"


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record is kept as a dead letter."""
    monkeypatch.setitem(sys.modules, "opentelemetry.proto.collector.trace.v1.trace_service_pb2", None)
    value = ParseDict(SPANS, ExportTraceServiceRequest()).SerializeToString()
    (refusal,) = several(format_named("otel").build(Surroundings()).decode(Record(value)))
    assert isinstance(refusal, Refusal)
    assert "extra `otel`" in refusal.detail


def test_no_format_claims_the_records_of_another() -> None:
    """Each of the formats of language models and gateways knows its own samples only."""
    names = ("apisix", "litellm", "openai", "otel", "kong", "envoy")
    for name in names:
        file = Path(__file__).parent / "samples" / f"{name}.jsonl"
        for line in file.read_text().splitlines():
            record = json.loads(line).get("record")
            try:
                document = json.loads(record["payload"]) if record else None
            except ValueError:
                continue
            document = document[0] if isinstance(document, list) and document else document
            claimed = {other for other in names if format_named(other).recognize(Record(b""), document)}
            assert claimed <= {name}
