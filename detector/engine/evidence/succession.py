"""Succession: records are made from earlier ones in the order in which those were asked, each by the same steps.

Augmentation goes through its seeds one by one (JbDA: Papernot et al., AsiaCCS 2017; T-RND: Juuti et al., EuroS&P 2019). So of
two records in a row, the first was made from some earlier record and the second from the one after that. This tells the parent
of a step that is longer than the way to the nearest record, which `children` takes for the parent.

The two steps must be twins as in `children`, but need not agree in as many columns: with the parent known, few other pairs of
steps are compared. Iterated steps turn round in some columns, so that they agree in about half. Once a record was found, the
next ones are expected to come from as far back.

In a table of two numbers a twin may also be a point of a lattice, as a person leaves who tries two amounts. Seeds are no points
of one lattice, so there the two parents must differ by other than whole steps.

Blind to: seeds in another order than that in which they were asked, and other queries between the children.
"""

import numpy as np

from detector.engine.evidence.children import (
    FINE,
    LOOSELY,
    MANY,
    ROUNDING,
    SPARE,
    TWINS,
    agreement,
    most_differing,
    slack,
    steps_agree,
    ways_to,
    width_for,
)
from detector.engine.kernels import kernel, part

FEW = 2  # least number of columns in which two steps agree, where a table has no more
SHARE = 0.5  # share of the columns in which two steps agree
LONGEST = 65535.0  # difference of two of the memory's integers


@kernel
def place_of(order, asked, ring):
    """Return the place of the retained record before which `asked` others were retained, -1 if it is no longer known.

    `order` (places,) is the client's column (see `memory.reservoir`): the ring, then, where they were put, the first
    records that it displaced.
    """
    if asked < 0:
        return np.int64(-1)
    place = np.int64(np.uint32(asked) % np.uint32(ring))  # a division of 32 bits takes half as long
    if np.int64(order[place]) == asked:
        return place
    place = asked + ring
    return place if place < order.shape[0] and np.int64(order[place]) == asked else np.int64(-1)


@kernel
def count_agreeing(ways, z, child, parents, level, sums):
    """Count in `sums` (places,) the columns in which two steps may agree: from each place to the query, and to `child`.

    The second step begins at the place that `parents` (held,) has for the first one, -1 where that is not known; what is
    counted there says nothing. For `ways` (numbers, places) see `ways_to`. No branch depends on the data, and all numbers have
    16 bits, so that many are compared at once: nearly all parents lie in the place before.
    """
    held = parents.shape[0]
    elsewhere = np.empty(held, np.int64)
    others = 0
    for m in range(held):
        elsewhere[others] = m
        others += (parents[m] != m - 1) & (parents[m] >= 0)
    sums[:] = 0
    earlier = np.zeros(ways.shape[1], np.uint16)
    for j in range(ways.shape[0]):
        grid = np.float64(level[j])
        if ROUNDING + 0.25 * grid > LONGEST:
            continue
        least = np.uint16(np.ceil(ROUNDING + 0.25 * grid))
        fine = np.uint16(min(np.ceil(FINE * grid), LONGEST))
        short = np.uint16(min(LOOSELY * slack(0.0, grid), LONGEST))
        long = np.uint16(min(LOOSELY * slack(FINE * grid, grid), LONGEST)) if FINE * grid <= LONGEST else short
        last = z[j, child]
        for m in range(1, held):
            earlier[m] = np.uint16(max(z[j, m - 1], last) - min(z[j, m - 1], last))
        for i in range(others):
            start = z[j, parents[elsewhere[i]]]
            earlier[elsewhere[i]] = np.uint16(max(start, last) - min(start, last))
        own = ways[j]
        for m in range(own.shape[0]):
            longer = max(own[m], earlier[m])
            shorter = min(own[m], earlier[m])
            off = long if longer >= fine else short
            sums[m] += np.uint16(shorter >= least) * np.uint16(np.uint16(longer - shorter) <= off)


