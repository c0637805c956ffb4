"""Single: the query is an earlier one with one value moved, sampled or not; evidence of the channel `probe`.

Of pictures and other inputs of many values the memory samples only some, and the projection blurs the others. The checksums
show exactly which value moved and by how much. Three patterns of such changes do not happen by accident:

- *Twins.* The change mirrors another probe of the same value about the same query, and that query has probes of other values.
- *A series.* Several values are moved by one small size: two-sided differences from queries that were never asked themselves
  (ZOO; Chen et al., AISec 2017), and one-sided differences.
- *A walk.* One value after the other is moved, some up and some down, all over the input. Each change builds on those before,
  and no value moves twice. Lowd and Meek (KDD 2005) search in this way for the value that changes the answer.

Innocent trigger: a person who turns one picture into another dot by dot, in no order. Guards keep out other innocent traffic:
toggling pixels (the same value moves again or returns), strokes and progress bars (the next change is adjacent), single-colour
drawings (one size), scans (one direction), patches and impulses (large changes), and sensors that flicker by one level.

Where sensors flicker by a few levels, changes of as many count only if most values about one query moved to both sides, or if
they come in *pairs*: two queries that differ in one value and from the others in more, again and again. Those are the two sides
of a query that was never asked and moves on after each pair. A flicker leads back to one picture, which then has many partners.
Rounding to levels parts two equal changes by up to a level. At an end of its range a value has one side only.

Blind to: one-sided series of one-level steps, walks in order or after the client moved one value to and fro, two values at a
time.
"""

from typing import NamedTuple

import numpy as np

from detector.engine.evidence.interval import DEEPEST, OFF_MIDDLE
from detector.engine.evidence.probe import COARSE, MOST_MOVED, SIBLINGS
from detector.engine.evidence.step import least_gap
from detector.engine.kernels import kernel, part
from detector.engine.memory.checksums import STEPS, single_change

LARGEST = 0.1  # largest probe, in value ranges
EVEN = 4  # difference of two equal sizes that is always allowed, in steps of the checksums
SERIES = 2  # least number of other values that were moved as far before
MOST_SAME = 2  # most times that this value was moved as far: there and back
SHARE = 1 / 2  # least share of changes of just this size among the latest single changes
SHORT = 2  # longest run of single changes that counts as a probe; drawing and retouching make longer runs
PAIRS = 3  # least number of values moved to both sides by one size, where sensors flicker by as much
ONE_SIDED = 2  # least number of such values for each one that moved to one side only; a flicker rarely returns to a value
OTHERS = 2  # least number of other values that moved alone before a halving of one value counts; calculators move one or two
ONCE = 6  # least number of such values for each return to a side that was tried before, by another size; hot pixels return
WALK = 6  # least run of single changes that counts as a walk
ASIDE = 0.2  # distance to the next value, as a share of the input's length, from which it is elsewhere; strokes stay nearer
SCATTERED = 0.4  # least share of the changes of a walk that go elsewhere
ABOUT = 0.15  # tolerance of a change of one level, in levels
FEW = 3  # largest flicker of a sensor, in levels
UNKNOWN, FREE, AT_END = range(3)  # where a value that moved alone started
EXACT = 0.02  # tolerance of a change of two levels or more, in levels
MORE_THAN_LEVEL = 1.5  # least change of more than one level, in levels


class Single(NamedTuple):
    """The change of a single value from the retained query at `place` to the new one; `place` is -1 if there is none.

    `value` is the value that moved and `size` the number of steps, with its sign. `run` is how many single changes in a row
    lead to the new query. A change `flickers` if it is a few levels of the population's values. It `probes` if it belongs to
    one of the patterns of this module. `depth` and `end` are the results of `halved`.
    """

    place: int
    value: int
    size: int
    run: int
    flickers: bool
    probes: bool
    depth: int
    end: int


