"""Bisect: the query halves the way between two earlier queries with different answers.

Every search for the decision boundary does this: Lowd and Meek (KDD 2005), line search (Tramer et al., USENIX Security
2016), HopSkipJump (Chen et al., S&P 2020), path finding in trees. One point between two others proves nothing; a chain does.
So each retained query carries a depth: a point between two of different labels is one deeper than the deeper of them, and
only from the third halving on does it weigh.

In spaces of a few dimensions, where points lie on lines by accident, the middle must be met more exactly.

In tables the columns are looked at one by one, since each has units and levels of its own: every number of the query must lie
at the same place between those of two records, as nearly as its levels allow; what has no coordinate of its own, as codes,
must be that of one of the two, or lie between them likewise.
Where only one or two numbers move, as when somebody tries a field, the middle must be met. Leaves of a tree differ without
another label; answers that differ make an interval, too, if one of them was the client's latest.
"""

import numpy as np

from detector.engine.evidence.channel import Channel, Counted
from detector.engine.evidence.offset import von_neumann_ratio
from detector.engine.evidence.probe import largest_move
from detector.engine.kernels import kernel, part

CHANNEL = Channel(
    name="bisect",
    kind="construction",
    floor=14.0,
    ratio=Counted(attack=0.3, innocent=0.002),
    title="Queries that bisect answers",
    description="Queries halve the way between earlier ones with different answers.",
    meaning="queries halve the way between earlier queries with different answers, as a search for the boundary does",
    lookalike="a cross-fade between two inputs comes closest; a slider moved in order through its range does not look so",
    innocent=(
        "A cross-fade between two pictures comes closest. A slider that is moved through its range in order stays out: the "
        "newest point must be an end of the interval, and a change of a picture's intensity has a low von Neumann ratio."
    ),
    blind_to="Bisecting with noise on every query.",
)
BISECT_WEIGHTS = np.array([0.0, 0.0, 0.0, 0.1, 0.4, 1.0])  # by depth

OFF_MIDDLE = 0.2  # how far from the middle a point may lie, as a share of the interval
OFF_MIDDLE_TIGHT = 0.06  # likewise where a field or two are tried, and in spaces of a few dimensions,
TIGHT = 0.03  # where the tolerance is below this
SMOOTH = 0.25
DEEP = 6
DEEPEST = 250  # depths are counted up to here: a saved depth has 8 bits
PICTURE = 16  # values, below which there is no intensity to change
UNSEEN = 2.5  # roundings of the sampled values, up to which they cannot tell one change from another
GLANCE = 8  # coordinates that suffice to rule most pairs out
ASIDE = 0.02  # how far a number may lie from its place between two others, as a share of their distance
LEAST_LEVELS = 4.0  # of a column, by which the ends differ in the number that is halved
MANY = 3  # numbers that move together, which no field that is tried does
OFF_MIDDLE_WIDE = 0.3  # for them
INSIDE = 0.5 - OFF_MIDDLE_WIDE - ASIDE  # how far, as a share of their distance, a number lies from either end at least
NEIGHBOURHOOD = 2.5  # intervals from the middle, within which a search leaves
MOST_AROUND = 2  # records on the line beside the two ends; a field that is tried all over leaves more


@kernel
def on_line(first, second, middle, tolerance):
    """Return the position of `middle` on the line from `first` (0) to `second` (1), or NaN if it lies off the line.

    Off means farther from the line than `tolerance` times the smallest of the three distances involved.
    """
    along = 0.0
    length = 0.0
    reach = 0.0
    for k in range(first.shape[0]):
        way = np.float64(second[k]) - np.float64(first[k])
        part = np.float64(middle[k]) - np.float64(first[k])
        along += way * part
        length += way * way
        reach += part * part
    if length == 0.0:
        return np.nan
    position = along / length
    off = reach - position * along
    rest = reach - 2.0 * along + length
    if off > tolerance * tolerance * min(reach, rest, length):
        return np.nan
    return position


