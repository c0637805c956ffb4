"""What the fields of records of unknown shape hold: kinds of values, those that differ, and times."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, Final

from detector.contracts.moment import event_ms
from detector.ingest.formats.serving import time_text
from detector.ingest.values import is_missing, number_of
from detector.offline.inspection.fields import nameable, path_name

__all__ = ["FieldSeen", "seen"]

_MOST_DOCUMENTS: Final = 1000
_MOST_FIELDS: Final = 2000
_MOST_VALUES: Final = 1000  # of a field that are told apart
_DEPTH: Final = 3
_MOST: Final = 0.9  # share of values that must be of a kind


@dataclass(slots=True)
class FieldSeen:
    """What was seen of a field: how many values of each kind, the values that differ, and how deep it lies."""

    path: str
    name: str
    depth: int
    values: int = 0
    numbers: int = 0
    times: int = 0
    chances: int = 0
    statuses: int = 0
    lists: int = 0
    objects: int = 0
    whole: int = 0
    longest: int = 0
    distinct: set[str] = field(default_factory=set)

    def note(self, value: Any) -> None:
        """Take note of a value; a list or an object that is written as JSON in a text counts as such."""
        if isinstance(value, str) and value.lstrip()[:1] in {"[", "{"}:
            value = _unfolded(value)
        if isinstance(value, Mapping):
            self.values += 1
            self.objects += 1
            return
        if is_missing(value):
            return
        self.values += 1
        if isinstance(value, list):
            self.lists += 1
            return
        text = str(value)[:256]
        self.longest = max(self.longest, len(text))
        if len(self.distinct) < _MOST_VALUES:
            self.distinct.add(text)
        number = _number(value)
        if number is not None:
            self.numbers += 1
            self.whole += number.is_integer()
            self.chances += 0.0 <= number <= 1.0
            self.statuses += 100.0 <= number <= 599.0
        self.times += _is_time(value)

    @property
    def unique(self) -> bool:
        """Whether no value comes twice, as far as they are told apart."""
        return len(self.distinct) >= min(self.values, _MOST_VALUES)

    def mostly(self, count: int) -> bool:
        """Whether so many values are nearly all."""
        return self.values > 0 and count >= _MOST * self.values

    @property
    def scalar(self) -> bool:
        """Whether nearly all values are texts, numbers or truth values."""
        return self.mostly(self.values - self.lists - self.objects)

    @property
    def fractions(self) -> bool:
        """Whether there are numbers that are not whole."""
        return self.numbers > self.whole


def seen(documents: Iterable[Any]) -> tuple[dict[str, FieldSeen], int]:
    """Return what is known of each field of the first objects, and how many they are."""
    found: dict[str, FieldSeen] = {}
    count = 0
    for document in documents:
        if not isinstance(document, Mapping):
            continue
        count += 1
        waiting: list[tuple[str, Mapping[str, Any], int]] = [("", document, 0)]
        while waiting:
            path, value, depth = waiting.pop()
            for key, below in value.items():
                if not nameable(str(key)):
                    continue
                name = path_name(path, str(key))
                entry = found.get(name)
                if entry is None:
                    if len(found) >= _MOST_FIELDS:
                        continue
                    entry = found[name] = FieldSeen(name, str(key), depth)
                entry.note(below)
                if isinstance(below, Mapping) and depth < _DEPTH:
                    waiting.append((name, below, depth + 1))
        if count >= _MOST_DOCUMENTS:
            break
    return found, count


def _unfolded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _number(value: Any) -> float | None:
    try:
        number = number_of(value)
    except OverflowError:
        return None
    return number if number is not None and math.isfinite(number) else None


def _is_time(value: Any) -> bool:
    try:
        if isinstance(value, str):
            text = value.strip()
            event_ms(int(text)) if text.isdigit() and len(text) < 25 else event_ms(time_text(text), UTC)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            event_ms(value)
        else:
            return False
    except (ValueError, OverflowError, TypeError):
        return False
    return True
