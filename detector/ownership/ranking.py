"""The test: does the suspect differ from the model as a key says that its answers were told, rather than as another key says.

The statistic is the correlation of two differences, over inputs of the log and classes: what the key changed of the model's
probabilities, and how the suspect's answers differ from them. It is ranked among that of counterfeit keys, which nobody was
told anything under. For a suspect that does not depend on the key, the key is as good as any counterfeit, so the rank is
uniform, whatever the suspect is and however it was trained: a randomisation test (Fisher 1935, chapter 2). The smallest
p-value is 1 in the number of keys. The log-likelihood of the answers under the key is as valid, and finds fewer
copies: it varies with how much a key changes at all.

Exact for inputs that do not depend on the marked answers. A client that chooses them by what it was told makes the log
depend on the key; then the test was measured, see the page on ownership.
"""

import hashlib
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.perturb.tilt import LEAST, Frame, draw, logits_of, pulls

__all__ = ["Asked", "counterfeit_keys", "rank_p", "scores"]

CHUNK: Final = 8_000_000  # numbers that are held at a time

_Array = npt.NDArray[np.float64]


class Asked(NamedTuple):
    """Inputs (n, d), the model's own answers to them (n, classes), and what was committed to: the frame and the strength."""

    X: npt.NDArray[np.float32]
    said: _Array
    frame: Frame
    strength: float


def counterfeit_keys(seed: bytes, count: int) -> list[bytes]:
    """Return keys that nobody was told anything under; the same seed gives the same ones, so that anybody can check a rank."""
    return [hashlib.sha256(b"detector counterfeit\0" + seed + at.to_bytes(8)).digest() for at in range(count)]


def scores(asked: Asked, keys: list[bytes], answers: _Array, note: Callable[[int], None] | None = None) -> _Array:
    """Return the statistic of m keys for s suspects: (m, s). `answers` is (s, n, classes); a label is a certainty.

    Takes about 10 s for 20,000 keys, 700 inputs and 10 classes, whatever s up to some hundred.
    """
    placed, said = asked.frame.placed(asked.X), asked.said.astype(np.float32)
    logits = logits_of(asked.said).astype(np.float32)
    n, classes = logits.shape
    differing = (answers - asked.said).reshape(len(answers), -1).T.astype(np.float32)  # (n classes, s)
    step = max(1, CHUNK // 4 // (n * classes + 8 * asked.X.shape[1]))
    found = np.empty((len(keys), len(answers)))
    for start in range(0, len(keys), step):
        part = keys[start : start + step]
        told = pulls(draw(part, asked.X.shape[1], classes), placed).astype(np.float32)
        told *= np.float32(asked.strength)
        told += logits
        told -= told.max(axis=2, keepdims=True)
        np.exp(told, out=told)
        told /= told.sum(axis=2, keepdims=True)
        told -= said
        changed = told.reshape(len(part), -1)
        length = np.maximum(np.linalg.norm(changed, axis=1, keepdims=True), np.float32(LEAST))
        found[start : start + step] = changed @ differing / length
        if note is not None:
            note(min(start + step, len(keys)))
    return found


def rank_p(value: float, counterfeits: _Array) -> float:
    """Return the share of keys, the one in question included, that do as well as `value`.

    >>> rank_p(3.0, np.array([1.0, 2.0, 3.0]))
    0.5
    """
    below = np.count_nonzero(counterfeits < value)  # a value that is no number is below nothing, so it never looks like a fit
    return float((1 + len(counterfeits) - below) / (1 + len(counterfeits)))
