"""Messages of spans in older forms: the same event as from the attributes of today."""

import json
from typing import Any

import pytest

from detector.ingest.formats.decoder import Record, Surroundings, several
from detector.ingest.formats.event import DecodedEvent
from detector.ingest.formats.otel_messages import older_messages
from detector.ingest.formats.otlp import Entry
from detector.ingest.formats.registry import format_named

COMMON = {"gen_ai.request.model": "gpt-4o", "enduser.id": "acme"}
TODAY = {
    "gen_ai.input.messages": json.dumps([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]),
    "gen_ai.output.messages": json.dumps([{"role": "assistant", "content": "Because."}]),
}


def _pairs(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for key, value in attributes.items()
    ]


def _event(attributes: dict[str, Any], events: dict[str, dict[str, Any]] | None = None) -> DecodedEvent:
    span = {
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee19b7ec3c1b174",
        "name": "chat",
        "startTimeUnixNano": "1777890667412000000",
        "attributes": _pairs({**COMMON, **attributes}),
        "events": [{"name": name, "attributes": _pairs(told)} for name, told in (events or {}).items()],
    }
    document = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    (found,) = several(format_named("otel").build(Surroundings()).decode(Record(json.dumps(document).encode())))
    assert isinstance(found, DecodedEvent)
    return found


NUMBERED = {
    "gen_ai.completion.0.content": "Because.",
    "gen_ai.completion.0.finish_reason": "stop",
    "gen_ai.prompt.1.content": "Why?",
    "gen_ai.prompt.1.role": "user",
    "gen_ai.prompt.0.content": "Be brief.",
    "gen_ai.prompt.0.role": "system",
}
EVENTS = {
    "gen_ai.system.message": {"gen_ai.system": "openai", "content": "Be brief."},
    "gen_ai.user.message": {"content": "Why?"},
    "gen_ai.choice": {"index": 0, "finish_reason": "stop", "message": '{"role": "assistant", "content": "Because."}'},
}
CONTENTS = {
    "gen_ai.system.message": {"gen_ai.event.content": '{"role": "system", "content": "Be brief."}'},
    "gen_ai.user.message": {"gen_ai.event.content": '{"role": "user", "content": "Why?"}'},
    "gen_ai.choice": {"gen_ai.event.content": '{"index": 0, "message": {"content": "Because."}}'},
}


@pytest.mark.parametrize(
    ("attributes", "events"),
    [(NUMBERED, None), ({}, EVENTS), ({}, CONTENTS), ({}, {**EVENTS, "gen_ai.choice": {"message": "Because."}})],
)
def test_older_forms_give_the_same_event(attributes: dict[str, Any], events: dict[str, dict[str, Any]] | None) -> None:
    """Numbered attributes in any order, events with attributes, and events with JSON."""
    assert _event(attributes, events) == _event(TODAY)


def test_the_form_of_today_counts_where_both_are_there() -> None:
    """Nothing is said twice."""
    assert _event({**TODAY, "gen_ai.prompt.0.content": "Something else"}) == _event(TODAY)


def test_parts_tools_and_choices() -> None:
    """Parts written as JSON, calls of tools by number, choices by their index."""
    attributes = {
        "gen_ai.prompt.0.content": '[{"type": "text", "text": "Why?"}]',
        "gen_ai.prompt.1.content": '[{"broken',
        "gen_ai.completion.0.tool_calls.0.name": "find",
        "gen_ai.completion.0.tool_calls.0.arguments": "{}",
        "gen_ai.completion.99999.content": "left out",
    }
    assert older_messages(Entry({}, attributes, {})) == {
        "gen_ai.input.messages": [{"content": [{"type": "text", "text": "Why?"}]}, {"content": '[{"broken'}],
        "gen_ai.output.messages": [{"tool_calls": [{"function": {"name": "find", "arguments": "{}"}}]}],
    }
    events = [
        {"name": "gen_ai.choice", "attributes": _pairs({"index": at, "message": text})} for at, text in ((1, "b"), (0, "a"))
    ]
    assert older_messages(Entry({"events": events}, {}, {})) == {"gen_ai.output.messages": [{"content": "a"}, {"content": "b"}]}
    assert older_messages(Entry({"events": [{"name": 7}, None, "x"]}, {"gen_ai.prompt.x": 1}, {})) == {}
