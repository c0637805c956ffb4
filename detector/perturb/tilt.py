"""The tilt: a mark in answers that a copy learns along, as a pure function of a key, an input and the model's answer.

To the logits of an answer a smooth function of the input is added, which a secret key draws: the sum of four cosines of random
projections, each with a random vector over the classes, squared with its sign, of variance 1.1. The square moves few answers
far instead of many a little: labels change of which the model was surer, so that others seldom say the same by themselves.
The cosines turn by 1.5 rad per median distance of two inputs.
Being smooth, it is learned with the rest by whoever trains on the answers, from labels alone as well, and neither jitter
nor repeats average it away. Without the key it looks like the model's own error.

Keys are expanded by SHAKE-256, so that the same key means the same tilt in any version of numpy: whoever checks a mark does so
years later.

Blind to: what a thief makes of the answers. Who averages those of many accounts, each with a key of its own, washes it thin.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["COSINES", "FREQUENCY", "Frame", "Tilts", "draw", "logits_of", "pulls", "tilted"]

COSINES: Final = 4
FREQUENCY: Final = 1.5  # rad per median distance: faster ones are learned worse, slower ones are too much alike
SQUARED: Final = math.sqrt(3.0)  # standard deviation of the signed square of a normal number
LEAST: Final = 1e-6  # probability: what a server rounds to 0 has a logit, too

_Array = npt.NDArray[np.float64]


class Frame(NamedTuple):
    """How inputs are measured: `centre` and `scale` of each value (d,), and the median `distance` of two inputs in that."""

    centre: _Array
    scale: _Array
    distance: float

    def placed(self, X: npt.NDArray[np.float32] | _Array) -> _Array:
        """Return inputs (n, d) in units of the median distance; a missing value lies at the centre."""
        Z = (np.asarray(X, np.float64) - self.centre) / (self.scale * self.distance)
        return np.nan_to_num(Z, nan=0.0, posinf=0.0, neginf=0.0)


class Tilts(NamedTuple):
    """What m keys draw: `directions` (m, 4, d), `phases` (m, 4) and `weights` (m, 4, classes)."""

    directions: _Array
    phases: _Array
    weights: _Array


def draw(keys: Sequence[bytes], dimension: int, classes: int) -> Tilts:
    """Return the tilts of keys, for inputs of `dimension` values and answers of so many `classes`.

    >>> draw([b"key"], 3, 2).weights.shape
    (1, 4, 2)
    """
    normals = COSINES * (dimension + classes)
    count = normals + normals % 2 + COSINES
    raw = b"".join(hashlib.shake_256(b"detector tilt\0" + key).digest(4 * count) for key in keys)
    uniform = (np.frombuffer(raw, "<u4").reshape(len(keys), count).astype(np.float64) + 0.5) / 2.0**32
    radius, turn = np.split(uniform[:, COSINES:], 2, axis=1)
    radius = np.sqrt(-2.0 * np.log(radius))
    turn = 2.0 * math.pi * turn
    drawn = np.concatenate([radius * np.cos(turn), radius * np.sin(turn)], axis=1)[:, :normals]  # Box and Muller
    directions = drawn[:, : COSINES * dimension].reshape(-1, COSINES, dimension)
    weights = drawn[:, COSINES * dimension :].reshape(-1, COSINES, classes)
    return Tilts(directions, 2.0 * math.pi * uniform[:, :COSINES], weights)


def pulls(tilts: Tilts, placed: _Array) -> _Array:
    """Return what each of m keys adds to the logits at strength 1: (m, n, classes), for inputs (n, d) that `Frame` placed."""
    keys, _, dimension = tilts.directions.shape
    angles = placed @ tilts.directions.reshape(-1, dimension).T  # (n, 4 m)
    angles = angles.reshape(len(placed), keys, COSINES) * FREQUENCY + tilts.phases
    waves = np.cos(angles).transpose(1, 0, 2)
    pull = np.matmul(waves, tilts.weights) * math.sqrt(2.0 / COSINES)
    return np.asarray(pull * np.abs(pull) / SQUARED)


def logits_of(probabilities: _Array) -> _Array:
    """Return the logarithms of probabilities (n, classes), of at least `LEAST`."""
    return np.log(np.maximum(probabilities, LEAST))


def tilted(probabilities: _Array, pull: _Array, strength: float) -> _Array:
    """Return answers (n, classes) with a pull (n, classes) of some strength on their logits; rows sum to 1.

    >>> tilted(np.array([[0.5, 0.5]]), np.array([[1.0, -1.0]]), 0.0).tolist()
    [[0.5, 0.5]]
    """
    logits = logits_of(probabilities) + strength * pull
    logits -= logits.max(axis=1, keepdims=True)
    exponent = np.exp(logits)
    return np.asarray(exponent / exponent.sum(axis=1, keepdims=True))
