"""Probe: the query is an earlier one with one value moved, by as much as another probe moved it.

This is how a gradient is estimated from answers: zeroth-order optimisation (Chen et al., AISec 2017) on pictures, finite
differences on tables. A probe leaves nearly all values as they are, and it is short. It has a *twin*: its mirror image about
the same query or, in pictures, probes of other values of the same size. And it has *siblings*, probes of other values from the
same query, since a gradient needs the derivatives of many values.

Where values have few levels, a step of one level says nothing: two nightly readings that differ by one digit are twins.

`record_probe` looks for such steps in tables. In tables of two numbers `circle` looks for steps of one length in random
directions.

Through a JPEG no single value arrives as it was moved; `blocks` looks for what such probes leave there.

Where the memory samples only some of the values, the checksums tell a change of a single one exactly; `memory.single` judges
it.
"""

import numpy as np

from detector.engine.evidence.channel import Channel, Counted
from detector.engine.evidence.step import is_own_level
from detector.engine.kernels import kernel, part

CHANNEL = Channel(
    name="probe",
    kind="construction",
    floor=16.0,
    ratio=Counted(attack=0.4, innocent=0.004),
    title="Queries that probe single values",
    description="Queries are earlier ones with single values moved there and back.",
    meaning="queries are earlier queries with single values moved there and back, as an estimate of a gradient needs",
    lookalike="somebody who tries one field of a form a little up and a little down comes close",
    innocent=(
        "A person who tries a form with one field a little up and a little down. So in tables only steps count that are far "
        "below the spread of a column, or a single level, each with its mirror image and without a third value. Sliders move "
        "one value as well, but go on along the same line and are left out for that. Occlusion maps and explainers move more "
        "values, or by more. In pictures from a JPEG, drawing and retouching change a block by more than a probe does, and "
        "noise and changes of intensity change several. In a table of two numbers records at one "
        "distance about an earlier one count as well: a tester who moves a record by one length, each time in another "
        "direction, asks the same."
    ),
    blind_to=(
        "Steps of less than about 2% of the range in a few values at once, random directions in more than two numbers, three "
        "or more sizes of step in turn, and one-sided differences in tables. In pictures from a JPEG: those of more than "
        "twelve blocks, colours, and what changes no block."
    ),
)

CLOSE = 0.17  # largest length of a probe, in median nearest-neighbour distances
MOST_MOVED = 2  # most sampled values that a probe moves
SAME = 0.03  # largest difference between the lengths of two equal steps, as a share of the length
SIBLINGS = 2  # least number of other steps from the same query, in other directions
MIRRORED = 0.06  # largest length of the sum of a probe and its mirror image, as a share of the probe's length
COLLINEAR = 0.97  # squared cosine from which two directions count as one
LEAST_STEPS = 8.0  # least length of a step in the memory's integers; shorter ones have no reliable direction
EVEN_ROUNDED = 1.2  # largest difference of two equal sizes, in roundings of the sampled values
LEAST_ROUNDINGS = 4.0 * EVEN_ROUNDED  # least move in roundings: of smaller ones nearly all are equal
GRAINS = 1.5  # least move in levels of the population's values where these are fine: a sensor flickers by one level
SIZES = 16  # the latest sparse steps that are remembered
SERIES = 4  # minimum number of other values, among the last 16 sparse steps, moved by the same amount
MOST_SAME = 2  # most steps of that size that moved this value; an explainer switches the same parts on and off more often
BESIDE = 3.0  # sizes up to so many times as far off as equal ones may be are beside them
CROWDED = 0.5  # most sizes beside the equal ones, as a share of these: sizes by accident would make it 2
ALONE = 1.6  # largest ratio of the step's length to its largest single move; a projection's length is off by as much
COARSE = 1 / 64  # size of a level in value ranges, above which steps of one level are ignored


@kernel
def moved_values(delta, resolution):
    """Return how many of the sampled values moved by more than `resolution`."""
    moved = 0
    for value in delta:
        moved += abs(value) > resolution
    return moved


@kernel
def largest_move(delta):
    """Return which sampled value moved most, and how far; a table that holds codes alone has no sampled values."""
    if delta.shape[0] == 0:
        return 0, np.float32(0.0)
    largest = 0
    for j in range(delta.shape[0]):
        if abs(delta[j]) > abs(delta[largest]):
            largest = j
    return largest, abs(delta[largest])


