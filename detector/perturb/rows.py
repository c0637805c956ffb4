"""Rows: one answer inside a response, as lists of probabilities, single scores, or records by name.

The rule is an allow-list: labels, names and whole numbers pass, probabilities are perturbed, and a number with a fraction that
is neither makes the body unknown. So no logit, embedding or predicted amount slips through beside the answer.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from detector.errors import UnknownBodyError
from detector.perturb.marks import Marking
from detector.perturb.modes import MOST, How, is_distribution, perturb

__all__ = ["Rows", "has_fraction"]

DEEPEST: Final = 16
LABELS: Final = frozenset(
    {"label", "predicted_label", "class", "predicted_class", "prediction", "pred", "category", "predict", "value", "class_id"}
)
SCORES: Final = frozenset({"score", "confidence", "probability", "prob", "proba"})
NAMES: Final = frozenset({"classes", "labels", "names", "class_names"})
_FRACTION: Final = re.compile(r"\s*[+-]?\d*\.\d+([eE][+-]?\d+)?\s*|\s*[+-]?\d+(\.\d*)?[eE][+-]?\d+\s*")


class _Moved(NamedTuple):
    """Probabilities whose largest is another one now: its place before and after, and the names of the classes."""

    before: int
    after: int
    names: list[str] | None


class Rows:
    """Perturbs answers of one model; `changed` counts those that were told otherwise than the model said.

    With a `marking`, answers whose classes have a place each bear its mark.
    """

    def __init__(self, how: How, model: str, marking: Marking | None = None) -> None:
        self._how = how
        self._model = model
        self._marking = marking
        self.changed = 0

    def row(self, value: Any, depth: int = 0) -> Any:
        """Return one answer as it is told. Raises `UnknownBodyError` where it is none that is known."""
        if depth > DEEPEST:
            raise UnknownBodyError("nesting", "lists or objects nested too deep")
        if isinstance(value, float):
            return self.score(value)
        if isinstance(value, list):
            return self._list(value, depth)
        if isinstance(value, dict):
            return self.record(value, depth)
        if isinstance(value, str) and _FRACTION.fullmatch(value):
            raise UnknownBodyError("text", "a number written as text")
        return value

    def chances(self, values: Sequence[float]) -> list[float]:
        """Return probabilities as they are told. Raises `UnknownBodyError` where they are no distribution."""
        if not is_distribution(values):
            raise UnknownBodyError("numbers", "numbers that are no probabilities")
        if self._marking is None:
            return self._perturbed(values)
        told = self._perturbed(self._marking.row(values))
        self._marking.told(told)
        return told

    def _perturbed(self, values: Sequence[float]) -> list[float]:
        self.changed += self._how.mode != "none" or self._marking is not None
        return perturb(values, self._how, self._model)

    def _aside(self, values: Sequence[float]) -> list[float]:
        """Return probabilities as they are told whose classes have no place that could be relied on: they bear no mark."""
        if self._marking is not None:
            self._marking.aside = True
        return self._perturbed(values)

    def score(self, value: float) -> float:
        """Return a single number: the probability of the second of two classes, or a label that is written as one.

        The side of one half on which it lies stays. Raises `UnknownBodyError` for any other number.
        """
        if value.is_integer() and math.isfinite(value):
            return value
        if not 0.0 <= value <= 1.0:
            raise UnknownBodyError("numbers", "a number that is no probability")
        if self._marking is not None:
            value = self._marking.row([round(1.0 - value, 12), value])[1]
        if self._how.mode == "none":
            told = value
        else:
            upper = value >= 0.5
            pair = self._perturbed([value, 1.0 - value] if upper else [1.0 - value, value])
            told = pair[0] if upper else pair[1]
        if self._marking is not None:
            self._marking.told([round(1.0 - told, 12), told])
        return told

    def record(self, value: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
        """Return an answer by name: probabilities, scores and labels under the names that servers use.

        Raises `UnknownBodyError` where a number with a fraction stands under any other name.
        """
        numbers = list(value.values())
        if is_distribution(numbers) and not value.keys() & (LABELS | SCORES):  # a probability for the name of each class
            return dict(zip(value, self._aside(numbers), strict=True))
        told: dict[str, Any] = {}
        moved: list[_Moved] = []
        for name, entry in value.items():
            told[name] = self._entry(name.lower(), entry, depth)
            before, after = _chances_of(entry), _chances_of(told[name])
            if before and after and _largest(before) != _largest(after):
                moved.append(_Moved(_largest(before), _largest(after), list(entry) if isinstance(entry, dict) else None))
        for one in moved:
            _relabel(told, one)
        return told

    def _entry(self, name: str, entry: Any, depth: int) -> Any:
        """Return what stands under a name as it is told."""
        if isinstance(entry, float):
            if name in SCORES:
                return self._confidence(entry)
            if name in LABELS:
                return self.score(entry)
            raise UnknownBodyError("numbers", "a number under a name that is not known")
        if isinstance(entry, list | dict):
            return self.row(entry, depth + 1) if has_fraction(entry) else entry
        return self.row(entry, depth + 1)

    def _list(self, value: list[Any], depth: int) -> list[Any]:
        if is_distribution(value):
            return self.chances(value) if any(isinstance(entry, float) for entry in value) else value
        if value and all(isinstance(entry, dict) for entry in value):
            return self._scored(value, depth)
        if len(value) > 1 and any(isinstance(entry, float) and not entry.is_integer() for entry in value):
            raise UnknownBodyError("numbers", "numbers that are no probabilities")
        return [self.row(entry, depth + 1) for entry in value]

    def _scored(self, value: list[dict[str, Any]], depth: int) -> list[Any]:
        """Perturb a list of a label and a score for each class; where only the best ones are there, all but one are dropped."""
        name = next((name for name in value[0] if name.lower() in SCORES), None)
        if len(value) == 1 or name is None or not all(_is_scored(entry, name) for entry in value):
            return [self.row(entry, depth + 1) for entry in value]
        scores = [float(entry[name]) for entry in value]
        if is_distribution(scores):
            return [{**entry, name: told} for entry, told in zip(value, self._aside(scores), strict=True)]
        if self._how.mode == "none":
            return list(value)
        best = value[scores.index(max(scores))]
        return [{**best, name: self._confidence(float(best[name]))}]

    def _confidence(self, value: float) -> float:
        """Return the confidence of a label, where nobody says how many classes there are."""
        if not 0.0 <= value <= 1.0:
            raise UnknownBodyError("numbers", "a score that is no probability")
        if self._how.mode == "none":
            return value
        self.changed += 1
        upper = value >= 0.5
        if self._how.mode == "label":
            return 1.0 if upper else 0.0
        rounded = round(value, self._how.decimals)
        return min(max(rounded, 0.52), MOST) if upper else max(min(rounded, 0.48), 1.0 - MOST)


def has_fraction(value: Any) -> bool:
    """Tell whether a number with a fraction is anywhere inside, also as text."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, float) or (isinstance(one, str) and _FRACTION.fullmatch(one)):
            return True
        if isinstance(one, dict):
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    return False


def _is_scored(entry: Mapping[str, Any], score: str) -> bool:
    rest = {name: value for name, value in entry.items() if name != score}
    number = entry.get(score)
    return type(number) in {int, float} and not has_fraction(rest)


def _largest(values: Sequence[float]) -> int:
    return values.index(max(values))


def _chances_of(entry: Any) -> list[float]:
    """Return the probabilities that an entry is, whether a list or an object by class; none where it is something else."""
    values = list(entry.values()) if isinstance(entry, dict) else entry
    return values if isinstance(values, list) and is_distribution(values) else []


def _relabel(record: dict[str, Any], moved: _Moved) -> None:
    """Let the labels of a record say what its probabilities now say. Raises `UnknownBodyError` where that cannot be known."""
    names = moved.names or next(
        (value for name, value in record.items() if name.lower() in NAMES and isinstance(value, list)), None
    )
    known = names is not None and max(moved.before, moved.after) < len(names)
    for name, value in record.items():
        if name.lower() not in LABELS or value is None:
            continue
        if known and names is not None and value == names[moved.before]:
            record[name] = names[moved.after]
        elif type(value) is int and value == moved.before:
            record[name] = moved.after
        else:
            raise UnknownBodyError("label", "a label that cannot be changed along")
