"""Structure: how the differences between a client's queries spread over the input, relative to the population's.

The channel `foreign` uses it.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.evidence.foreign import APART, PAIRS, spread_of_difference
from detector.engine.kernels import part
from detector.engine.memory.reservoir import mix


class Variances(NamedTuple):
    """The population's variance in the sampled values and in the projection, each with its sum over the coordinates."""

    sampled: npt.NDArray[np.float32]
    sampled_total: float
    projected: npt.NDArray[np.float32]
    projected_total: float


@part
def variances_of(population):
    """Return the variances of a population, and their sums."""
    sampled = 0.0
    for value in population.c_variance:
        sampled += value
    projected = 0.0
    for value in population.variance:
        projected += value
    return Variances(population.c_variance, sampled, population.variance, projected)


@part
def compare_structure(asked, past, seed, variances, scales):
    """Return the logarithm of the spread of the differences from up to four unrelated retained queries; NaN without any.

    The client's `seed` decides which ones are compared. In tables the spread in the projection counts as well.
    """
    sampled = 0.0
    projected = 0.0
    found = 0
    for draw in range(2 * PAIRS):
        counter = np.uint64(past.stored) * np.uint64(2 * PAIRS) + np.uint64(draw)
        m = np.int64(mix(seed, counter) % np.uint64(past.held))
        if past.squares[m] * scales.unit * scales.unit < APART * APART:
            continue
        sampled += spread_of_difference(asked.c, past.c[m], variances.sampled, variances.sampled_total)
        if scales.table:
            projected += spread_of_difference(asked.z, past.z[:, m], variances.projected, variances.projected_total)
        found += 1
        if found == PAIRS:
            break
    if found == 0 or variances.sampled_total <= 0.0:
        return np.nan
    structure = np.log(max(sampled / found, 1e-6))
    return structure + np.log(max(projected / found, 1e-6)) if scales.table else structure
