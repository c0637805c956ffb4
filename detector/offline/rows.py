"""Rows of a table -> events of the native format, or why a row is none."""

import datetime as dt
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

import numpy as np

from detector.contracts.moment import event_ms, rfc3339
from detector.ingest.formats.answers import answer_of
from detector.ingest.formats.event import DecodedEvent, EventOutput, Refusal, UnusableError, refuse
from detector.ingest.formats.inputs import Inputs
from detector.ingest.formats.native import NativeDecoder
from detector.ingest.formats.serving import time_text
from detector.ingest.schema import InputSchema
from detector.offline.columns import Table

__all__ = ["FIELDS", "Layout", "Reference", "Row", "rows_of"]

FIELDS: Final = (
    "client.ip",
    "client.organization",
    "client.trusted",
    "client.type",
    "client.user_agent",
    "latency_ms",
    "model.version",
    "sampled_rate",
    "status",
)
"""Fields of an event, beyond those with a parameter of their own, that a column may hold."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Which column is what. `inputs` is a list, or one name where that column holds the whole input; so is `probabilities`."""

    inputs: Any
    client: Any
    time: Any
    model: str | None = None
    model_column: Any = None
    label: Any = None
    probabilities: Any = None
    score: Any = None
    event_id: Any = None
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """An event, or why a row is none; `event` is then what there is of it. Rows are counted from 1."""

    number: int
    event: Mapping[str, Any]
    refusal: Refusal | None = None

    def record(self) -> bytes:
        """Return the row as JSON, whatever it holds."""
        return json.dumps(self.event, default=str).encode()


def rows_of(table: Table, layout: Layout, reference: "Reference", zone: dt.tzinfo | None) -> Iterator[Row]:
    """Yield what became of each row, counted from 1; `reference` has the last word on it.

    Raises ValueError for columns that are not there or are of different lengths, and for times that need a `zone`.
    """
    cells = _Cells(table, layout)
    reader = _Reader(layout, zone)
    seen: Counter[bytes] = Counter()
    for at in range(cells.length):
        event: dict[str, Any] = {}
        try:
            event = reader.event(cells, at)
            if "event_id" not in event:
                event = {"event_id": _id(event, seen), **event}
            yield Row(at + 1, reference.checked(event))
        except UnusableError as error:
            yield Row(at + 1, event or cells.shown(at), refuse(error.reason, error.detail))


class _Cells:
    """The columns that a layout names, by what they are."""

    def __init__(self, table: Table, layout: Layout) -> None:
        named = {
            "client": layout.client,
            "time": layout.time,
            "model_column": layout.model_column,
            "label": layout.label,
            "score": layout.score,
            "event_id": layout.event_id,
            **layout.fields,
        }
        self.columns = {part: _column(table, part, name) for part, name in named.items() if name is not None}
        self.inputs = _several(table, "columns", layout.inputs)
        self.chances = _several(table, "probabilities", layout.probabilities)
        lengths = {len(values): name for name, values in (*self.columns.items(), *self.inputs.items(), *self.chances.items())}
        if len(lengths) > 1:
            said = ", ".join(f"{name!r} has {length}" for length, name in sorted(lengths.items()))
            raise ValueError(f"columns of different lengths: {said}")
        self.length = next(iter(lengths), 0)

    def cell(self, part: str, at: int) -> Any:
        """Return a cell, None where no column is named."""
        return self.columns[part][at] if part in self.columns else None

    def shown(self, at: int) -> dict[str, Any]:
        """Return what a row holds, for a dead-letter record."""
        return {str(name): values[at] for name, values in (*self.columns.items(), *self.inputs.items(), *self.chances.items())}


def _column(table: Table, part: str, name: Any) -> list[Any]:
    try:
        return table.values(name)
    except ValueError as error:
        raise ValueError(f"{part}: {error}") from None


def _several(table: Table, part: str, names: Any) -> dict[str, list[Any]]:
    listed = names if isinstance(names, list | tuple) else [] if names is None else [names]
    return {str(name): _column(table, part, name) for name in listed}


