"""Whose query a refused record was: what can still be read of it.

A query that cannot be used is still a query of its client. So of a refused record the client, the model, the id and the time
are looked for once more, one by one and without any rule but their place. They are found in every record that is JSON, in
whatever encoding, and in one that is cut off if they come before that.
"""

import datetime as dt
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from detector.contracts.limits import ID_CHARACTERS, TEXT_CHARACTERS, USER_AGENT_CHARACTERS
from detector.contracts.moment import event_ms
from detector.ingest.batch import Sender

_OPENING = re.compile(r"\s*\{\s*")
_COLON = re.compile(r"\s*:\s*")
_COMMA = re.compile(r"\s*,\s*")


@dataclass(frozen=True, slots=True)
class Owner:
    """What a refused record says of its origin; `time_ms` is 0 where it has no usable time, `event_id` empty without one."""

    client: str
    model: str | None
    version: str | None
    event_id: str
    time_ms: int
    sender: Sender


def read_owner(record: bytes, zone: dt.tzinfo | None = None) -> Owner | None:
    """Return whose query a record was, or None where it names no client. Never raises; `zone` is that of times without offset.

    Texts longer than the contract allows are cut, so that one client's are still one client's.

    >>> owner = read_owner(b'{"client": {"id": "acme"}, "model": {"id": "fraud"}, "input": {"vector": [NaN]}, "time": "?"}')
    >>> owner.client, owner.model, owner.time_ms
    ('acme', 'fraud', 0)
    >>> read_owner(b"{") is None
    True
    """
    found = _read(record.decode(errors="replace"))
    client, model = _part(found, "client"), _part(found, "model")
    name = _text(client.get("id"), ID_CHARACTERS)
    if not name:
        return None
    trusted = client.get("trusted")
    return Owner(
        client=name,
        model=_text(model.get("id"), ID_CHARACTERS) or None,
        version=_text(model.get("version"), TEXT_CHARACTERS),
        event_id=_text(found.get("event_id"), ID_CHARACTERS) or "",
        time_ms=_time(found.get("time"), zone),
        sender=Sender(
            _text(client.get("type"), TEXT_CHARACTERS),
            trusted if isinstance(trusted, bool) else None,
            _text(client.get("organization"), TEXT_CHARACTERS),
            _text(client.get("ip"), TEXT_CHARACTERS),
            _text(client.get("user_agent"), USER_AGENT_CHARACTERS),
        ),
    )


def _read(text: str) -> dict[str, Any]:
    """Return the fields of a JSON object; of one that is cut off or broken, those that come before that."""
    try:
        found = json.loads(text, parse_int=_integer)
    except RecursionError:
        return {}
    except ValueError:
        return dict(_fields(text))
    return found if isinstance(found, dict) else {}


def _fields(text: str) -> Iterator[tuple[str, Any]]:
    decode = json.JSONDecoder(parse_int=_integer).raw_decode
    separator = _OPENING.match(text)
    while separator is not None:
        try:
            name, end = decode(text, separator.end())
            colon = _COLON.match(text, end)
            if colon is None or not isinstance(name, str):
                return
            value, end = decode(text, colon.end())
        except (ValueError, RecursionError):
            return
        yield name, value
        separator = _COMMA.match(text, end)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 20 else float("inf")


def _part(found: dict[str, Any], name: str) -> dict[str, Any]:
    part = found.get(name)
    return part if isinstance(part, dict) else {}


def _text(value: object, characters: int) -> str | None:
    if not isinstance(value, str):
        return None
    return value.encode(errors="replace").decode()[:characters]  # half of a surrogate pair is no text


def _time(value: object, zone: dt.tzinfo | None) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return 0
    try:
        return event_ms(value, zone)
    except (ValueError, OverflowError):
        return 0
