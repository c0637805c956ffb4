"""Pairs: whether a query was made from a query of the store, whoever asked that one.

The tests are those of the channels `offset`, `probe` and `bisect`, as far as they need one earlier query or two. Between
accounts they are cleaner than inside one, since an innocent account seldom asks anything that is near to another's query on
purpose. What is left are pointwise changes of a popular picture: of brightness, by noise, by a lower number of levels. So an
offset must move values to both sides by its full size.
"""

import numpy as np

from detector.engine.evidence.bisect import DEEP, PICTURE
from detector.engine.evidence.interval import interval_depth
from detector.engine.evidence.offset import GRAINS, KNOWN, LARGEST, ROUNDINGS_FEW, flattened
from detector.engine.evidence.step import is_own_level, step_between
from detector.engine.evidence.tone import halves_texture, is_toned, von_neumann_ratio
from detector.engine.kernels import kernel, part
from detector.engine.memory.checksums import STEPS, single_change
from detector.engine.memory.single import is_level, is_own_flicker

FARTHER = 0.25  # least length of a flat step, in median nearest-neighbour distances
FEWEST = 6  # least number of values that a flat step moves
FULL = 0.97  # share of the largest change from which a change has the full size
AT_FULL = 0.35  # least share of the moved values with the full size; what the range clips has less
BOTH_SIDES = 0.06  # least share of these on either side; two at least
ROUGH = 0.4  # least von Neumann ratio: a change of brightness or contrast has a lower one
LATTICE = 0.95  # share of all values on multiples of the step, from which it is a level of a picture with few levels
DITHERED = 0.29  # least deviation of the retained values, in steps: of values that are spread evenly over one step
ON_LATTICE = 0.04  # distance from a multiple, in steps
SLACK = 1.5  # difference of two sampled values that is a move, in roundings
SINGLE_MOST = 0.2  # largest change of a single value, in value ranges
SINGLE_NEAR = 0.5  # farthest query that a single change leads to, in median nearest-neighbour distances
AS_FAR = 0.03  # relative difference of two changes that are as large
SPHERE_NEAREST = 4  # entries that are compared with a query on a sphere
RECORDS_PAIRED = 24  # the same among records, which lie closer together
TWINS = 3  # values moved to both sides by a few levels about one query; a flicker seldom returns to a value
PAIRED = 10  # nearest entries that may be ends of an interval
STRAIGHT = 0.05  # largest tolerance of an interval between accounts
OFF_CENTRE = 0.03  # largest distance from the middle, as a share of the interval, beside rounding


@kernel
def is_both_sided(delta, retained, distance, rounding, grain, lowest):
    """Tell whether the sampled values moved by one size to both sides.

    `delta` (samples,) is the move in value ranges, exact to `rounding`. `retained` (samples,) are the values that it starts
    from, in units of `rounding`, from `lowest` on. `distance` is its length in median nearest-neighbour distances.
    `grain` is one level of the population's values in value ranges, 0 where they are continuous.
    """
    if distance <= FARTHER:
        return False
    largest = np.float64(0.0)
    moved = 0
    for value in delta:
        largest = max(largest, abs(np.float64(value)))
        moved += abs(value) > SLACK * rounding
    if moved < FEWEST or largest >= LARGEST or largest <= max(GRAINS * grain, ROUNDINGS_FEW * rounding):
        return False
    full = 0
    up = 0
    bar = FULL * largest - rounding
    for value in delta:
        full += abs(value) >= bar
        up += value >= bar
    fewer = min(up, full - up)
    if full <= AT_FULL * moved or fewer < 2 or fewer <= BOTH_SIDES * full:
        return False
    known = 0
    for j in range(delta.shape[0]):
        if abs(delta[j]) < bar:
            continue
        for k in range(delta.shape[0]):
            if abs(np.float64(retained[k]) - np.float64(retained[j]) - delta[j] / rounding) < 1.0:
                known += 1
                break
    if known > KNOWN * full or is_own_level(retained, delta, largest, rounding):
        return False
    if is_flat(retained, largest, rounding) or is_on_lattice(delta, retained, largest, rounding, lowest):
        return False
    return von_neumann_ratio(delta, retained) > ROUGH


@kernel
def is_flat(retained, largest, rounding):
    """Tell whether values vary so little that a step from them cannot be told from another picture of as few levels.

    A dithered or posterised picture takes levels on either side of its mean, so it is a flat step from every flat picture of
    that mean. Of what varies by less than `DITHERED` of the step, all rounds to the same levels.
    """
    total = 0.0
    squares = 0.0
    for value in retained:
        total += np.float64(value)
        squares += np.float64(value) ** 2
    mean = total / retained.shape[0]
    return np.sqrt(max(squares / retained.shape[0] - mean * mean, 0.0)) * rounding < DITHERED * largest


