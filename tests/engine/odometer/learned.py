"""A model to be copied, and a reference set to judge its copies by."""

import numpy as np
import numpy.typing as npt

from detector.engine.memory.reservoir import COORDINATES, SAMPLED
from detector.engine.odometer.reference_set import ReferenceSet
from detector.engine.odometer.told import Told, told_of

LABELS = np.array([-7, 11, 400], np.int32)


def queries(n: int, seed: int, *, wide: float = 1.0) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8]]:
    """Return n reduced inputs."""
    rng = np.random.default_rng(seed)
    z = np.zeros((n, COORDINATES), np.int16)
    z[:, :8] = np.clip(rng.normal(0, 4000 * wide, (n, 8)), -32000, 32000)
    c = np.zeros((n, SAMPLED), np.uint8)
    c[:, :12] = rng.integers(20, 230, (n, 12))
    return z, c


def said(z: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
    """Return the probabilities of three classes."""
    scores = np.stack([z[:, 0], z[:, 1], -0.5 * (z[:, 0] + z[:, 1])], axis=1) / 2000.0
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True), np.float32)


def told(n: int, seed: int, answers: str = "all", *, wide: float = 1.0) -> Told:
    """Return n queries and responses: ``all`` probabilities, the ``top`` one, the ``label``, ``rounded`` or ``noise``."""
    z, c = queries(n, seed, wide=wide)
    chances = said(z)
    place = chances.argmax(axis=1)
    if answers == "top":
        chances = chances.max(axis=1, keepdims=True)
    elif answers == "label":
        return told_of(z, c, LABELS[place])
    elif answers == "rounded":
        chances = np.asarray(np.round(chances * 5) / 5, np.float32)
    elif answers == "noise":
        return told_of(z, c, LABELS[np.random.default_rng(seed + 1).integers(0, 3, n)])
    return told_of(z, c, LABELS[place], chances)


def judge(seed: int = 99, n: int = 256, *, table: bool = False) -> ReferenceSet:
    """Return a reference set."""
    z, c = queries(n, seed)
    return ReferenceSet(z, c, LABELS[said(z).argmax(axis=1)], table)


def uneven(n: int, seed: int, classes: int) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Return n queries and the probabilities of two or three classes, of which the first is the commonest."""
    z, c = queries(n, seed)
    scores = np.stack([np.full(n, 0.4), z[:, 0] / 2000.0, z[:, 1] / 2000.0], axis=1)[:, :classes]
    odds = np.exp(4.0 * scores)
    return z, c, np.asarray(odds / odds.sum(axis=1, keepdims=True), np.float32)