class _Reader:
    """Puts the cells of a row together as an event."""

    def __init__(self, layout: Layout, zone: dt.tzinfo | None) -> None:
        self._layout = layout
        self._zone = zone

    def event(self, cells: _Cells, at: int) -> dict[str, Any]:
        """Return the event of a row. Raises `UnusableError` where the row is none."""
        layout = self._layout
        client = _text(cells.cell("client", at))
        if client is None:
            raise UnusableError("unidentified", f"column {layout.client!r}: no client in it")
        model = layout.model if layout.model is not None else _text(cells.cell("model_column", at))
        if model is None:
            raise UnusableError("schema", f"column {layout.model_column!r}: no model in it")
        event: dict[str, Any] = {
            "time": rfc3339(self._time(cells.cell("time", at))),
            "client": {"id": client},
            "model": {"id": model},
            "input": self._input(cells, at),
            "output": self._output(cells, at),
        }
        for path in layout.fields:
            value = cells.cell(path, at)
            if value is not None:
                above, _, name = path.rpartition(".")
                (event[above] if above else event)[name] = _fitting(name, value)
        event_id = _text(cells.cell("event_id", at))
        if layout.event_id is not None and event_id is None:
            raise UnusableError("schema", f"column {layout.event_id!r}: no id in it")
        return event if event_id is None else {"event_id": event_id, **event}

    def _time(self, value: Any) -> int:
        name = self._layout.time
        if value is None:
            raise UnusableError("schema", f"time: column {name!r} is empty")
        if isinstance(value, dt.datetime) and value.tzinfo is None and self._zone is None:
            raise ValueError(f'time: column {name!r} has times without an offset: give zone="UTC", or the name of their zone')
        try:
            if isinstance(value, dt.datetime):
                return self._moment(value)
            if isinstance(value, str):
                text = value.strip()
                if text.isdigit() and len(text) < 25:
                    return event_ms(int(text))
                return event_ms(time_text(text), self._zone)
            if isinstance(value, int | float) and not isinstance(value, bool):
                return event_ms(value)
        except (ValueError, OverflowError) as error:
            raise UnusableError("schema", f"time: {error}") from None
        raise UnusableError("schema", f"time: column {name!r} holds neither a time, a text nor a number")

    def _moment(self, value: dt.datetime) -> int:
        if value.tzinfo is not None:
            return event_ms(value.astimezone(dt.UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z")
        return event_ms(value.isoformat(timespec="milliseconds"), self._zone)

    def _input(self, cells: _Cells, at: int) -> dict[str, Any]:
        if isinstance(self._layout.inputs, list | tuple):
            return {"columns": {name: _single(name, values[at]) for name, values in cells.inputs.items()}}
        ((name, values),) = cells.inputs.items()
        value = values[at]
        if value is None:
            raise UnusableError("schema", f"input: column {name!r} is empty")
        if isinstance(value, str):
            return {"text": value}
        if isinstance(value, Mapping):
            return {"columns": {str(key): _single(str(key), below) for key, below in value.items()}}
        return {"vector": _numbers(name, value)}

    def _output(self, cells: _Cells, at: int) -> dict[str, Any]:
        label, score = _whole(cells.cell("label", at)), _number(cells.cell("score", at))
        chances = self._chances(cells, at)
        if chances is None and score is not None and 0.0 <= score <= 1.0:
            chances = [1.0 - score, score]
        if label is None and chances is None:
            if score is None:
                raise UnusableError("unanswered", "the columns of the answer are empty")
            return {"value": score}
        answer: EventOutput = answer_of({"label": label, "probabilities": chances}, label="label", score="probabilities")
        told = {"label": answer.label, "probabilities": answer.probabilities}
        return {name: value for name, value in told.items() if value is not None}

    def _chances(self, cells: _Cells, at: int) -> Any:
        if not cells.chances:
            return None
        if isinstance(self._layout.probabilities, list | tuple):
            row = [_number(values[at]) for values in cells.chances.values()]
            return None if all(number is None for number in row) else row
        (values,) = cells.chances.values()
        value = values[at]
        return list(value) if isinstance(value, tuple) else value


class Reference:
    """What an event has to be for its readers: with the numbers that they would make of its input, it is decoded.

    Of the models that `schemas` knows, the numbers take the place of the columns.
    """

    def __init__(self, schemas: Mapping[str, InputSchema], *, missing: bool) -> None:
        """Encode inputs as `Inputs` does."""
        self._schemas = schemas
        self._inputs = Inputs(schemas, missing=missing)
        self._decoder = NativeDecoder()

    def checked(self, event: dict[str, Any]) -> dict[str, Any]:
        """Return an event that its readers accept. Raises `UnusableError` with the reason that they would give."""
        model, query = event["model"]["id"], event["input"]
        columns = query.get("columns")
        vector = [1.0] if columns is None else self._inputs.vector(model, columns)
        numbers = query if "vector" in query else {"vector": vector}
        outcome = self._decoder.from_fields({**event, "input": numbers})
        if isinstance(outcome, DecodedEvent) and np.isinf(outcome.input.values()).any():
            outcome = refuse("not_finite", "input: not finite in float32")
        if isinstance(outcome, Refusal):
            raise UnusableError(outcome.reason, outcome.detail)
        return event if columns is None or model not in self._schemas else {**event, "input": numbers}


def _id(event: Mapping[str, Any], seen: Counter[bytes]) -> str:
    """Return an id that the content makes; the same content again is another query, with a number after it."""
    digest = blake2b(json.dumps(event, default=str).encode(errors="replace"), digest_size=12).digest()
    seen[digest] += 1
    return digest.hex() if seen[digest] == 1 else f"{digest.hex()}#{seen[digest]}"


def _whole(value: Any) -> Any:
    """Return an integer that a frame holds as a float, since other rows have none."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _text(value: Any) -> str | None:
    value = _whole(value)
    return None if value is None or isinstance(value, list | tuple | Mapping) or str(value) == "" else str(value)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _single(name: str, value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    if isinstance(value, list | tuple | Mapping):
        raise UnusableError("schema", f"input.{name}: a list or an object; name this column alone, not in a list")
    if isinstance(value, float) and math.isinf(value):
        raise UnusableError("not_finite", f"input.{name}: infinite")
    return value


def _numbers(name: str, values: Any) -> list[float | None]:
    flat = np.asarray(values).ravel().tolist() if isinstance(values, list | tuple) else None
    if not flat or any(isinstance(number, bool) or not isinstance(number, int | float | None) for number in flat):
        raise UnusableError("schema", f"input: column {name!r} holds neither a list of numbers nor a text")
    return flat


def _fitting(name: str, value: Any) -> Any:
    """Return the value of a further field with the type that the native format has for it."""
    if name in {"latency_ms", "sampled_rate", "trusted"}:
        return value
    return _whole(value) if name == "status" else _text(value)
