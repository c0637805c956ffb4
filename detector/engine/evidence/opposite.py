"""Opposite: two retained queries that lie on opposite sides of a new one, equally far from it, however far that is.

The ends of a first interval are two natural inputs, which are far apart, so its middle is far from both, and other queries
are nearer. So ends are sought among all retained queries, not only among the nearest ones. There are many pairs, so more is
asked of each than of neighbours: the query must be their middle as nearly as rounding allows.

The differences of the query from both ends cancel in every coordinate. A few coordinates rule out nearly every pair, and no
branch depends on them. Not for inputs on a sphere, where the middle lies outside the straight line.
"""

import numpy as np

from detector.engine.evidence.interval import (
    DEEPEST,
    LEAST_LENGTH,
    MOST_AROUND,
    MOST_BLUR,
    NEIGHBOURHOOD,
    OFF_MIDDLE,
    OFF_MIDDLE_TIGHT,
    TIGHT,
    on_line,
)
from detector.engine.kernels import kernel, part

FEW = 4  # coordinates of the quick test; principal ones come first, which differ most
ROUNDED = 0.5  # square that the memory's integers add to the sum of two differences, in each coordinate


@kernel
def differences(query, z, held, sharpness, across):
    """Write the differences of the first `held` retained queries from the new one into `across` (few, places), sharpened.

    `query` (coordinates,) and `z` (coordinates, places) are the client's; for `sharpness` see `interval`.
    """
    for k in range(across.shape[0]):
        for m in range(held):
            across[k, m] = (np.float32(z[k, m]) - query[k]) * sharpness[k]


@part
def least_sum(across, a, sums, bits):
    """Return the least squared sum of the difference at place `a` and one before, as the bits of a 32-bit float.

    `sums` (places,) gets all of them, and `bits` are the same array read as integers, which keeps their order. `across` (`FEW`,
    places) are the differences.
    """
    first, second, third, fourth = across[0, a], across[1, a], across[2, a], across[3, a]
    for m in range(a):
        one = first + across[0, m]
        two = second + across[1, m]
        three = third + across[2, m]
        four = fourth + across[3, m]
        sums[m] = one * one + two * two + three * three + four * four
    least = np.int32(0x7F800000)
    for m in range(a):
        least = min(least, bits[m])
    return least


@kernel
def is_middle(query, z, one, other, sharpness, most):
    """Tell whether the query lies in the middle of two retained ones: twice the way from there, squared, is `most` at most."""
    off = 0.0
    for k in range(query.shape[0]):
        from_both = np.float64(z[k, one]) + np.float64(z[k, other]) - 2.0 * np.float64(query[k])
        off += (from_both * sharpness[k]) ** 2
        if off > most:
            return False
    return True


@kernel
def position_between(query, z, near, order, one, other, sharpness, tolerance, blur):
    """Return (position, squared length): where the query lies on the way between two retained ones, and how long that is.

    The position is NaN unless the way is longer than rounding, and the newest query on it is one of its ends. The other
    arguments are those of `opposite_depth`.
    """
    nowhere = np.zeros(0, np.float32)
    points = np.empty((4, query.shape[0]), np.float32)
    length = 0.0
    for k in range(query.shape[0]):
        points[0, k] = np.float32(z[k, one]) * sharpness[k]
        points[1, k] = np.float32(z[k, other]) * sharpness[k]
        points[2, k] = query[k] * sharpness[k]
        length += (np.float64(points[0, k]) - np.float64(points[1, k])) ** 2
    position = on_line(points[0], points[1], points[2], nowhere, tolerance, blur)
    most = OFF_MIDDLE_TIGHT if tolerance < TIGHT else OFF_MIDDLE
    if length < LEAST_LENGTH * blur or not abs(position - 0.5) <= most:  # NaN, for a point off the line, fails too
        return np.nan, length
    newest = max(order[one], order[other])
    around = 0
    for m in near:
        if m in (one, other):
            continue
        for k in range(query.shape[0]):
            points[3, k] = np.float32(z[k, m]) * sharpness[k]
        place = on_line(points[0], points[1], points[3], nowhere, tolerance, blur)
        around += abs(place - 0.5) <= NEIGHBOURHOOD
        if around > MOST_AROUND or (order[m] > newest and not np.isnan(place)):
            return np.nan, length
    return position, length


@kernel
def opposite_depth(query, z, held, near, label, order, depth, sharpness, tolerance, blur, across, sums):
    """Return (depth, end, end, position) of the shortest interval whose middle the query is, or (0, -1, -1, 0.5).

    `query` (coordinates,) is the new query, and `z` (coordinates, places), `label`, `order` and `depth` are the client's
    columns, whose first `held` places are filled. `near` (n,) are the places of the nearest queries. `across` (`FEW`, places)
    and `sums` (places,) are scratch. For the others see `interval`.
    """
    found, first, second, at = 0, -1, -1, 0.5
    differences(query, z, held, sharpness, across)
    most = MOST_BLUR * (4.0 * blur + ROUNDED * query.shape[0])
    bits = sums.view(np.int32)
    sums[0] = most
    limit = bits[0]
    shortest = np.inf
    for a in range(1, held):
        if least_sum(across, a, sums, bits) > limit:
            continue
        for b in range(a):
            if sums[b] > most or label[a] == label[b] or not is_middle(query, z, a, b, sharpness, most):
                continue
            position, length = position_between(query, z, near, order, a, b, sharpness, tolerance, blur)
            if np.isnan(position) or length >= shortest:
                continue
            found, first, second, at, shortest = max(depth[a], depth[b]) + 1, a, b, position, length
    return min(found, DEEPEST), first, second, at
