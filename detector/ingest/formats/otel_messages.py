"""Messages of a span as instrumentations wrote them before ``gen_ai.input.messages``: by number, or an event each.

Two forms are read. Attributes by number: ``gen_ai.prompt.0.role``, ``gen_ai.prompt.0.content``,
``gen_ai.completion.0.content`` (OpenLLMetry). Events within the span: ``gen_ai.user.message`` and its like for what was asked,
``gen_ai.choice`` for what was answered; the text is an attribute of the event, or JSON in ``gen_ai.event.content``. The same
events as log records of their own, apart from the span, are not read: they name neither model nor client.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from detector.ingest.formats.fields import mapping
from detector.ingest.formats.otlp import Entry, events_of

__all__ = ["older_messages"]

_NUMBERED: Final = re.compile(r"gen_ai\.(prompt|completion)\.([0-9]{1,4})\.(.+)")
_CALL: Final = re.compile(r"tool_calls\.([0-9]{1,4})\.(name|arguments)")
_MESSAGE: Final = re.compile(r"gen_ai\.(system|user|assistant|tool)\.message")
_CHOICE: Final = "gen_ai.choice"
_CONTENT: Final = "gen_ai.event.content"
_NAMES: Final = {"prompt": "gen_ai.input.messages", "completion": "gen_ai.output.messages"}


def older_messages(entry: Entry) -> dict[str, list[Any]]:
    """Return the messages of a span under the names that they have today; none where it has none in an older form.

    >>> older_messages(Entry({}, {"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "Why?"}, {}))
    {'gen_ai.input.messages': [{'role': 'user', 'content': 'Why?'}]}
    """
    return {**_of_events(entry), **_numbered(entry.attributes)}


def _numbered(attributes: Mapping[str, Any]) -> dict[str, list[Any]]:
    found: dict[str, dict[int, dict[str, Any]]] = {}
    calls: dict[tuple[str, int], dict[int, dict[str, Any]]] = {}
    for name, value in attributes.items():
        match = _NUMBERED.fullmatch(name)
        if match is None:
            continue
        kind, number, field = match[1], int(match[2]), match[3]
        message = found.setdefault(kind, {}).setdefault(number, {})
        call = _CALL.fullmatch(field)
        if call is not None:
            calls.setdefault((kind, number), {}).setdefault(int(call[1]), {})[call[2]] = value
        else:
            message[field] = _parsed(value) if field == "content" else value
    for (kind, number), named in calls.items():
        found[kind][number]["tool_calls"] = [{"function": named[at]} for at in sorted(named)]
    return {_NAMES[kind]: [messages[number] for number in sorted(messages)] for kind, messages in found.items()}


def _parsed(value: Any) -> Any:
    """Return the parts of a message that are written as JSON; another text as it is."""
    if isinstance(value, str) and value.startswith('[{"'):
        parts = mapping(f'{{"parts": {value}}}').get("parts")
        return value if parts is None else parts
    return value


def _of_events(entry: Entry) -> dict[str, list[Any]]:
    asked: list[Any] = []
    answered: list[tuple[int, int, Any]] = []
    for event in events_of(entry):
        name = event.raw.get("name")
        told = {**event.attributes, **mapping(event.attributes.get(_CONTENT))}
        if name == _CHOICE:
            index = told.get("index")
            given = mapping(told.get("message")) or told.get("message") or told
            message = {"content": given} if isinstance(given, str) else given
            answered.append((index if isinstance(index, int) else 0, len(answered), message))
        elif isinstance(name, str) and (match := _MESSAGE.fullmatch(name)):
            asked.append({"role": match[1], **told})
    answers = [message for *_, message in sorted(answered, key=lambda entry: entry[:2])]
    return {name: messages for name, messages in zip(_NAMES.values(), (asked, answers), strict=True) if messages}
