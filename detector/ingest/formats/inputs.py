"""Inputs -> vectors: numbers by position or by name, as the model got them, in an order that no record decides.

The names of a model's inputs are those that are configured or that the baseline knows; without either, those of the first
query of each model, in its order. A name that is not among them is left out, one that a query lacks is a missing value.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final

import msgspec
import numpy as np

from detector.config.detection import Kind
from detector.ingest.formats.bodies import Instance
from detector.ingest.formats.encoder import TextEncoder
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.nesting import flat
from detector.ingest.formats.pictures import file_in, file_vector, reduced
from detector.ingest.formats.reduction import Grams
from detector.ingest.formats.texts import text_vector
from detector.ingest.learning import SchemaLearner
from detector.ingest.schema import WHOLE, InputSchema
from detector.ingest.values import hashed_code, hours_of, is_missing, number_of, text_of

__all__ = ["Inputs"]

_MOST_MODELS: Final = 1000  # whose names are remembered where nobody declared them
_MOST_VALUES: Final = 1_000_000
_FLOAT: Final = frozenset({float})
_NUMBERS: Final = frozenset({int, float})
_TEXT: Final = frozenset({str})


class Inputs:
    """Turns instances into vectors; one for each thread.

    `schemas` are the columns of each model's inputs. With `missing` False a value that is missing or no number is refused.
    `learner`, where given, sees every input that has names or texts. `encoder`, where given, makes the vectors of texts.

    >>> inputs = Inputs({"fraud": InputSchema(("amount", "age"), ("number", "number"))})
    >>> inputs.vector("fraud", {"age": "44", "amount": 12.5, "note": "x"}), inputs.vector("fraud", [12.5, None])
    ([12.5, 44.0], [12.5, None])
    """

    def __init__(
        self,
        schemas: Mapping[str, InputSchema],
        *,
        missing: bool = True,
        learner: SchemaLearner | None = None,
        encoder: TextEncoder | None = None,
    ) -> None:
        self._schemas = schemas
        self._learned: dict[str, tuple[str, ...]] = {}
        self._missing = missing
        self._learner = learner
        self._numeric = {model for model, schema in schemas.items() if set(schema.kinds) <= {"number"}}
        self._encoder = encoder
        self._grams = Grams()

    def vector(self, model: str, instance: Instance, client: str = "") -> list[float | None]:
        """Return the numbers of an input, None where one is missing. Raises `UnusableError` where there is none at all.

        `client` is who asked, for the learner.
        """
        if type(instance) is list and (numbers := self._plain(model, instance)) is not None:
            return numbers
        file = file_in(instance)
        if file is not None:
            return list(file_vector(file))
        if isinstance(instance, str):
            if self._learner is not None:
                self._learner.note_text(model, client, instance)
            return list(self._of_text(self._schemas.get(model), WHOLE, instance))
        if isinstance(instance, Mapping):
            vector = self._by_name(model, instance, client)
        else:
            vector = self._by_place(model, instance, client)
        if not any(value is not None for value in vector):
            raise UnusableError("schema", "input: all values are missing")
        return vector

    def _plain(self, model: str, instance: Sequence[Any]) -> list[float | None] | None:
        """Return the numbers of an input that is nothing but numbers, or texts of numbers; None for any other."""
        if type(instance) is not list or not (instance and (model in self._numeric or model not in self._schemas)):
            return None
        kinds = set(map(type, instance))
        if kinds == _TEXT and self._learner is None:
            return _read_numbers(instance)
        if not kinds <= _NUMBERS:
            return None
        try:
            numbers: list[float | None] = instance if kinds == _FLOAT else list(map(float, instance))
            return None if math.isnan(sum(numbers)) else numbers  # type: ignore[arg-type]  # none is missing
        except OverflowError:
            return None

    def _by_name(self, model: str, instance: Mapping[str, Any], client: str) -> list[float | None]:
        if self._learner is not None:
            self._learner.note(model, client, instance)
        schema = self._schemas.get(model)
        if schema is None or not schema.names:
            names = self._names(model, instance)
            values = list(map(instance.get, names))
            numbers = self._plain(model, values)
            return numbers or [self._number(name, value) for name, value in zip(names, values, strict=True)]
        values = list(map(instance.get, schema.names))
        return self._plain(model, values) or self._encoded(schema, values)

    def _by_place(self, model: str, instance: Sequence[Any], client: str) -> list[float | None]:
        picture = reduced(instance)
        if picture is not None:
            return list(picture)
        values = instance.ravel().tolist() if isinstance(instance, np.ndarray) else _bounded(instance)
        if self._learner is not None and any(isinstance(value, str) for value in values):
            self._learner.note(model, client, {str(at): value for at, value in enumerate(values)})
        schema = self._schemas.get(model)
        if schema is None or len(schema.names) != len(values):
            return [self._number(str(at), value) for at, value in enumerate(values)]
        return self._encoded(schema, values)

    def _encoded(self, schema: InputSchema, values: Sequence[Any]) -> list[float | None]:
        vector: list[float | None] = []
        for name, kind, value in zip(schema.names, schema.kinds, values, strict=True):
            if kind == "number":
                vector.append(self._number(name, value, text_is_missing=True))
            elif kind != "ignore":
                vector += self._part(schema, name, kind, value)
        return vector

    def _part(self, schema: InputSchema, name: str, kind: Kind, value: Any) -> Sequence[float | None]:
        """Return the numbers of a value that is a category, a text or a time."""
        if is_missing(value):
            self._refuse_missing(name)
            return (None,) * (self._text_width(schema, name) if kind == "text" else 1)
        if not isinstance(value, str | bool | int | float):
            raise UnusableError("schema", f"input.{name}: an object or a list where a {kind} is expected")
        if kind == "category":
            return (schema.code(name, text_of(value)),)
        if kind == "text":
            return self._of_text(schema, name, text_of(value))
        hours = hours_of(value)
        if hours is None and not self._missing:
            raise UnusableError("schema", f"input.{name}: not a time")
        return (hours,)

    def _of_text(self, schema: InputSchema | None, name: str, text: str) -> list[float]:
        """Return the numbers of a text: of the encoder, in the space of the baseline, or as they are without either."""
        if self._encoder is not None:
            return self._encoder.vectors([text])[0]
        reduction = None if schema is None else schema.reductions.get(name)
        return text_vector(text) if reduction is None else reduction.vector(self._grams.counts(text))

    def _text_width(self, schema: InputSchema, name: str) -> int:
        return schema.text_width(name) if self._encoder is None else self._encoder.dimension

    def _names(self, model: str, instance: Mapping[str, Any]) -> Sequence[str]:
        names = self._learned.get(model)
        if names is None:
            if len(self._learned) >= _MOST_MODELS:
                raise UnusableError(
                    "schema", f"input: more than {_MOST_MODELS} models have inputs by name, and none is declared"
                )
            names = self._learned[model] = tuple(instance)
        return names

    def _number(self, name: str, value: Any, *, text_is_missing: bool = False) -> float | None:
        """Return a value as a number; without a schema a text that is none gets a code, the same for the same text."""
        if value is not None and not isinstance(value, str | bool | int | float):
            raise UnusableError("schema", f"input.{name}: an object or a list where a number is expected")
        try:
            number = number_of(value)
        except OverflowError:
            raise UnusableError("not_finite", f"input.{name}: not finite in float32") from None
        if number is not None:
            return number
        if is_missing(value):
            self._refuse_missing(name)
            return None
        if not self._missing:
            raise UnusableError("schema", f"input.{name}: not a number")
        return None if text_is_missing else hashed_code(str(value))

    def _refuse_missing(self, name: str) -> None:
        if not self._missing:
            raise UnusableError("not_finite", f"input.{name}: missing")


_decode_numbers = msgspec.json.Decoder(list[float]).decode


def _read_numbers(texts: list[str]) -> list[float | None] | None:
    """Return texts that are all numbers; the parser of JSON reads them many times as fast as `float` does."""
    try:
        numbers: list[float | None] = _decode_numbers(f"[{','.join(texts)}]")  # type: ignore[assignment]  # none is missing
    except ValueError:
        return None
    return numbers if len(numbers) == len(texts) else None


def _bounded(values: Any) -> list[Any]:
    if not isinstance(values, list | tuple):
        raise UnusableError("schema", "input: neither a list nor an object")
    found = list(islice(flat(values), _MOST_VALUES + 1))
    if len(found) > _MOST_VALUES:
        raise UnusableError("oversized", f"input: more than {_MOST_VALUES} values")
    return found
