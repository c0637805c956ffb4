"""What innocent software does to an input on the way from one account to another: noise, another encoding, a slight turn.

Nobody means anything by it, yet the result lies near what another account asked about, as what a thief makes does.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from detector.redteam.conversation import Array
from detector.redteam.pictures import blurred, compressed, toned, turned
from detector.redteam.targets import Target

Alteration: TypeAlias = Callable[[Array, np.random.Generator], Array]


def noisy(target: Target) -> Alteration:
    """A sensor's noise: on pictures and embeddings everywhere, on records a step or two in a few columns."""
    if target.columns is not None:
        return _corrected(target)
    low, high = target.value_range

    def alter(rows: Array, rng: np.random.Generator) -> Array:
        share = rng.uniform(0.01, 0.06) * (0.5 if target.unit else 1.0)
        moved = rows + share * (high - low) * rng.standard_normal(rows.shape)
        return moved if target.unit else np.clip(moved, low, high)

    return alter


def encoded_again(target: Target) -> Alteration:
    """Another encoding of the same: fewer levels, a compression, a blur or a gain; fewer digits; shorter floats."""
    if target.columns is not None:
        return _shorter(target)
    if target.unit:
        return lambda rows, rng: np.asarray(np.round(rows, int(rng.integers(2, 4))))
    span = target.value_range

    def alter(rows: Array, rng: np.random.Generator) -> Array:
        kind, strength = int(rng.integers(4)), float(rng.uniform())
        if kind == 0:
            low, high = span
            steps = int(rng.integers(15, 64))
            return np.asarray(low + np.rint((rows - low) / (high - low) * steps) * (high - low) / steps)
        if kind == 1:
            return np.stack([compressed(row, span, 60.0 + 35.0 * strength) for row in rows])
        if kind == 2:
            return np.stack([blurred(row, 0.3 + 0.4 * strength) for row in rows])
        return toned(rows, span, 0.05 * strength, 0.85 + 0.1 * strength)

    return alter


def turned_a_little(target: Target) -> Alteration:
    """The same thing seen again: a picture turned by some degrees, a record with another value or two, a paraphrase."""
    if target.columns is not None:
        return _corrected(target, most=3)
    if target.unit:
        return lambda rows, rng: rows + 0.15 * (rows[rng.permutation(len(rows))] - rows[rng.permutation(len(rows))])
    return lambda rows, rng: np.stack([turned(row, float(rng.normal(0.0, 3.0)), float(row.min())) for row in rows])


def new_device(target: Target) -> Alteration | None:
    """A new encoder, which maps embeddings a little elsewhere; None for pictures and records, whose devices are profiles."""
    if not target.unit:
        return None

    def alter(rows: Array, rng: np.random.Generator) -> Array:
        dimension = rows.shape[1]
        return np.asarray(rows + 0.4 * rows @ (rng.standard_normal((dimension, dimension)) / np.sqrt(dimension)))

    return alter


def _corrected(target: Target, most: int = 2) -> Alteration:
    """Up to `most` columns of a record hold the value that another record has there."""

    def alter(rows: Array, rng: np.random.Generator) -> Array:
        made = rows.copy()
        for row in made:
            columns = rng.choice(rows.shape[1], size=min(int(rng.integers(1, most + 1)), rows.shape[1]), replace=False)
            for column in columns:
                row[column] = target.benign.vectors[int(rng.integers(len(target.benign.vectors))), column]
        return made

    return alter


def _shorter(target: Target) -> Alteration:
    """Numbers with two or three significant digits, as another system stores them."""
    assert target.columns is not None
    numeric = list(target.columns.numeric)

    def alter(rows: Array, rng: np.random.Generator) -> Array:
        digits = int(rng.integers(2, 4))
        made = rows.copy()
        numbers = made[:, numeric]
        size = 10.0 ** (digits - 1 - np.floor(np.log10(np.maximum(np.abs(numbers), 1e-9))))
        made[:, numeric] = np.rint(numbers * size) / size
        return made

    return alter
