"""The columns of inputs: names, kinds, examples and how much is missing; by name where the log has names, else by place."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detector.config.detection import Kind
from detector.ingest.formats.texts import TEXT_DIMENSION
from detector.ingest.learning import SchemaLearner
from detector.ingest.schema import InputSchema
from detector.ingest.values import is_missing, text_of

__all__ = ["Column", "Columns"]

_MOST_COLUMNS: Final = 1000
_MOST_MODELS: Final = 100
_EXAMPLES: Final = 3
_KEPT: Final = 20  # inputs without names, for examples
_LONGEST: Final = 40  # characters of an example
_OFF: Final = 1e-3  # that the squared length of a text's numbers is off 1, in float32

TEXT: Final = "(the text)"
"""The one column of inputs that are a text."""


@dataclass(slots=True)
class Column:
    """What was seen of a column: in how many inputs it has a value, and the first values that differ."""

    present: int = 0
    examples: list[str] = field(default_factory=list)

    def note(self, value: Any) -> None:
        """Take note of a value."""
        if is_missing(value):
            return
        self.present += 1
        if len(self.examples) < _EXAMPLES:
            text = f"{value:.6g}" if isinstance(value, float) else _shown(value)
            if text not in self.examples:
                self.examples.append(text)


def _shown(value: Any) -> str:
    if not isinstance(value, str | bool | int | float):
        return "a list" if isinstance(value, list | tuple) else "an object"
    text = text_of(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


class _Model:
    def __init__(self) -> None:
        self.inputs = 0
        self.columns: dict[str, Column] = {}

    def note(self, values: Mapping[str, Any]) -> None:
        self.inputs += 1
        for name, value in values.items():
            column = self.columns.get(name)
            if column is None:
                if len(self.columns) >= _MOST_COLUMNS:
                    continue
                column = self.columns[name] = Column()
            column.note(value)


class _Vectors:
    """Inputs of one length that have no names: a text is one column, whatever became of it."""

    def __init__(self, length: int) -> None:
        self.inputs = 0
        self._texts = 0
        self._present = np.zeros(length, np.int64)
        self._first: list[npt.NDArray[np.float32]] = []

    def note(self, vector: npt.NDArray[np.float32]) -> None:
        self.inputs += 1
        self._present += ~np.isnan(vector)
        self._texts += len(vector) == TEXT_DIMENSION and abs(float(vector @ vector) - 1.0) < _OFF
        if len(self._first) < _KEPT:
            self._first.append(vector)

    def columns(self) -> dict[str, Column]:
        length = len(self._present)
        if self._texts == self.inputs:
            return {TEXT: Column(self.inputs, [f"{length} numbers made of it"])}
        found: dict[str, Column] = {}
        for at in range(min(length, _MOST_COLUMNS)):
            column = found[str(at)] = Column()
            for vector in self._first:
                column.note(float(vector[at]))
            column.present = int(self._present[at])
        return found


class Columns(SchemaLearner):
    """Learns schemas as `SchemaLearner` does, and keeps what people want to see of each column."""

    def __init__(self, declared: Mapping[str, InputSchema] | None = None) -> None:
        """Start without having seen anything; `declared` are the schemas that are configured."""
        super().__init__(declared)
        self._named: dict[str, _Model] = {}
        self._placed: dict[tuple[str, int], _Vectors] = {}

    def note(self, model: str, client: str, values: Mapping[str, Any]) -> None:
        """Take note of an input that has names, or texts in some places."""
        super().note(model, client, values)
        seen = self._named.get(model)
        if seen is None:
            if len(self._named) >= _MOST_MODELS:
                return
            seen = self._named[model] = _Model()
        seen.note(values)

    def note_vector(self, model: str, vector: npt.NDArray[np.float32]) -> None:
        """Take note of the numbers that an input became; what has names is not counted twice."""
        if model in self._named:
            return
        key = model, len(vector)
        seen = self._placed.get(key)
        if seen is None:
            if len(self._placed) >= _MOST_MODELS:
                return
            seen = self._placed[key] = _Vectors(len(vector))
        seen.note(vector)

    def named(self) -> dict[str, dict[str, Kind]]:
        """Return the names and kinds of the columns of each model whose inputs have names."""
        return {
            model: dict(zip(schema.names, schema.kinds, strict=True))
            for model, schema in self.schemas().items()
            if model in self._named and not all(name.isdigit() for name in schema.names)
        }

    def shown(self) -> dict[str, list[dict[str, Any]]]:
        """Return the columns of each model: name or place, kind, share of inputs without a value, and examples.

        Places count from 0. Of inputs of several lengths the commonest is shown.
        """
        kinds = {model: dict(zip(schema.names, schema.kinds, strict=True)) for model, schema in self.schemas().items()}
        found: dict[str, list[dict[str, Any]]] = {}
        for (model, _), vectors in sorted(self._placed.items(), key=lambda item: item[1].inputs):
            columns = vectors.columns()
            found[model] = [
                _said(name, "text" if name == TEXT else "number", columns[name], vectors.inputs) for name in columns
            ]
        for model, seen in self._named.items():
            known = kinds.get(model, {})
            found[model] = [
                _said(name, known.get(name, "ignore"), column, seen.inputs) for name, column in seen.columns.items()
            ]
        return found


def _said(name: str, kind: Kind, column: Column, inputs: int) -> dict[str, Any]:
    return {"name": name, "kind": kind, "missing_share": round(1 - column.present / inputs, 4), "examples": column.examples}
