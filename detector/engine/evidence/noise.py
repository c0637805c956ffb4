"""Noise: whether a vector on a sphere looks drawn at random, in five views at once. The channel `foreign` uses it.

An encoder that evens out its directions leaves no correlation that noise could break. What it leaves is that vectors of real
things lie in clusters and have a few large values. The five views are these:

* the angle to the nearest of the population's sights, which are centres of what it asks about;
* the same angle seen from the population's middle: noise with the usual mean and spread of every value has the usual angles;
* the kurtosis of the values: noise has that of the distribution that it was drawn from;
* the kurtosis of their deviations from the middle, each in units of its own spread;
* the angle to the middle itself.

For each kind of noise the logarithm of the likelihood ratio is a quadratic form of the views. It was fitted on such noise and
on the queries of benign clients that the sights do not know. The kind with the largest ratio counts.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.evidence.foreign import LEAST, MOST
from detector.engine.kernels import kernel

VIEWS = 5
TERMS = 1 + 2 * VIEWS  # of the quadratic form: a constant, the views, and their squares
MOST_SIGHTS = 256
SMALL = 1e-12

Floats = npt.NDArray[np.float32]


class Sights(NamedTuple):
    """What noise is compared with, all for vectors of length one.

    `sights` (dimension, count) are directions of length one, `across` (count,) their products with the `middle` (dimension,)
    and `apart` (count,) their distances from it. `spread` (dimension,) is the deviation of each value.
    """

    sights: Floats
    middle: Floats
    spread: Floats
    across: Floats
    apart: Floats


def sights_from(sights: Floats, values: Floats) -> Sights:
    """Return the yardsticks for directions (dimension, count) and for `values` (2, dimension), their means and deviations."""
    middle = values[0]
    return Sights(
        np.ascontiguousarray(sights),
        np.ascontiguousarray(middle),
        np.ascontiguousarray(values[1]),
        np.asarray(middle @ sights, np.float32),
        np.asarray(np.linalg.norm(sights - middle[:, None], axis=0), np.float32),
    )


@kernel
def views_of(vectors, known, views):
    """Write the five views of each of `vectors` (n, dimension) into `views` (n, VIEWS)."""
    dimension, count = known.sights.shape
    products = np.empty(count, np.float32)
    square = np.float64(0.0)
    for j in range(dimension):
        square += np.float64(known.middle[j]) * known.middle[j]
    for i in range(vectors.shape[0]):
        length = np.float64(0.0)
        for j in range(dimension):
            length += np.float64(vectors[i, j]) * vectors[i, j]
        length = max(np.sqrt(length), SMALL)
        products[:] = 0.0
        along = second = fourth = own_second = own_fourth = 0.0
        for j in range(dimension):
            x = np.float32(vectors[i, j] / length)
            for k in range(count):
                products[k] += x * known.sights[j, k]
            wide = np.float64(x)
            along += wide * known.middle[j]
            second += wide * wide
            fourth += wide * wide * wide * wide
            own = (wide - known.middle[j]) / known.spread[j]
            own_second += own * own
            own_fourth += own * own * own * own
        away = np.sqrt(max(second - 2.0 * along + square, SMALL))
        nearest = from_middle = -1.0
        for k in range(count):
            nearest = max(nearest, np.float64(products[k]))
            seen = (products[k] - known.across[k] - along + square) / max(away * known.apart[k], SMALL)
            from_middle = max(from_middle, seen)
        views[i, 0] = 1.0 - nearest
        views[i, 1] = 1.0 - from_middle
        views[i, 2] = np.log(max(fourth * dimension / max(second * second, SMALL), 1.0))
        views[i, 3] = np.log(max(own_fourth * dimension / max(own_second * own_second, SMALL), 1.0))
        views[i, 4] = along / max(np.sqrt(square), SMALL)


@kernel
def noise_ratios(views, weights, ratio):
    """Write the likelihood ratio of noise into `ratio` (n,); `weights` (kinds, terms) are quadratic forms of the first views.

    The terms are a constant, then one for each view, then one for the square of each.
    """
    count = weights.shape[1] // 2
    for i in range(views.shape[0]):
        best = LEAST
        for kind in range(weights.shape[0]):
            worth = weights[kind, 0]
            for v in range(count):
                worth += weights[kind, 1 + v] * views[i, v] + weights[kind, 1 + count + v] * views[i, v] * views[i, v]
            if not np.isnan(worth):  # what is missing makes no noise
                best = max(best, worth)
        ratio[i] = np.exp(min(best, MOST))
