"""The test: does the suspect differ from the model as a copy under this key would, rather than under another key.

What a key changes of the answers to a client's queries is spread from there over all that the suspect is asked about, as a
copy would spread it: by kernel ridge regression. What the suspect's answers differ by is counted from what a copy of unmarked
answers would say, halfway between the model and such a regression on its labels. The statistic is the correlation of the two,
over inputs and classes. It is ranked among that of counterfeit keys, which nobody was told anything under. For a suspect that
does not depend on the key, the key is as good as any counterfeit, so the rank is uniform, whatever the suspect is and however
it was trained: a randomisation test (Fisher 1935, chapter 2). The smallest p-value is 1 in the number of keys. The
log-likelihood of the answers under the key is as valid, and finds fewer copies: it varies with how much a key changes at all.

Exact for inputs that do not depend on the marked answers. A client that chooses them by what it was told makes the log
depend on the key; then the test was measured, see the page on ownership.
"""

import hashlib
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.perturb.strengths import Strengths
from detector.perturb.tilt import LEAST, draw, logits_of, pulls

__all__ = ["Asked", "counterfeit_keys", "rank_p", "scores"]

CHUNK: Final = 8_000_000  # numbers that are held at a time
LEARNED: Final = 1000  # inputs that a regression learns from
SHARPNESS: Final = 2.0  # of its kernel, for squares of the median distance of two inputs
RIDGE: Final = 0.1
UNLIKELY: Final = 0.001  # the least that a regression says of a class

_Array = npt.NDArray[np.float64]


class Asked(NamedTuple):
    """Inputs (n, d), the model's own answers to them (n, classes), and what was committed to.

    The first `own` are what the client asked, the least certain ones first; with none of them, what keys change is compared
    where it is, since nobody knows what a copy would have learned it from.
    """

    X: npt.NDArray[np.float32]
    said: _Array
    strengths: Strengths
    own: int = 0


def counterfeit_keys(seed: bytes, count: int) -> list[bytes]:
    """Return keys that nobody was told anything under; the same seed gives the same ones, so that anybody can check a rank."""
    return [hashlib.sha256(b"detector counterfeit\0" + seed + at.to_bytes(8)).digest() for at in range(count)]


def scores(asked: Asked, keys: list[bytes], answers: _Array, note: Callable[[int], None] | None = None) -> _Array:
    """Return the statistic of m keys for s suspects: (m, s). `answers` is (s, n, classes); a label is a certainty.

    Takes about 15 s for 20,000 keys, 700 inputs and 10 classes, whatever s up to some hundred.
    """
    placed = asked.strengths.frame.placed(asked.X)
    spread, usual = _learned(placed, asked.said, asked.own)
    differing = np.einsum("nl,snc->lcs", spread, (answers - usual).astype(np.float32), optimize=True)
    learned, classes = differing.shape[:2]
    differing = differing.reshape(learned * classes, -1)
    both = spread.T @ spread
    placed, said = placed[:learned], asked.said[:learned].astype(np.float32)
    logits = logits_of(asked.said[:learned]).astype(np.float32)
    step = max(1, CHUNK // 4 // (learned * classes + 8 * asked.X.shape[1]))
    found = np.empty((len(keys), len(answers)))
    for start in range(0, len(keys), step):
        tilts = draw(keys[start : start + step], asked.X.shape[1], classes)
        told = pulls(tilts, placed).astype(np.float32)
        told *= asked.strengths.of(tilts).astype(np.float32)[:, None, None]
        told += logits
        told -= told.max(axis=2, keepdims=True)
        np.exp(told, out=told)
        told /= told.sum(axis=2, keepdims=True)
        told -= said
        square = np.einsum("klc,klc->k", told, np.matmul(both, told))
        length = np.maximum(np.sqrt(np.maximum(square, 0.0)), np.float32(LEAST))
        found[start : start + step] = told.reshape(len(told), -1) @ differing / length[:, None]
        if note is not None:
            note(min(start + step, len(keys)))
    return found


def _learned(placed: _Array, said: _Array, own: int) -> tuple[npt.NDArray[np.float32], _Array]:
    """Return how what is told at the first inputs reaches all of them (n, l), and what an unmarked copy would say (n, classes).

    A regression learns from the least certain inputs alone where there are many: nothing is changed at the others.
    """
    if not own:
        return np.eye(len(placed), dtype=np.float32), said
    from_ = placed[: min(own, LEARNED)]
    ridge = _near(from_, from_) + RIDGE * np.eye(len(from_))
    spread = np.linalg.solve(ridge, _near(from_, placed)).T
    labels = np.eye(said.shape[1])[said[: len(from_)].argmax(axis=1)]
    copied = np.maximum(spread @ labels, UNLIKELY)
    return spread.astype(np.float32), (said + copied / copied.sum(axis=1, keepdims=True)) / 2.0


def _near(A: _Array, B: _Array) -> _Array:
    square = (A**2).sum(axis=1)[:, None] + (B**2).sum(axis=1) - 2.0 * A @ B.T
    return np.asarray(np.exp(-SHARPNESS * np.maximum(square, 0.0)))


def rank_p(value: float, counterfeits: _Array) -> float:
    """Return the share of keys, the one in question included, that do as well as `value`.

    >>> rank_p(3.0, np.array([1.0, 2.0, 3.0]))
    0.5
    """
    below = np.count_nonzero(counterfeits < value)  # a value that is no number is below nothing, so it never looks like a fit
    return float((1 + len(counterfeits) - below) / (1 + len(counterfeits)))