@kernel
def resembles(c, values, near, newest):
    """Tell whether few of the sampled `values` (samples,) differ from those of one of the retained queries `near` or `newest`.

    With this quick test nearly every query skips the search for the retained query that it was made from, which need not be one
    of these.
    """
    for turn in range(near.shape[0] + 1):
        m = newest if turn == near.shape[0] else near[turn]
        moved = 0
        for j in range(values.shape[0]):
            moved += c[m, j] != values[j]
            if moved > MOST_MOVED:
                break
        if moved <= MOST_MOVED:
            return True
    return False


@kernel
def nearest_single(total, weighed, run, held, sums, keys):
    """Return (place, value, size, run) of the smallest single change that leads to the query, -1 and zeros without any.

    `total`, `weighed` and `run` (places,) are the client's columns, and `sums` (2,) are the sums of the query. `size` is in
    steps, with its sign. The `run` returned is the least number of single changes in a row that lead to the query.
    """
    place = -1
    value = 0
    size = 0
    shortest = np.int64(255)
    for m in range(held):
        p, d = single_change(sums[0], sums[1], total[m], weighed[m], keys)
        if p >= 0:
            shortest = min(shortest, np.int64(run[m]) + 1)
            if place < 0 or abs(d) < abs(size):
                place = m
                value = p
                size = d
    return place, value, size, shortest if place >= 0 else 0


@kernel
def are_even(size, other):
    """Tell whether two sizes, in steps, are equal up to rounding."""
    return abs(abs(size) - abs(other)) <= max(EVEN, 0.01 * abs(size))


@kernel
def slip_of(size, grain):
    """Return by how many steps rounding may part two equal changes: one level where this one is whole levels, else 0.

    The two sides of a query are each rounded by up to half a level. `size` is in steps, and `grain` is one level in value
    ranges, 0 where there are none.
    """
    if grain <= 0.0:
        return 0.0
    levels = abs(size) / STEPS / grain
    return (1.0 + EXACT) * grain * STEPS if abs(levels - np.rint(levels)) < EXACT else 0.0


@kernel
def are_sides(size, other, slip):
    """Tell whether two sizes, in steps, are equal up to rounding, which may part them by `slip`."""
    return are_even(size, other) or abs(abs(size) - abs(other)) <= slip


@kernel
def are_alike(size, other):
    """Tell whether two sizes, in steps, are equal, or one is twice the other, as from one twin to the other."""
    return are_even(size, other) or are_even(2 * size, other) or are_even(size, 2 * other)


@kernel
def has_twin(total, weighed, held, place, value, size, keys, slip):
    """Return (mirrored, tried): whether the change has a mirror image and siblings, and whether it comes from a slider.

    The change starts at the retained query at `place` and moves `value` by `size` steps. A sibling is a single change of
    another value from the same query. If the value has a third position, somebody moves a slider. For `slip` see `are_sides`.
    """
    mirrored = False
    tried = False
    siblings = 0
    for m in range(held):
        if m == place:
            continue
        p, d = single_change(total[m], weighed[m], total[place], weighed[place], keys)
        if p < 0:
            continue
        if p != value:
            siblings += 1
        elif are_sides(size, d, slip) and (d > 0) != (size > 0):
            mirrored = True
        else:
            tried = True
    return mirrored and siblings >= SIBLINGS and not tried, tried


@kernel
def room_of(start, values, lowest, highest):
    """Return where a value that moves alone starts: `AT_END` of its range, so that it has one side only, or `FREE`.

    It is `UNKNOWN` where the value is not among the sampled ones, from `start` to `values` (samples,), or does not show there.
    """
    for j in range(start.shape[0]):
        if start[j] != values[j]:
            return AT_END if start[j] <= lowest + 0.5 or start[j] >= highest - 0.5 else FREE
    return UNKNOWN