@kernel
def may_halve(query, z, near, squares, label, toward, tolerance):
    """Tell whether the query may lie between two of the anchors `near` with different labels; False is certain.

    Between two anchors the directions to them are opposite, up to an angle that the tolerance sets. A few coordinates suffice
    to see that they are not, which spares nearly every query the exact test. `z` (coordinates, anchors) are the client's,
    `squares` (anchors,) the squared distances, `toward` (n, few) is scratch.
    """
    n = near.shape[0]
    few = toward.shape[1]
    for a in range(n):
        m = near[a]
        scale = np.float32(1.0) / np.sqrt(max(squares[m], np.float32(1.0)))
        for k in range(few):
            toward[a, k] = (np.float32(z[k, m]) - query[k]) * scale
    # Each direction is off the line by the tolerance at most, so their sum is at most twice as long.
    most = np.float32(4.0 * tolerance * tolerance + 1e-3)
    for a in range(n):
        for b in range(a + 1, n):
            if label[near[a]] != label[near[b]]:
                rest = np.float32(0.0)
                for k in range(few):
                    d = toward[a, k] + toward[b, k]
                    rest += d * d
                if rest < most:
                    return True
    return False


@kernel
def is_unseen(largest, length, rounding, dimension):
    """Tell whether a step is so small that the sampled values cannot tell a change of intensity from another.

    `largest` is how far the sampled value moved that moved most, each being exact to `rounding`, and `length` that of the step
    in all `dimension` values, all in value ranges.
    """
    return largest <= UNSEEN * rounding and length <= rounding * np.sqrt(dimension)


@kernel
def bisection_depth(query, near, gathered, label, order, depth, delta, retained, tolerance, unseen):
    """Return (depth, end, end) of the shortest interval that the query halves, or (0, -1, -1).

    `near` (n,) are places of the nearest retained queries. `gathered` (n, coordinates) are their coordinates, in the units of
    `query`. `label`, `order` and `depth` are the client's columns. `delta` and `retained` describe the step from the nearest one,
    which may be `unseen` (see `is_unseen`).
    """
    off_middle = OFF_MIDDLE_TIGHT if tolerance < TIGHT else OFF_MIDDLE
    found = 0
    one = -1
    other = -1
    shortest = np.inf
    for a in range(near.shape[0]):
        for b in range(a + 1, near.shape[0]):
            if label[near[a]] == label[near[b]]:
                continue
            position = on_line(gathered[a], gathered[b], query, tolerance)
            if not abs(position - 0.5) <= off_middle:  # NaN, off the line, fails as well
                continue
            length = 0.0
            for k in range(query.shape[0]):
                length += (np.float64(gathered[a, k]) - np.float64(gathered[b, k])) ** 2
            if length >= shortest:
                continue
            # A search goes on from its newest point. If a newer point lies on this line, the query did not come from here.
            newest = max(order[near[a]], order[near[b]])
            stale = False
            for m in range(near.shape[0]):
                if order[near[m]] > newest and not np.isnan(on_line(gathered[a], gathered[b], gathered[m], tolerance)):
                    stale = True
            if stale:
                continue
            shortest = length
            one = near[a]
            other = near[b]
            found = max(depth[one], depth[other]) + 1
    if found == 0:
        return 0, -1, -1
    # A value that is not sampled may have moved alone; a change of intensity moves them all.
    if found < DEEP and retained.shape[0] >= PICTURE and (unseen or 0.0 < von_neumann_ratio(delta, retained) <= SMOOTH):
        return 0, -1, -1
    return min(found, DEEPEST), one, other


@kernel
def on_record_line(query, one, other, columns, grain):
    """Return (position, levels, moved): where on the line from one record (0) to another (1) the query lies, NaN if off it.

    All three (coordinates,) are in the memory's integers; the first `columns` coordinates are numbers whose levels are
    `grain` (coordinates,) apart, 0 if they have none. `moved` is how many numbers differ between the two by some levels, and
    `levels` by how many those do that differ most.
    """
    most = LEAST_LEVELS
    lead = -1
    moved = 0
    for k in range(columns):
        levels = abs(np.float64(other[k]) - np.float64(one[k])) / max(np.float64(grain[k]), 1.0)
        moved += int(levels >= LEAST_LEVELS)
        if levels >= most:
            most = levels
            lead = k
    if lead < 0:
        return np.nan, 0.0, 0
    position = (np.float64(query[lead]) - np.float64(one[lead])) / (np.float64(other[lead]) - np.float64(one[lead]))
    for k in range(columns):
        way = np.float64(other[k]) - np.float64(one[k])
        off = abs(np.float64(query[k]) - np.float64(one[k]) - position * way)
        blur = 0.5 * np.float64(grain[k]) if way != 0.0 else 0.0
        if off > max(abs(position), 1.0) * (ASIDE * abs(way) + blur) + 1.0:
            return np.nan, 0.0, 0
    like_one = True
    like_other = True
    between = True
    for k in range(columns, query.shape[0]):
        way = np.float64(other[k]) - np.float64(one[k])
        from_one = np.float64(query[k]) - np.float64(one[k])
        like_one = bool(like_one and abs(from_one) <= 1.0)
        like_other = bool(like_other and abs(from_one - way) <= 1.0)
        between = bool(between and abs(from_one - position * way) <= max(abs(position), 1.0) * ASIDE * abs(way) + 1.0)
    return (position if like_one or like_other or between else np.nan), most, moved