@kernel
def may_agree(query, z, place, child, parent, level, ends, numbers):
    """Tell whether two steps may agree in enough columns; False is certain. `ends` (2, numbers) are the client's extremes."""
    most = most_differing(SHARE)
    agreed = 0
    differed = 0
    for j in range(numbers):
        q, m = np.float64(query[j]), np.float64(z[j, place])
        now, before = q - m, np.float64(z[j, child]) - np.float64(z[j, parent])
        found = agreement(now, before, q, m, np.float64(z[j, child]), np.float64(z[j, parent]), np.float64(level[j]))
        if found < 0:
            end = q if abs(now) < abs(before) else np.float64(z[j, child])
            differed += ends[0, j] < end < ends[1, j]
            if differed > most * (numbers - differed) + SPARE:
                return False
        agreed += found > 0
    return agreed >= min(MANY, numbers)


@kernel
def on_lattice(z, one, other, query, place, level, numbers):
    """Tell whether the records at two places differ in each number by whole steps like that from `place` to the query."""
    for j in range(numbers):
        size = abs(np.float64(query[j]) - np.float64(z[j, place]))
        way = abs(np.float64(z[j, one]) - np.float64(z[j, other]))
        off = slack(size, np.float64(level[j]))
        if size <= off:
            continue
        if abs(way - np.rint(way / size) * size) > off:
            return False
    return True


@kernel
def usual_lags(z, order, held, kin, numbers, lags):
    """Write how far back the records lie from which retained ones were made to `lags` (TWINS,), 0 where that is not known.

    `kin` are the client's kept steps; the first of them had a twin.
    """
    lags[:] = 0
    for k in range(TWINS):
        if kin.origin[k] == 0:
            continue
        for m in range(held):
            same = np.int64(order[m]) >= np.int64(kin.origin[k])
            for j in range(numbers):
                if not same:
                    break
                same = z[j, m] == kin.child[k, j]
            if same:
                lags[k] = np.int64(order[m]) - np.int64(kin.origin[k]) + 1
                break


@kernel
def extremes(query, z, held, ends):
    """Write the extremes of each number, in the query and the retained records, to `ends` (2, numbers)."""
    for j in range(ends.shape[1]):
        lowest = highest = np.int64(query[j])
        for m in range(held):
            lowest = min(lowest, np.int64(z[j, m]))
            highest = max(highest, np.int64(z[j, m]))
        ends[0, j], ends[1, j] = lowest, highest


@part
def find_successor(query, past, kin, level, numbers, ring):
    """Return (worth, place): the record from which the query is made, if the record after it was made last; else (-inf, -1).

    The latest retained record was made then from the record before that at `place`. The worth is a logarithm, less that of the
    number of comparisons. Half of what is expected are records as far back as those from which the kept steps `kin` led.
    """
    found = -np.inf
    at = -1
    if past.held < 3:
        return found, at
    child = past.newest
    parents = np.empty(past.held, np.int64)
    for m in range(past.held):
        parents[m] = place_of(past.order, np.int64(past.order[m]) - 1, ring)
    ways = np.empty((numbers, width_for(past.held)), np.uint16)
    ways_to(query, past.z, past.held, ways)
    sums = np.empty(ways.shape[1], np.uint16)
    count_agreeing(ways, past.z, child, parents, level, sums)
    looked = False  # what few queries need is not computed for the others
    ends = np.empty((2, numbers))
    lags = np.empty(TWINS, np.int64)
    for m in range(past.held):
        parent = parents[m]
        if parent < 0 or m == child or sums[m] < min(MANY, numbers):
            continue
        if not looked:
            extremes(query, past.z, past.held, ends)
            usual_lags(past.z, past.order, past.held, kin, numbers, lags)
            looked = True
        if not may_agree(query, past.z, m, child, parent, level, ends, numbers):
            continue
        if numbers < MANY and on_lattice(past.z, m, parent, query, m, level, numbers):
            continue
        worth = steps_agree(query, past.z, past.held, m, past.z[:, child], past.z[:, parent], level, numbers, SHARE)
        lag = np.int64(past.stored) - np.int64(past.order[m])
        expected = False
        for k in range(TWINS):
            expected = expected or lags[k] == lag
        worth -= np.log(2.0 * TWINS if expected else 2.0 * past.held)
        if worth > found:
            found = worth
            at = m
    return found, at