@kernel
def is_on_lattice(delta, retained, largest, rounding, lowest):
    """Tell whether the values of both queries are multiples of the step: those of a picture with few levels are."""
    step = largest / rounding
    values = 0
    on = 0
    for j in range(delta.shape[0]):
        for share in range(2):
            value = np.float64(retained[j]) - lowest + share * delta[j] / rounding
            if value > 1.0:
                values += 1
                away = value / step - np.rint(value / step)
                on += abs(away) * step <= max(ON_LATTICE * step, 1.0)
    return on >= LATTICE * values


@part
def offset_from(entries, c, near, found, sphere, scales, delta):
    """Return the rank among the nearest entries of that which the query is a flat step from, -1 without any."""
    measured = scales.measured
    many = min(found, SPHERE_NEAREST) if sphere else found
    for i in range(many):
        start = entries.c[near.place[i], :measured]
        distance = np.sqrt(near.square[i]) * scales.unit
        if sphere:
            if not flattened(start, c[:measured], scales.c_zero, scales.c_unit, delta):
                continue
        else:
            step_between(start, c, scales.c_unit, delta)
        if is_both_sided(delta, start, distance, scales.c_unit, scales.grain, scales.c_lowest):
            return i
    return -1


@part
def single_from(entries, c, total, weighed, near, found, keys, scales):
    """Return the rank of the nearest entry about which a single value moved as far as another did before, -1 without any.

    Entries about which single values moved remember the latest one, how far it moved, and how many were twins: moved to both
    sides by one size. Changes of as few levels as a sensor flickers count only among twins.
    """
    rank = -1
    for i in range(found):
        if np.sqrt(near.square[i]) * scales.unit >= SINGLE_NEAR:
            break
        place = near.place[i]
        moved = 0
        last = 0
        for j in range(scales.measured):
            if entries.c[place, j] != c[j]:
                moved += 1
                last = j
        if moved > 1:
            continue
        size = np.int64(0)
        value = np.int64(last)
        if keys.shape[0] > 0:
            value, size = single_change(total, weighed, entries.total[place], entries.weighed[place], keys)
            if value < 0:
                continue
        elif moved == 1:
            size = np.int64(np.rint((np.float64(c[last]) - np.float64(entries.c[place, last])) * scales.c_unit * STEPS))
        if size == 0 or abs(size) >= SINGLE_MOST * STEPS:
            continue
        flickers = is_level(size, scales.grain) or is_own_flicker(
            entries.c[place, : scales.measured], c[: scales.measured], size, scales.c_unit
        )
        before = np.int64(entries.size[place])
        as_far = before != 0 and abs(abs(size) - abs(before)) <= AS_FAR * abs(before)
        twin = as_far and value == entries.value[place] and (size > 0) != (before > 0)
        entries.size[place] = size
        entries.value[place] = value
        entries.probes[place] = min(entries.probes[place] + 1, 255)
        entries.twins[place] = min(entries.twins[place] + int(twin), 255)
        many = entries.twins[place] >= TWINS and entries.probes[place] <= 2.5 * entries.twins[place] + 1.0
        if rank < 0 and (many if flickers else as_far):
            rank = i
    return rank


@part
def halving_of(entries, query, c, near, found, scales, population, gathered):
    """Return (depth, end, end) of the shortest interval between two of the nearest entries that the query halves."""
    few = min(found, PAIRED)
    mixed = False
    for i in range(1, few):
        mixed = mixed or entries.label[near.place[i]] != entries.label[near.place[0]]
    if not mixed:
        return 0, -1, -1
    length = entries.z.shape[2]
    for i in range(few):
        cell, at = near.place[i] // length, near.place[i] % length
        for k in range(query.shape[0]):
            gathered[i, k] = np.float32(entries.z[cell, k, at]) * population.sharpness[k]
    sharpened = query * population.sharpness
    tolerance = min(scales.tolerance, STRAIGHT)
    depth, one, other, position = interval_depth(
        sharpened,
        near.place[:few],
        gathered,
        entries.label,
        entries.uid,
        entries.depth,
        population.origin,
        tolerance,
        scales.blur,
    )
    if depth == 0:
        return 0, -1, -1
    way = 0.0
    for k in range(query.shape[0]):
        gap = np.float64(entries.z[one // length, k, one % length]) - np.float64(entries.z[other // length, k, other % length])
        way += (gap * population.sharpness[k]) ** 2
    if abs(position - 0.5) > OFF_CENTRE + np.sqrt(scales.blur / (query.shape[0] * max(way, 1.0))):
        return 0, -1, -1
    if depth < DEEP and scales.measured >= PICTURE and population.origin.shape[0] == 0:
        first = entries.c[one, : scales.measured]
        second = entries.c[other, : scales.measured]
        values = c[: scales.measured]
        if not halves_texture(
            first, second, values, position, scales.tolerance, scales.rounding, scales.c_lowest, scales.c_highest
        ):
            return 0, -1, -1
        way_of = np.empty(scales.measured, np.float32)
        step_between(first, second, scales.c_unit, way_of)
        if is_toned(way_of, first, scales.c_unit, scales.rounding, scales.c_lowest, scales.c_highest):
            return 0, -1, -1
    return depth, one, other
