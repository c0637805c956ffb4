"""Structure and stray: how the differences between a client's queries spread over the input, relative to the population's.

Remoteness is how far from the population a query itself lies.

The channel `foreign` uses it.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.evidence.foreign import APART, EXPLAINED, PAIRS, led_energy, spreads_of_differences, square_apart, stray_of
from detector.engine.evidence.frame import is_next_frame
from detector.engine.evidence.remote import ALONE, LEAST_OF_ALL, remoteness
from detector.engine.kernels import kernel, part
from detector.engine.memory.reservoir import mix

NEAREST = 4  # retained queries that a frame may continue, besides the latest one: a camera may pan to and fro


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
def unrelated(past, seed, draw, scales):
    """Return the place of a retained query that is drawn by the client's `seed`, -1 if it is a neighbour of the new query."""
    counter = np.uint64(past.stored) * np.uint64(2 * PAIRS) + np.uint64(draw)
    m = np.int64(mix(seed, counter) % np.uint64(past.held))
    return m if past.squares[m] * scales.unit * scales.unit >= APART * APART else np.int64(-1)


@kernel
def mean_of_first(spreads, found):
    """Return the logarithm of the mean of the first so many of a tuple of numbers."""
    total = 0.0
    for i in range(len(spreads)):
        if i < found:
            total += spreads[i]
    return np.log(max(total / found, 1e-6))


@part
def compare_structure(asked, past, seed, variances, scales):
    """Return the logarithm of the spread of the differences from up to four unrelated retained queries; NaN without any.

    The client's `seed` decides which ones are compared. In tables the spread in the projection counts as well.
    """
    found = 0
    first = second = third = fourth = np.int64(0)
    for draw in range(2 * PAIRS):
        m = unrelated(past, seed, draw, scales)
        if m < 0:
            continue
        if found == 0:
            first = second = third = fourth = m
        elif found == 1:
            second = m
        elif found == 2:
            third = m
        else:
            fourth = m
        found += 1
        if found == PAIRS:
            break
    if found == 0 or variances.sampled_total <= 0.0:
        return np.nan
    rows = (past.c[first], past.c[second], past.c[third], past.c[fourth])
    structure = mean_of_first(spreads_of_differences(asked.c, rows, variances.sampled, variances.sampled_total), found)
    if not scales.table:
        return structure
    across = (past.z[:, first], past.z[:, second], past.z[:, third], past.z[:, fourth])
    return structure + mean_of_first(
        spreads_of_differences(asked.z, across, variances.projected, variances.projected_total), found
    )


@part
def compare_stray(asked, past, step, seed, population, along, scales):
    """Return the stray of the query's differences or that of the query itself, whichever is less; NaN if it is not known.

    Not known, too, is that of a query whose like the client asked about before; but records may be far in one column only. The
    differences are those that `compare_structure` takes. `along` is scratch, with one entry per leading direction.
    """
    directions = population.leading.shape[1]
    if np.isnan(scales.usual_stray) or directions == 0:
        return np.nan
    own_led, own_whole = led_energy(asked.c, population.middle, population.leading, along)
    # A projection has so few coordinates that of many queries of pure noise two come near each other in it by chance.
    near = step.distance < EXPLAINED * np.exp(np.float64(asked.landmark))
    if near and not scales.table and square_apart(asked.c, past.c[step.place]) < EXPLAINED * EXPLAINED * own_whole:
        return np.nan
    led = 0.0
    whole = 0.0
    found = 0
    for draw in range(2 * PAIRS):
        m = unrelated(past, seed, draw, scales)
        if m < 0:
            continue
        one_led, one_whole = led_energy(asked.c, past.c[m], population.leading, along)
        led += one_led
        whole += one_whole
        found += 1
        if found == PAIRS:
            break
    if found == 0:
        return np.nan
    apart = stray_of(led / found, whole / found, directions, asked.c.shape[0])
    return min(apart, stray_of(own_led, own_whole, directions, asked.c.shape[0]))


@part
def compare_remote(asked, step, population, scratch, scales):
    """Return how remote the query is; NaN where it is not known what is usual, or the client asked about the like before."""
    if np.isnan(population.remote[LEAST_OF_ALL, 0]) or step.distance < ALONE * np.exp(np.float64(asked.landmark)):
        return np.nan
    return remoteness(
        asked.z,
        asked.c,
        asked.landmark,
        population.variance,
        scales.principal,
        population.middle,
        population.leading,
        population.remote,
        scratch.other_delta,
        scratch.weights,
    )


@part
def continues(asked, past, seed, neighbours, unlike, scales):
    """Return the place of the retained query whose picture the new one shows moved by a pixel or so, -1 if there is none.

    The latest and the nearest retained queries are looked at. `unlike` (at least samples,) is scratch: how much the query
    differs from those that `compare_structure` takes.
    """
    unlike[:] = 0.0
    found = 0
    for draw in range(2 * PAIRS):
        m = unrelated(past, seed, draw, scales)
        if m < 0:
            continue
        found += 1
        for j in range(asked.c.shape[0]):
            d = np.float32(asked.c[j]) - np.float32(past.c[m, j])
            unlike[j] += d * d
        if found == PAIRS:
            break
    if found == 0:
        return np.int64(-1)
    for j in range(asked.c.shape[0]):
        unlike[j] /= np.float32(found)
    if is_next_frame(past.c[past.newest], asked.c, neighbours, unlike):
        return past.newest
    for place in past.near[:NEAREST]:
        if is_next_frame(past.c[place], asked.c, neighbours, unlike):
            return place
    return np.int64(-1)
