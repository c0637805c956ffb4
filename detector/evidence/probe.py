"""Probe: the query is an earlier one with one value moved, by as much as another probe moved it.

This is how a gradient is estimated from answers: zeroth-order optimisation (Chen et al., AISec 2017) on pictures, finite
differences on tables. A probe leaves nearly all values as they are, it is short, and it has a twin: its mirror image about
the same query, or, in pictures, another probe of the same length. And it has siblings, probes of other values, since one
value's derivative is no gradient.

What innocent traffic also triggers it: a person who tries a form with one field a little up and a little down. So in tables
only steps far below the spread of a column count. Sliders move one value as well, but go on along the same line and are left
out for that; occlusion maps and explainers move more values, or by more.

Where values have few levels, a step of one level says nothing: two nightly readings that differ by one digit are twins.

Blind to: steps too small for the memory's integers, random directions (those are dense), one-sided differences in tables.
"""

import numpy as np

from detector.kernels import kernel

NAME = "probe"
RATE_INNOCENT = 0.004
RATE_ATTACK = 0.4
FLOOR = 16.0

CLOSE = 0.17  # in median nearest-neighbour distances
MOST_MOVED = 2  # of the sampled values
SAME = 0.03  # of the length
SIBLINGS = 2  # other steps from the same query, in other directions
MIRRORED = 0.06  # likewise, for the sum of a probe and its mirror image
COLLINEAR = 0.97  # squared cosine
LEAST_STEPS = 8.0  # of the memory's integers, below which a direction is not known
EXACT_STEPS = 40.0  # likewise, below which two lengths cannot be told apart
COARSE = 1 / 64  # levels of values above this size make twins by themselves
TABLE_STEP = 0.08  # of a column's standard deviation


@kernel
def moved_values(delta, resolution):
    """Return how many of the sampled values moved by more than `resolution`."""
    moved = 0
    for value in delta:
        moved += abs(value) > resolution
    return moved


@kernel
def is_one_level(delta, grain):
    """Tell whether the largest step is one level of the population's values, where these are coarse, as in nature."""
    largest = 0.0
    for value in delta:
        largest = max(largest, abs(value))
    return grain > COARSE and 0.85 * grain < largest < 1.15 * grain


@kernel
def widest_move(query, z, anchor, variance):
    """Return how far the query is from `anchor` along the coordinate where that is most, in standard deviations of each."""
    widest = 0.0
    for k in range(query.shape[0]):
        if variance[k] > 0.0:
            d = np.float64(query[k]) - np.float64(z[k, anchor])
            widest = max(widest, abs(d) / np.sqrt(np.float64(variance[k])))
    return widest


@kernel
def is_probe(query, z, squares, near, anchor, last_reach, table, spread):
    """Tell whether a sparse step from `anchor` has a twin.

    `query` (coordinates,), `z` (coordinates, anchors) and `squares` (anchors,) are in the memory's integers; `near` are the
    places of the nearest anchors, `last_reach` the length of the last probe of `anchor` (0 if none); `table` says that columns
    have units of their own, and `spread` is the step over the standard deviation of the column that moved.
    """
    reach = np.sqrt(np.float64(squares[anchor]))
    if reach < LEAST_STEPS or (table and spread > TABLE_STEP):
        return False
    mirrored = False
    siblings = 0
    for j in range(near.shape[0]):
        m = near[j]
        if m == anchor:
            continue
        along = 0.0
        length = 0.0
        rest = 0.0
        for k in range(query.shape[0]):
            step = np.float64(query[k]) - np.float64(z[k, anchor])
            other = np.float64(z[k, m]) - np.float64(z[k, anchor])
            along += step * other
            length += other * other
            rest += (step + other) ** 2
        # Rounding alone gives each coordinate of the sum a variance of one half.
        if rest < (MIRRORED * reach) ** 2 + 0.75 * query.shape[0]:
            mirrored = True
        elif length < (10.0 * reach) ** 2:
            if along * along > COLLINEAR * length * reach * reach:
                return False
            siblings += 1
    if siblings < SIBLINGS:
        return False
    return mirrored or (not table and last_reach > EXACT_STEPS and abs(reach - last_reach) <= SAME * last_reach)
