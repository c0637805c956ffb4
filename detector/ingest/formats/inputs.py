"""Inputs -> vectors: numbers by position or by name, as the model got them, in an order that no record decides.

The names of a model's inputs are those that are configured or that the baseline knows; without either, those of the first
query of each model, in its order. A name that is not among them is left out, one that a query lacks is a missing value.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from detector.ingest.formats.bodies import Instance
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.texts import text_vector

__all__ = ["Inputs"]

_MOST_MODELS: Final = 1000  # whose names are remembered where nobody declared them
_MOST_VALUES: Final = 1_000_000
_MISSING: Final = frozenset({"", "na", "n/a", "nan", "null", "none", "nil", "-"})
_TRUTH: Final = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}


class Inputs:
    """Turns instances into vectors; one for each thread.

    `columns` are the names of each model's inputs in order. With `missing` False a value that is missing or no number is
    refused.

    >>> inputs = Inputs({"fraud": ["amount", "age"]})
    >>> inputs.vector("fraud", {"age": "44", "amount": 12.5, "note": "x"}), inputs.vector("fraud", [12.5, None])
    ([12.5, 44.0], [12.5, None])
    """

    def __init__(self, columns: Mapping[str, Sequence[str]], *, missing: bool = True) -> None:
        self._declared = {model: tuple(names) for model, names in columns.items()}
        self._learned: dict[str, tuple[str, ...]] = {}
        self._missing = missing

    def vector(self, model: str, instance: Instance) -> list[float | None]:
        """Return the numbers of an input, None where one is missing. Raises `UnusableError` where there is none at all."""
        if isinstance(instance, str):
            return list(text_vector(instance))
        if isinstance(instance, Mapping):
            names = self._names(model, instance)
            vector = [self._number(name, instance.get(name)) for name in names]
        elif isinstance(instance, np.ndarray):
            vector = [self._number(str(at), value) for at, value in enumerate(instance.ravel().tolist())]
        else:
            vector = [self._number(str(at), value) for at, value in enumerate(_flat(instance))]
        if not any(value is not None for value in vector):
            raise UnusableError("schema", "input: all values are missing")
        return vector

    def _names(self, model: str, instance: Mapping[str, Any]) -> Sequence[str]:
        names = self._declared.get(model) or self._learned.get(model)
        if names is None:
            if len(self._learned) >= _MOST_MODELS:
                raise UnusableError(
                    "schema", f"input: more than {_MOST_MODELS} models have inputs by name, and none is declared"
                )
            names = self._learned[model] = tuple(instance)
        return names

    def _number(self, name: str, value: Any) -> float | None:
        number = _number_of(name, value)
        if number is None and not self._missing:
            if isinstance(value, str) and value.strip().lower() not in _MISSING:
                raise UnusableError("schema", f"input.{name}: not a number")
            raise UnusableError("not_finite", f"input.{name}: missing")
        return number


def _flat(values: Any) -> list[Any]:
    if not isinstance(values, list | tuple):
        raise UnusableError("schema", "input: neither a list nor an object")
    if not any(isinstance(value, list | tuple) for value in values):
        return list(values)
    found: list[Any] = []
    waiting = [iter(values)]
    while waiting:
        for value in waiting[-1]:
            if isinstance(value, list | tuple):
                waiting.append(iter(value))
                break
            found.append(value)
            if len(found) > _MOST_VALUES:
                raise UnusableError("oversized", f"input: more than {_MOST_VALUES} values")
        else:
            waiting.pop()
    return found


def _number_of(name: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, str):
        text = value.strip().lower()
        if text in _TRUTH:
            return _TRUTH[text]
        try:
            value = float(text)
        except ValueError:
            return None
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, int | float):
        try:
            number = float(value)
        except OverflowError:
            raise UnusableError("not_finite", f"input.{name}: not finite in float32") from None
        if math.isnan(number):
            return None
        return number
    raise UnusableError("schema", f"input.{name}: an object or a list where a number is expected")