@kernel
def is_mirrored_series(total, weighed, c, held, place, value, size, keys, slip, values, ends):
    """Tell whether most values that moved by this size about the retained query at `place` moved to both sides.

    Two-sided differences do so. A flicker of a few levels hits values at random, so it rarely returns to one of them, and where
    it does, it returns to one side as often. A value at an end of its range has one side only, which says nothing.

    `c` (places, samples) are the client's sampled values, `values` (samples,) those of the query, and `ends` the least and the
    largest value. For `slip` see `are_sides`.
    """
    moved = np.empty(held + 1, np.int64)
    sides = np.zeros(held + 1, np.int64)
    to = np.full(held + 1, -1)
    moved[0] = value
    sides[0] = 1 if size > 0 else 2
    n = 1
    again = 0
    for m in range(held):
        p, d = single_change(total[m], weighed[m], total[place], weighed[place], keys)
        if m == place or p < 0 or not are_sides(size, d, slip):
            continue
        side = 1 if d > 0 else 2
        k = 0
        while k < n and moved[k] != p:
            k += 1
        again += int(k < n and sides[k] & side != 0)
        moved[k] = p
        sides[k] |= side
        to[k] = m
        n = max(n, k + 1)
    both = 0
    free = 0
    start = c[place, : values.shape[0]]
    for k in range(n):
        if sides[k] == 3:
            both += 1
        elif k > 0:
            free += int(room_of(start, c[to[k], : values.shape[0]], ends[0], ends[1]) == FREE)
    if both < PAIRS or again * ONCE > both:
        return False
    one_sided = min(free * keys.shape[0] / values.shape[0], n - both)
    return both >= ONE_SIDED * one_sided and (sides[0] == 3 or room_of(start, values, ends[0], ends[1]) == AT_END)


@kernel
def in_pairs(total, weighed, order, stored, ring, held, place, value, size, sums, keys, slip, at_end):
    """Tell whether the query and the retained one at `place` are the latest of several pairs that differ in one value each.

    Both queries of a pair differ from all other latest queries in more than one value, or by more than a flicker. The pairs
    are of one size, each in another value, and its two queries were asked one after the other: of a flicker that never shows
    the picture itself, two frames differ in one value as well where it returns to one. The latest queries are the last `ring`
    of `stored`, by their `order` (places,), among the first `held` places. `sums` (2,) are those of the query; for `slip` see
    `are_sides`.

    Pairs of a single level say nothing, since two places of a slider may be as near. The query at hand counts beside others
    where its value is `at_end` of its range: there it moves half as far.
    """
    least = MORE_THAN_LEVEL * slip
    whole = 2 * size if at_end else size
    if order[place] + 1 != stored or abs(whole) <= least:
        return False
    oldest = stored - ring
    most = (FEW + 1.0) * slip
    partners = np.zeros(held, np.int64)
    mate = np.full(held, -1)
    moved = np.zeros(held, np.int64)
    sizes = np.zeros(held, np.int64)
    for m in range(held):
        if order[m] < oldest:
            continue
        if m != place:
            p, d = single_change(sums[0], sums[1], total[m], weighed[m], keys)
            if p >= 0 and abs(d) <= most:
                return False
        for other in range(m):
            if order[other] < oldest:
                continue
            p, d = single_change(total[m], weighed[m], total[other], weighed[other], keys)
            if p < 0 or abs(d) > most:
                continue
            if place in (m, other):
                return False
            partners[m] += 1
            partners[other] += 1
            mate[m] = other if abs(np.int64(order[m]) - np.int64(order[other])) == 1 else -1
            moved[m] = p
            sizes[m] = d
    pairs = int(abs(size) > least)
    others = 0
    seen = np.full(held + 1, -1, np.int64)
    for m in range(held):
        if mate[m] < 0 or partners[m] != 1 or partners[mate[m]] != 1 or abs(sizes[m]) <= least:
            continue
        if moved[m] == value or not are_sides(whole, sizes[m], slip):
            others += 1
        elif not (seen == moved[m]).any():
            seen[pairs] = moved[m]
            pairs += 1
    return pairs >= PAIRS and pairs > others


