"""Samples of what clients send and are answered: a few of each client, so that no single one decides."""

import random
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import quantiles
from typing import Final

__all__ = ["AnswerSample", "TextSample"]

MOST_TEXTS: Final = 2000
TEXTS_OF_CLIENT: Final = 32
LONGEST: Final = 4000  # characters of a text that are kept

BINS: Final = 10
ANSWERS_OF_CLIENT: Final = 64
_LEAST_ANSWERS: Final = 100
_SLACK: Final = 1e-6  # rounding of probabilities


@dataclass(slots=True)
class TextSample:
    """At most `MOST_TEXTS` texts, of each client the first `TEXTS_OF_CLIENT` at most; which ones does not depend on chance."""

    kept: list[str] = field(default_factory=list)
    _of: dict[int, int] = field(default_factory=dict)
    _met: int = 0
    _random: random.Random = field(default_factory=lambda: random.Random(0))

    def note(self, client: int, text: str) -> None:
        """Take note of a text."""
        count = self._of.get(client, 0)
        if count >= TEXTS_OF_CLIENT:
            return
        self._of[client] = count + 1
        self._met += 1
        if len(self.kept) < MOST_TEXTS:
            self.kept.append(text[:LONGEST])
        elif (at := self._random.randrange(self._met)) < MOST_TEXTS:
            self.kept[at] = text[:LONGEST]


@dataclass(slots=True)
class AnswerSample:
    """Predicted numbers, of each client the first `ANSWERS_OF_CLIENT` at most, and which clients got one that is no class.

    A whole number may be a class, and one from 0 to 1 a probability; any other number tells a regression.
    """

    _of: dict[int, list[float]] = field(default_factory=dict)
    _telling: set[int] = field(default_factory=set)

    def note(self, client: int, value: float) -> None:
        """Take note of an answer."""
        values = self._of.setdefault(client, [])
        if len(values) < ANSWERS_OF_CLIENT:
            values.append(value)
            if not value.is_integer() and not -_SLACK <= value <= 1.0 + _SLACK:
                self._telling.add(client)

    def edges(self) -> tuple[float, ...]:
        """Return what parts the numbers into `BINS` equally full bins at most; nothing where they are classes, or too few."""
        values = [value for of_client in self._of.values() for value in of_client]
        if 2 * len(self._telling) < max(len(self._of), 1) or len(values) < _LEAST_ANSWERS:
            return ()
        edges = sorted(set(quantiles(values, n=BINS)))
        return tuple(edges) if any(low < high for low, high in pairwise(edges)) else ()
