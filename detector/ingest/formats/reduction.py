"""Texts -> vectors in the space that a baseline learned: directions in which benign texts differ, and a sketch of the rest.

A text is counted into 4,096 hashed buckets (the grams of `texts`), less the mean of benign texts: what all prompts share, such
as the instructions of an assistant, then says nothing. The directions come from a principal component analysis of benign texts.
Of what lies outside of them the buckets are added up modulo 16, so that texts of another kind stay far from the usual ones and
from each other. The directions are brought nearer to one variance, and the rest is kept below them: that two texts differ there
is then seldom among benign ones, and usual among those of another kind.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detector.ingest.formats.texts import grams_of_pair, grams_of_word, hashed, words_of

__all__ = ["BUCKETS", "FOLDED", "MOST_DIRECTIONS", "PARTS", "Grams", "TextReduction", "counted", "folded"]

BUCKETS: Final = 4096
FOLDED: Final = 16
"""Numbers for what lies outside of the directions."""

MOST_DIRECTIONS: Final = 48
PARTS: Final = ("mean", "directions", "scales")
_CACHED_WORDS: Final = 1 << 15
_CACHED_PAIRS: Final = 1 << 16
_LONGEST_CACHED: Final = 40  # characters of a word, or a pair of words
_DECIMALS: Final = 6  # the last bits of a product differ from machine to machine

Floats = npt.NDArray[np.float64]


class Grams:
    """Counts the grams of texts into buckets. Remembers words and pairs that it has met; one for each thread."""

    def __init__(self) -> None:
        """Start without any word."""
        self._words: dict[str, tuple[list[int], list[float]]] = {}
        self._pairs: dict[tuple[str, str], tuple[int, float]] = {}

    def counts(self, text: str) -> Floats:
        """Return the signed counts of a text in `BUCKETS` buckets, of length 1 (Euclid); zeros where it has no word.

        >>> a, b, c = map(Grams().counts, ("the red fox", "the red foxes", "quarterly revenue"))
        >>> bool(a @ b > 0.5 > 0.1 > abs(a @ c))
        True
        """
        words = words_of(text)
        buckets: list[int] = []
        weights: list[float] = []
        for word in words:
            known = self._words.get(word) or self._word(word)
            buckets += known[0]
            weights += known[1]
        for pair in pairwise(words):
            bucket, signed = self._pairs.get(pair) or self._pair(pair)
            buckets.append(bucket)
            weights.append(signed)
        counts = np.asarray(np.bincount(np.array(buckets, np.intp), np.array(weights, np.float64), BUCKETS), np.float64)
        length = float(np.sqrt(counts @ counts))
        return counts / length if length else counts

    def _word(self, word: str) -> tuple[list[int], list[float]]:
        found = [hashed(gram, weight, BUCKETS) for gram, weight in grams_of_word(word)]
        known = [bucket for bucket, _ in found], [weight for _, weight in found]
        if len(word) <= _LONGEST_CACHED:
            if len(self._words) >= _CACHED_WORDS:
                self._words.clear()
            self._words[word] = known
        return known

    def _pair(self, pair: tuple[str, str]) -> tuple[int, float]:
        ((gram, weight),) = grams_of_pair(pair)
        known = hashed(gram, weight, BUCKETS)
        if len(gram) <= _LONGEST_CACHED:
            if len(self._pairs) >= _CACHED_PAIRS:
                self._pairs.clear()
            self._pairs[pair] = known
        return known


@dataclass(frozen=True, slots=True, eq=False)
class TextReduction:
    """Where benign texts lie: their `mean` (`BUCKETS`,), and orthonormal `directions` (n, `BUCKETS`).

    `scales` (n + 1,) multiply the numbers along the directions, and last the rest. There are `MOST_DIRECTIONS` at most. Raises
    ValueError where the arrays are anything else.
    """

    mean: npt.NDArray[np.float32]
    directions: npt.NDArray[np.float32]
    scales: npt.NDArray[np.float32]
    _by_bucket: Floats = field(init=False, repr=False)
    _middle: Floats = field(init=False, repr=False)
    _fold_middle: Floats = field(init=False, repr=False)
    _fold_directions: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the arrays, and prepare the products."""
        mean, directions, scales = (array.astype(np.float64) for array in (self.mean, self.directions, self.scales))
        if (
            mean.shape != (BUCKETS,)
            or directions.ndim != 2
            or directions.shape[1] != BUCKETS
            or not 1 <= len(directions) <= MOST_DIRECTIONS
            or not (np.isfinite(mean).all() and np.isfinite(directions).all())
            or scales.shape != (len(directions) + 1,)
            or not (np.isfinite(scales).all() and (scales > 0.0).all())
            or not np.allclose(directions @ directions.T, np.eye(len(directions)), atol=1e-3)
        ):
            raise ValueError("the directions of texts are not as they were learned")
        object.__setattr__(self, "_by_bucket", np.ascontiguousarray(directions.T))
        object.__setattr__(self, "_middle", directions @ mean)
        object.__setattr__(self, "_fold_middle", folded(mean[None])[0])
        object.__setattr__(self, "_fold_directions", folded(directions))

    @property
    def dimension(self) -> int:
        """How many numbers a text becomes."""
        return len(self.directions) + FOLDED

    def vector(self, counts: Floats) -> list[float]:
        """Return the numbers of a text, whose counts `Grams` returned."""
        there = np.flatnonzero(counts)
        known = counts[there]
        along = known @ self._by_bucket[there] - self._middle
        outside = np.bincount(there % FOLDED, known, FOLDED) - self._fold_middle - along @ self._fold_directions
        numbers = np.concatenate([along * self.scales[:-1], outside * self.scales[-1]])
        found: list[float] = np.round(numbers, _DECIMALS).tolist()
        return found

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what has to be kept."""
        return {"mean": self.mean, "directions": self.directions, "scales": self.scales}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> "TextReduction":
        """Take what `to_arrays` returned; raises ValueError for anything else."""
        return cls(*(arrays[name].astype(np.float32) for name in PARTS))

    def __eq__(self, other: object) -> bool:
        """Say whether both make the same numbers of a text."""
        return (
            isinstance(other, TextReduction)
            and np.array_equal(self.mean, other.mean)
            and np.array_equal(self.directions, other.directions)
            and np.array_equal(self.scales, other.scales)
        )

    __hash__ = None  # type: ignore[assignment]  # holds arrays


def folded(rows: Floats) -> Floats:
    """Return the sums (n, `FOLDED`) of every sixteenth bucket of each row."""
    summed: Floats = rows.reshape(len(rows), BUCKETS // FOLDED, FOLDED).sum(axis=1)
    return summed


def counted(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return the counts of texts (n, `BUCKETS`)."""
    grams = Grams()
    return np.array([grams.counts(text) for text in texts], np.float32).reshape(len(texts), BUCKETS)