@kernel
def in_even_series(value, size, values, sizes, singles):
    """Tell whether changes of several other values were as large, and this value is no lamp, which toggles back later.

    `values` (changes,) counted from 1 and `sizes` (changes,) in steps are the client's latest, of `singles` in all.
    """
    n = values.shape[0]
    left = False
    for back in range(1, min(singles, n) + 1):
        same_value = values[(singles - back) % n] == value + 1
        if same_value and left:
            return False
        left = left or not same_value
    alike = 0
    even = 0
    for k in range(values.shape[0]):
        if values[k] == 0 or not are_alike(size, np.int64(sizes[k])):
            continue
        even += are_even(size, np.int64(sizes[k]))
        same = 0
        first = True
        for other in range(values.shape[0]):
            if values[other] == values[k] and are_alike(size, np.int64(sizes[other])):
                same += 1
                first = first and other >= k
        if same + (values[k] == value + 1) > MOST_SAME:
            return False
        alike += first and values[k] != value + 1
    return alike >= SERIES and even >= SHARE * min(singles, n)


@kernel
def most_alike(sizes):
    """Return how many of the `sizes`, in steps with signs, are the same, as in a drawing of one colour on an empty ground."""
    most = 0
    for size in sizes:
        same = 0
        for other in sizes:
            same += int(abs(size - other) <= EVEN)
        most = max(most, same)
    return most


@kernel
def in_walk(value, size, run, values, sizes, singles, dimension):
    """Tell whether the latest changes are a walk: up and down, all over the input, and no value twice.

    `values` (changes,) counted from 1 and `sizes` (changes,) in steps are the client's latest, of `singles` in all.
    """
    n = values.shape[0]
    kept = min(singles, n)
    if run < WALK or kept < WALK - 1:
        return False
    for k in range(kept):
        if values[k] == value + 1:
            return False
        for other in range(k):
            if values[other] == values[k]:
                return False
    gaps = min(kept, run - 1)
    latest = np.empty(gaps + 1, np.int64)
    latest[0] = size
    for back in range(1, gaps + 1):
        latest[back] = sizes[(singles - back) % n]
    if 2 * most_alike(latest) > gaps + 1:
        return False
    at = value
    up = 0
    far = 0
    fell = int(size < 0)
    for back in range(1, gaps + 1):
        before = np.int64(values[(singles - back) % n]) - 1
        fell += latest[back] < 0
        up += at > before
        far += abs(at - before) > ASIDE * dimension
        at = before
    return 0 < fell <= gaps and 0 < up < gaps and far >= SCATTERED * gaps


@part
def is_single_probe(sums, held, place, value, size, run, keys, grain):
    """Tell whether a change of a single value belongs to one of the patterns of this module.

    `sums` are the client's rows of the checksums, whose first `held` places are filled. The change starts at the retained query
    at `place`, moves `value` by `size` steps, and is the last of `run` single changes in a row. `grain` is one level of the
    population's values, in value ranges.
    """
    if in_walk(value, size, run, sums.value, sums.size, sums.singles, keys.shape[0]):
        return True
    if run > SHORT or abs(size) > LARGEST * STEPS:
        return False
    twin, tried = has_twin(sums.total, sums.weighed, held, place, value, size, keys, slip_of(size, grain))
    return twin or (not tried and in_even_series(value, size, sums.value, sums.size, sums.singles))


@kernel
def halved(total, weighed, label, depth, held, sums, place, value, size, keys):
    """Return (depth, end) of the interval between two labels that the query halves in this value alone; (0, -1) without any.

    The interval goes from the retained query at `place`, which is not the farther end, to the one at `end`.
    """
    end = -1
    rest = 0
    for m in range(held):
        p, d = single_change(sums[0], sums[1], total[m], weighed[m], keys)
        if p == value and (d > 0) != (size > 0) and (end < 0 or abs(d) < rest):
            end = m
            rest = abs(d)
    if end < 0 or label[end] == label[place] or abs(abs(size) / (abs(size) + rest) - 0.5) > OFF_MIDDLE:
        return 0, -1
    return min(max(np.int64(depth[place]), np.int64(depth[end])) + 1, DEEPEST), end


