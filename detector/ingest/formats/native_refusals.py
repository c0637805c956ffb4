"""Why a record of the native format is refused: what is wrong in it, and where."""

import json
from typing import Any, NamedTuple

import msgspec
from pydantic_core import ErrorDetails

from detector.contracts.event import FLOAT32_BOUND
from detector.ingest.formats.event import (
    DETAIL_CHARACTERS,
    DecodedEvent,
    EventClient,
    EventInput,
    EventModel,
    EventOutput,
    EventPerturbed,
    Refusal,
    refuse,
)

__all__ = ["breaks_rule", "malformed", "refusal_of"]


class _NotANumber(NamedTuple):
    token: str


def refusal_of(error: msgspec.ValidationError) -> Refusal:
    """Say what typed decoding found wrong, and where."""
    what, _, place = str(error).partition(" - at `$")
    return refuse("schema", f"{place.strip('.`') or 'record'}: {what}")


def malformed(record: bytes) -> Refusal | None:
    """Say why these bytes are not JSON, None where they are."""
    if not record.strip():
        return Refusal("json", "empty record")
    try:
        text = record.decode()
    except UnicodeDecodeError as error:
        return Refusal("encoding", f"byte {error.start}: 0x{record[error.start]:02x} is not UTF-8 ({error.reason})")
    if text.startswith("\ufeff"):
        return Refusal("json", "begins with a byte order mark")
    try:
        # Integers of any length are JSON, but the interpreter refuses to convert very long ones.
        document = json.loads(text, parse_int=float, parse_constant=_NotANumber)
    except RecursionError:
        return Refusal("json", "nested too deep")
    except json.JSONDecodeError as error:
        return refuse("json", f"character {error.pos}: {error.msg}")
    return _unreadable_value(document)


def _unreadable_value(document: Any) -> Refusal | None:
    """Find what the parser let through although it is not JSON: NaN, infinities, and halves of surrogate pairs."""
    open_values: list[tuple[str, Any]] = [("", document)]
    while open_values:
        path, value = open_values.pop()
        if isinstance(value, _NotANumber):
            return refuse("not_finite", f"{path or 'record'}: {value.token}")
        if isinstance(value, str) and not _encodable(value):
            return refuse("encoding", f"{path or 'record'}: half of a surrogate pair")
        if isinstance(value, list):
            open_values.extend((f"{path}[{i}]", value[i]) for i in range(len(value) - 1, -1, -1))
        elif isinstance(value, dict):
            for key, below in reversed(value.items()):
                if not _encodable(key):
                    return refuse("encoding", f"{path or 'record'}: half of a surrogate pair in a field name")
                open_values.append((f"{path}.{key}"[-DETAIL_CHARACTERS:] if path else key[:DETAIL_CHARACTERS], below))
    return None


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_FIELDS = frozenset(
    name
    for part in (DecodedEvent, EventClient, EventModel, EventInput, EventOutput, EventPerturbed)
    for name in part.__struct_fields__
)


def breaks_rule(errors: list[ErrorDetails]) -> Refusal:
    """Say which rule of the reference a record breaks first, and where; `errors` are those of one validation."""
    first = errors[0]
    if first["type"] == "json_invalid":
        said = first["msg"].removeprefix("Invalid JSON: ")
        if "recursion" in said:
            return Refusal("json", "nested too deep")
        return refuse("not_finite" if "number out of range" in said else "json", said)
    path = _path(first)
    # A field that may have several types is reported once per type; what fits one type but breaks its rule says more.
    here = [error for error in errors if _path(error) == path]
    telling = [error for error in here if not error["type"].endswith("_type")] or here
    if any(map(_not_finite, telling)):
        return refuse("not_finite", f"{path}: not finite in float32")
    reasons = dict.fromkeys(error["msg"].removeprefix("Value error, ") for error in telling)
    return refuse("schema", f"{path}: {'; or '.join(reasons)}")


def _path(error: ErrorDetails) -> str:
    """Write the place like ``input.vector[2]``, without the names of types that stand in it."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"] if _names_a_place(part)]
    return "".join(parts).removeprefix(".") or "record"


def _names_a_place(part: int | str) -> bool:
    return isinstance(part, int) or part in _FIELDS


def _not_finite(error: ErrorDetails) -> bool:
    if error["type"] == "finite_number":
        return True
    if error["type"] in {"less_than", "greater_than"}:
        return bool(abs(error["input"]) >= FLOAT32_BOUND)
    return error["loc"][-1:] == ("vector_b64",) and "infinity" in error["msg"]
