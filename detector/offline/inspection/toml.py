"""Settings as TOML, with a comment where one says why."""

import json
import re
from collections.abc import Mapping
from typing import Any

from detector.names import one_line

__all__ = ["written"]

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def written(content: Mapping[str, Any], notes: Mapping[str, str]) -> list[str]:
    """Return a document's lines; `notes` are comments by the dotted place of the table or key that they are about.

    >>> written({"ingest": {"format": "kserve", "clients": [{"header": "x-user"}]}}, {"ingest.format": "seen"})
    ['[ingest]', 'format = "kserve"  # seen', '', '[[ingest.clients]]', 'header = "x-user"']
    """
    lines: list[str] = []
    _table(content, "", "", notes, lines)
    return lines[1:] if lines[:1] == [""] else lines


def _table(content: Mapping[str, Any], name: str, place: str, notes: Mapping[str, str], lines: list[str]) -> None:
    tables = {key: value for key, value in content.items() if isinstance(value, Mapping) or _is_tables(value)}
    for key, value in content.items():
        if key not in tables:
            lines.append(f"{_key(key)} = {_value(value)}{_note(notes, _under(place, key))}")
    for key, value in tables.items():
        inner, below = (f"{name}.{_key(key)}" if name else _key(key)), _under(place, key)
        if isinstance(value, Mapping):
            if not value:
                continue
            note = notes.get(below)
            lines += ["", *([f"# {one_line(note)}"] if note else [])]
            if any(not isinstance(one, Mapping) and not _is_tables(one) for one in value.values()):
                lines.append(f"[{inner}]")
            else:
                lines.pop()
            _table(value, inner, below, notes, lines)
            continue
        for at, entry in enumerate(value):
            note = notes.get(f"{below}.{at}")
            lines += ["", *([f"# {one_line(note)}"] if note else []), f"[[{inner}]]"]
            _table(entry, inner, f"{below}.{at}", notes, lines)


def _under(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _is_tables(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(entry, Mapping) for entry in value)


def _note(notes: Mapping[str, str], place: str) -> str:
    note = notes.get(place)
    return f"  # {one_line(note)}" if note else ""


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _text(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return _text(str(value))


def _text(text: str) -> str:
    whole = text.encode(errors="replace").decode()  # half a surrogate pair is no character of TOML
    return "".join(
        character if character.isprintable() else f"\\U{ord(character):08x}"
        for character in json.dumps(whole, ensure_ascii=False)
    )