@kernel
def lies_between(query, one, other, columns, grain):
    """Tell whether every number of the query may lie near the middle of those of two records; False is certain, and soon."""
    for k in range(columns):
        low = min(np.float64(one[k]), np.float64(other[k]))
        high = max(np.float64(one[k]), np.float64(other[k]))
        inside = INSIDE * (high - low) - 0.5 * np.float64(grain[k]) - 1.0
        if query[k] < low + inside or query[k] > high - inside:
            return False
    return True


@kernel
def record_depth(query, near, gathered, label, margin, order, depth, stored, columns, grain):
    """Return (depth, end, end) of the shortest interval between two records that the query halves, or (0, -1, -1).

    `near` (n,) are places of the nearest retained queries and `gathered` (n, coordinates) their coordinates. `label`, `margin`,
    `order` and `depth` are the client's columns and `stored` how many queries it has retained. For the others see `on_record_line`.
    """
    found = 0
    first = -1
    second = -1
    shortest = np.inf
    for a in range(near.shape[0]):
        for b in range(a + 1, near.shape[0]):
            one, other = near[a], near[b]
            latest = one if order[one] > order[other] else other
            if label[one] == label[other] and (margin[one] == margin[other] or order[latest] + 1 < stored):
                continue
            if not lies_between(query, gathered[a], gathered[b], columns, grain):
                continue
            position, levels, moved = on_record_line(query, gathered[a], gathered[b], columns, grain)
            # Half a level more or less is what rounding does to a middle.
            off_middle = OFF_MIDDLE_WIDE if moved >= MANY else OFF_MIDDLE_TIGHT + 0.5 / levels
            if not abs(position - 0.5) <= off_middle:  # NaN, off the line, fails as well
                continue
            length = 0.0
            for k in range(columns):
                length += (np.float64(gathered[a, k]) - np.float64(gathered[b, k])) ** 2
            if length >= shortest:
                continue
            stale = False
            around = 0
            for m in range(near.shape[0]):
                if m in (a, b):
                    continue
                at, _, _ = on_record_line(gathered[m], gathered[a], gathered[b], columns, grain)
                stale = stale or (0.0 < at < 1.0 and order[near[m]] > order[latest])
                around += abs(at - 0.5) <= NEIGHBOURHOOD
            if stale or (moved < MANY and around > MOST_AROUND):
                continue
            shortest = length
            first = one
            second = other
            found = depth[latest] + 1
    return min(found, DEEPEST), first, second


@part
def deepest_halving(asked, past, step, alone, level, scales, gathered, toward):
    """Return (depth, end, end) of the shortest interval that the new query halves, or (0, -1, -1).

    `alone` tells that a single value moved, so the step cannot be a change of intensity. `level` (coordinates,) is how far
    apart the values of a column lie. `gathered` (n, coordinates) and `toward` (n, few) are scratch.
    """
    of_table = scales.numbers > 0
    if not of_table and not may_halve(asked.query, past.z, past.near, past.squares, past.label, toward, scales.tolerance):
        return 0, -1, -1
    for j in range(past.near.shape[0]):
        for k in range(asked.query.shape[0]):
            gathered[j, k] = np.float32(past.z[k, past.near[j]])
    if of_table:
        return record_depth(
            asked.query,
            past.near,
            gathered,
            past.label,
            past.margin,
            past.order,
            past.depth,
            past.stored,
            scales.numbers,
            level,
        )
    unseen = not alone and is_unseen(largest_move(step.delta)[1], step.length, scales.c_unit, scales.dimension)
    return bisection_depth(
        asked.query,
        past.near,
        gathered,
        past.label,
        past.order,
        past.depth,
        step.delta,
        step.start,
        scales.tolerance,
        unseen,
    )
