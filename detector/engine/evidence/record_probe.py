"""Record probe: a record of a table is an earlier one with one number moved a little, and moved back by as much.

The channel `probe` in tables. A step counts that is short beside the spread of its column, or a single level, has its mirror
image about the same record, and siblings: short moves of other numbers of that record. Where a column has no coordinate of its
own, its moves show as directions in the coordinates that such columns share.
"""

import numpy as np

from detector.engine.evidence.probe import COLLINEAR, MIRRORED, only_move
from detector.engine.kernels import kernel

LEAST_RECORD_STEPS = 3.0  # least move of a column in the memory's integers, where no projection blurs it
TABLE_STEP = 0.2  # largest move of a column, in standard deviations of the column
VARIED = 3  # least number of other columns that siblings of a probe of a column without a coordinate moved
MIXED = 0.1  # least share of a squared step that is no mixture of others, of which rounding and chance leave a little


@kernel
def longest_probe(level, variance):
    """Return the longest move of a column that may probe it: a share of its spread, or one level.

    A level as large as the spread is none: of three values, the one in the middle has both others beside it.
    """
    spread = np.sqrt(np.float64(variance))
    single = 1.05 * np.float64(level) + 1.0
    return max(TABLE_STEP * spread, single if 0.0 < level < spread else 0.0)


@kernel
def keeps_apart(way, length, ways, found):
    """Enter the way (coordinates,) in `ways`, whose first `found` rows are filled, unless it is a mixture of those.

    Its squared length is `length`, and `way` itself is used up.
    """
    for other in range(found):
        along = 0.0
        for j in range(way.shape[0]):
            along += way[j] * ways[other, j]
        for j in range(way.shape[0]):
            way[j] -= along * ways[other, j]
    rest = 0.0
    for j in range(way.shape[0]):
        rest += way[j] * way[j]
    if rest <= MIXED * length:
        return False
    for j in range(way.shape[0]):
        ways[found, j] = way[j] / np.sqrt(rest)
    return True


@kernel
def hidden_centre(query, z, held, columns, longest):
    """Return the place of the record about which a short step in hidden columns has its mirror image; -1 if there is none.

    The centre need not be the nearest record: another probe may go nearly the same way. `longest` is the largest squared length
    of the step.
    """
    places = np.empty(held, np.int64)
    n = 0
    for m in range(held):
        if only_move(query, z, m, columns) == columns:
            places[n] = m
            n += 1
    alike = places[:n]
    for centre in alike:
        size = 0.0
        largest = 0.0
        for k in range(columns, query.shape[0]):
            step = np.float64(query[k]) - np.float64(z[k, centre])
            size += step * step
            largest = max(largest, abs(step))
        if largest < LEAST_RECORD_STEPS or size > longest:
            continue
        spare = max(MIRRORED * largest, 2.0)  # of three rounded records
        for m in alike:
            mirrored = m != centre
            for k in range(columns, query.shape[0]):
                rest = np.float64(query[k]) + np.float64(z[k, m]) - 2.0 * np.float64(z[k, centre])
                if not mirrored or abs(rest) > spare:
                    mirrored = False
                    break
            if mirrored:
                return centre
    return -1


@kernel
def is_hidden_probe(query, z, held, columns, grain, variance, hidden):
    """Tell the same as `is_record_probe` where the number has no coordinate of its own.

    The coordinates from `columns` on show the direction and the length of its move. They stand for `hidden` columns, each of
    which has its share of their variance; directions are compared in units of that. Records that drift by a level in a few
    columns have twins as well, so siblings must have moved `VARIED` columns: each with a coordinate of its own counts, and of
    the others each direction that is none of those before and no mixture of them.
    """
    shared = query.shape[0] - columns
    usual = 0.0
    for k in range(columns, query.shape[0]):
        usual += np.float64(variance[k])
    longest = TABLE_STEP * TABLE_STEP * usual / max(hidden, 1)
    centre = hidden_centre(query, z, held, columns, longest)
    if centre < 0:
        return False
    largest = 0.0
    for k in range(columns, query.shape[0]):
        largest = max(largest, abs(np.float64(query[k]) - np.float64(z[k, centre])))
    spare = max(MIRRORED * largest, 2.0)
    seen = np.zeros(columns, np.bool_)
    ways = np.zeros((1 + VARIED, shared))  # of length one, each at right angles to those before; that of the step is first
    found = 0
    for turn in range(-1, held):
        m = turn if turn >= 0 else centre
        if turn == centre:
            continue
        moved = columns if turn < 0 else only_move(z[:, m], z, centre, columns)
        if moved < 0:
            continue
        if moved < columns:
            other = np.float64(z[moved, m]) - np.float64(z[moved, centre])
            seen[moved] = bool(seen[moved] or abs(other) <= longest_probe(grain[moved], variance[moved]))
            continue
        size = 0.0
        length = 0.0
        mirror = 0.0
        same = 0.0
        way = np.empty(shared)
        for j in range(shared):
            k = columns + j
            step = np.float64(query[k]) - np.float64(z[k, centre])
            other = step if turn < 0 else np.float64(z[k, m]) - np.float64(z[k, centre])
            size += other * other
            mirror = max(mirror, abs(other + step))
            same = max(same, abs(other - step))
            way[j] = other / np.sqrt(max(np.float64(variance[k]), 1.0))
            length += way[j] * way[j]
        if turn >= 0:
            along = 0.0
            for j in range(shared):
                along += way[j] * ways[0, j]
            if along * along > COLLINEAR * length:
                if min(mirror, same) > spare:  # the column goes on, as a slider does
                    return False
                continue
            if size > longest or found > VARIED:
                continue
        found += keeps_apart(way, length, ways, found)
    return seen.sum() + found - 1 >= VARIED


@kernel
def is_record_probe(query, z, held, retained, columns, grain, variance, hidden):
    """Tell whether a record is `retained` with one number moved a little, and its mirror image and siblings are retained.

    `query` (coordinates,) and `z` (coordinates, retained) are in the memory's integers. The first `columns` coordinates are
    numbers. `grain` and `variance` (coordinates,) are the size of a column's level, 0 if it has none, and its variance.
    `hidden` is how many columns have no coordinate of their own.
    """
    moved = only_move(query, z, retained, columns)
    if moved < 0:
        return False
    if moved == columns:
        return is_hidden_probe(query, z, held, columns, grain, variance, hidden)
    step = np.float64(query[moved]) - np.float64(z[moved, retained])
    if abs(step) < LEAST_RECORD_STEPS or abs(step) > longest_probe(grain[moved], variance[moved]):
        return False
    mirrored = False
    seen = np.zeros(columns, np.bool_)
    for m in range(held):
        if m == retained:
            continue
        k = only_move(z[:, m], z, retained, columns)
        if k < 0 or k == columns:
            continue
        other = np.float64(z[k, m]) - np.float64(z[k, retained])
        if k != moved:
            seen[k] = bool(seen[k] or abs(other) <= longest_probe(grain[k], variance[k]))
        elif abs(step + other) <= max(MIRRORED * abs(step), 1.0):
            mirrored = True
        else:
            return False
    return mirrored and seen.sum() >= 1