@kernel
def others_moved(value, values):
    """Return how many other values moved alone among the client's latest single changes.

    `values` (changes,) are those that moved, counted from 1, 0 where there are fewer changes.
    """
    others = 0
    for k in range(values.shape[0]):
        if values[k] != 0 and values[k] != value + 1:
            first = True
            for other in range(k):
                first = first and values[other] != values[k]
            others += int(first)
    return others


@kernel
def is_level(size, grain):
    """Tell whether a change, in steps, is a few levels of the population's values; a level is `grain` value ranges, 0: none."""
    if grain <= 0.0:
        return False
    levels = abs(size) / STEPS / grain
    return abs(levels - 1.0) < ABOUT or (levels < FEW + ABOUT and abs(levels - np.rint(levels)) < EXACT)


@kernel
def is_own_flicker(start, values, size, rounding):
    """Tell whether a change, in steps, is a few levels of a coarse grid on which the sampled values of both queries lie.

    `start` and `values` (samples,) are those of the retained query and of the new one, in units of `rounding`.
    """
    none = np.zeros(start.shape[0], np.float32)
    least = least_gap(start, none, rounding, 0)
    if not abs(least - least_gap(values, none, rounding, 0)) <= 1.0:  # NaN, where neither lies on a grid, fails too
        return False
    level = least * rounding
    levels = abs(size) / STEPS / level
    return level > COARSE and levels < FEW + ABOUT and abs(levels - np.rint(levels)) < ABOUT


@part
def probes_in_flicker(asked, past, sums, query_sums, place, value, size, keys, scales):
    """Tell whether a change of a few levels belongs to a pattern that no flicker leaves; arguments as in `find_single`."""
    slip = slip_of(size, scales.grain)
    values = asked.c[: scales.measured]
    ends = (scales.c_lowest, scales.c_highest)
    if is_mirrored_series(sums.total, sums.weighed, past.c, past.held, place, value, size, keys, slip, values, ends):
        return True
    stored = np.int64(past.stored)
    at_end = room_of(values, past.c[place, : scales.measured], scales.c_lowest, scales.c_highest) == AT_END
    return in_pairs(
        sums.total, sums.weighed, past.order, stored, scales.ring, past.held, place, value, size, query_sums, keys, slip, at_end
    )


@part
def no_single():
    """Return the `Single` that stands for no change."""
    return Single(-1, 0, 0, 0, False, False, 0, -1)


@part
def find_single(asked, past, sums, query_sums, keys, scales):
    """Return the smallest change of a single value that leads to the new query; `no_single` where there is none.

    `sums` are the client's rows of the checksums, `query_sums` (2,) those of the new query.
    """
    if not resembles(past.c, asked.c, past.near, past.newest):
        return no_single()
    place, value, size, run = nearest_single(sums.total, sums.weighed, sums.run, past.held, query_sums, keys)
    if place < 0:
        return no_single()
    flickers = is_level(size, scales.grain) or is_own_flicker(past.c[place], asked.c, size, scales.c_unit)
    if flickers:
        probes = probes_in_flicker(asked, past, sums, query_sums, place, value, size, keys, scales)
    else:
        probes = is_single_probe(sums, past.held, place, value, size, run, keys, scales.grain)
    depth, end = 0, -1
    if others_moved(value, sums.value) >= OTHERS:
        depth, end = halved(sums.total, sums.weighed, past.label, past.depth, past.held, query_sums, place, value, size, keys)
    return Single(place, value, size, run, flickers, probes, depth, end)