@kernel
def is_one_level(largest, grain):
    """Tell whether the largest move is one level of the population's values and these are coarse; innocent traffic does so."""
    return grain > COARSE and 0.85 * grain < largest < 1.15 * grain


@kernel
def in_series(value, size, length, values, sizes, rounding, grain):
    """Tell whether a sparse step is as large as the client's steps of several other values, and not one level of the values.

    Small steps of all sizes agree in size by accident, as those of a dashboard that is polled do: then there are as many sizes
    beside theirs.

    `value` is the sampled value that moved most, and `size` how far it moved, exact to `rounding`. `length` is the length of
    the whole step. `grain` is the size of one level of the population's values. All but `value` are in value ranges. `values`
    (SIZES,) and `sizes` (SIZES,) belong to the last sparse steps: values count from 1, 0 for none, and sizes are in units of
    `rounding`.
    """
    least = max(LEAST_ROUNDINGS * rounding, GRAINS * grain if grain <= COARSE else 0.0)
    if size <= least or length > ALONE * size:
        return False
    off = max(EVEN_ROUNDED, SAME * size / rounding)
    alike = 0
    beside = 0
    same = 0
    for k in range(values.shape[0]):
        same += values[k] == value + 1
        if values[k] == 0 or values[k] == value + 1:
            continue
        apart = abs(np.float64(sizes[k]) - size / rounding)
        if apart > off:
            beside += apart <= BESIDE * off
            continue
        counted = False
        for earlier in range(k):
            counted = counted or values[earlier] == values[k]
        alike += not counted
    return alike >= SERIES and same <= MOST_SAME and beside <= CROWDED * alike


@kernel
def is_probe(query, z, squares, near, retained, alike):
    """Tell whether a sparse step from the place `retained` has siblings, and a twin or the size of the last ones (`alike`).

    `query` (coordinates,), `z` (coordinates, retained) and `squares` (retained,) are in the memory's integers. `near` are the
    places of the nearest retained queries.
    """
    reach = np.sqrt(np.float64(squares[retained]))
    if reach < LEAST_STEPS:
        return False
    mirrored = False
    siblings = 0
    for j in range(near.shape[0]):
        m = near[j]
        if m == retained:
            continue
        along = 0.0
        way = 0.0
        rest = 0.0
        for k in range(query.shape[0]):
            step = np.float64(query[k]) - np.float64(z[k, retained])
            other = np.float64(z[k, m]) - np.float64(z[k, retained])
            along += step * other
            way += other * other
            rest += (step + other) ** 2
        # Rounding alone gives each coordinate of the sum a variance of 1/2.
        if rest < (MIRRORED * reach) ** 2 + 0.75 * query.shape[0]:
            mirrored = True
        elif way < (10.0 * reach) ** 2:
            if along * along > COLLINEAR * way * reach * reach:
                return False
            siblings += 1
    if siblings < SIBLINGS:
        return False
    return mirrored or alike


@kernel
def only_move(query, z, retained, columns):
    """Return the one number in which a record differs from `retained`; -1 if none or several differ.

    It is `columns` if all these numbers agree, and columns without a coordinate of their own, or codes, do not.
    """
    moved = -1
    for k in range(columns):
        if abs(np.float64(query[k]) - np.float64(z[k, retained])) > 1.0:
            if moved >= 0:
                return -1
            moved = k
    for k in range(columns, query.shape[0]):
        if abs(np.float64(query[k]) - np.float64(z[k, retained])) > 1.0:
            return -1 if moved >= 0 else columns
    return moved


@part
def is_sparse(step, scales):
    """Tell whether a step is short and moved so few of the sampled values that it may probe a single one."""
    if not step.distance < CLOSE or moved_values(step.delta, 0.5 * scales.c_unit) > MOST_MOVED:
        return False
    largest = largest_move(step.delta)[1]
    coarse = largest > COARSE and is_own_level(step.start, step.delta, largest, scales.c_unit)
    return not coarse and not is_one_level(largest, scales.grain)


@part
def is_sparse_probe(asked, past, step, values, sizes, scales):
    """Tell whether a sparse step is a probe; `values` and `sizes` are the client's last sparse steps, as in `in_series`."""
    value, size = largest_move(step.delta)
    alike = in_series(value, size, step.length, values, sizes, scales.c_unit, scales.grain)
    return is_probe(asked.query, past.z, past.squares, past.near, step.place, alike)
