"""Interval: whether a query lies near the middle between two earlier ones, on a straight line or on a sphere.

*Rounding.* Clients round their values, as pictures in 8 bits do. A short interval can then no longer be told from noise. The
memory's coordinates carry different amounts of it: a random direction adds up the rounding of all values, a principal one has
that of a single value. So each is divided by its share (`sharpness`) before lines are fitted.

*Below rounding.* A search goes on when its interval has become shorter than rounding lets see: its next queries arrive anywhere
about the two ends. They lie no farther from the middle than rounding explains, and hardly any other query does, so they go on a
search that was seen before.

*Spheres.* Embeddings are often vectors of one length. The middle of two is scaled to that length again, so searches halve an
arc, whose middle lies outside the straight line. If all inputs that a baseline was fitted on have one length, a query may
therefore lie outside the line, away from the centre of the sphere. The centre's place in the memory's coordinates is known
exactly, since the projection is linear.

In spaces of few dimensions, where points lie on lines by accident, the point must lie closer to the middle.
"""

import numpy as np

from detector.engine.kernels import kernel

OFF_MIDDLE = 0.2  # largest distance of a point from the middle, as a share of the interval
OFF_MIDDLE_TIGHT = 0.06  # the same where one or two numbers of a record move, or the tolerance is below `TIGHT`
TIGHT = 0.03  # tolerance below which a space has so few dimensions that points lie on lines by accident
DEEPEST = 250  # largest depth that is counted: a saved depth has 8 bits
MOST_BLUR = 2.0  # squared distances from the line that rounding explains, in expected ones
LEAST_LENGTH = 16.0  # least squared length of an interval, in expected squared roundings
GLANCE = 8  # coordinates of the quick test, enough to rule most pairs out
LEAST_BEFORE = 3  # halvings that were seen of a search before rounding hides the next ones; fewer may be accidents
NEIGHBOURHOOD = 2.5  # intervals around the middle in which other queries on the line are counted
MOST_AROUND = 2  # most queries there beside the two ends; who tries a field or a slider at many places leaves more
LEAST_BULGE = -0.02  # least distance outside the line, in distances of its middle from the centre of the sphere
MOST_BULGE = 1.0  # the largest: that of the middle of an arc of 120 degrees
LEAST_ANGLE = 1e-6  # least squared sine between two directions that span a plane


@kernel
def on_line(first, second, middle, origin, tolerance, blur):
    """Return the position of `middle` on the line from `first` (0) to `second` (1), or NaN if it lies off the line.

    Off means farther from the line than `tolerance` times the smallest of the three distances involved, and than rounding
    explains. `blur` is the expected squared distance that rounding puts between a halved interval's middle and the query.
    `origin` (coordinates,) is what the coordinates lack to those from the centre of a sphere, empty where there is no sphere.
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
    if origin.shape[0] > 0:
        position, off = on_arc(first, second, middle, origin)
    if not off <= tolerance * tolerance * min(reach, rest, length) + MOST_BLUR * blur:  # NaN is off, too
        return np.nan
    return position


@kernel
def on_arc(first, second, middle, origin):
    """Return (position, squared distance) of `middle` as to the arc from `first` to `second`, NaN if it is on the wrong side.

    The position is that on the straight line below the arc.
    """
    way_way = 0.0
    way_out = 0.0
    out_out = 0.0
    way_part = 0.0
    out_part = 0.0
    part_part = 0.0
    for k in range(first.shape[0]):
        half = 0.5 * (np.float64(first[k]) + np.float64(second[k]))
        way = np.float64(second[k]) - np.float64(first[k])
        out = half + np.float64(origin[k])
        part = np.float64(middle[k]) - half
        way_way += way * way
        way_out += way * out
        out_out += out * out
        way_part += way * part
        out_part += out * part
        part_part += part * part
    plane = way_way * out_out - way_out * way_out
    if plane <= LEAST_ANGLE * way_way * out_out:
        return np.nan, np.nan
    aside = (way_part * out_out - out_part * way_out) / plane
    bulge = (out_part * way_way - way_part * way_out) / plane
    if not LEAST_BULGE <= bulge <= MOST_BULGE:
        return np.nan, np.nan
    return 0.5 + aside, part_part - aside * way_part - bulge * out_part


@kernel
def may_halve(query, z, near, squares, label, sharpness, origin, toward, tolerance, blur):
    """Tell whether the query may lie between two of the retained queries `near` with different labels; False is certain.

    A few coordinates show where it does not, so nearly every query skips the exact test: the query's distance from the line or
    the plane through two retained queries is no longer in fewer coordinates. `z` (coordinates, retained) are the client's
    columns, `squares` (retained,) the squared distances, `sharpness` (coordinates,) the factors of the coordinates, at most 1,
    and `toward` (n, few) is scratch.
    """
    n = near.shape[0]
    few = toward.shape[1]
    curved = origin.shape[0] > 0
    own = np.empty(n)
    with_query = np.zeros(n)
    whole = 0.0
    for k in range(few):
        here = (query[k] + origin[k]) * sharpness[k] if curved else np.float32(0.0)
        whole += np.float64(here) * here
    for a in range(n):
        own[a] = 0.0
        for k in range(few):
            there = np.float32(z[k, near[a]])
            toward[a, k] = (there + origin[k] if curved else there - query[k]) * sharpness[k]
            own[a] += np.float64(toward[a, k]) * toward[a, k]
            if curved:
                with_query[a] += np.float64(toward[a, k]) * (query[k] + origin[k]) * sharpness[k]
    for a in range(n):
        for b in range(a + 1, n):
            if label[near[a]] == label[near[b]]:
                continue
            both = 0.0
            for k in range(few):
                both += np.float64(toward[a, k]) * toward[b, k]
            if curved:
                plane = own[a] * own[b] - both * both
                if plane <= LEAST_ANGLE * own[a] * own[b]:
                    return True
                one, other = with_query[a], with_query[b]
                rest = whole - (one * one * own[b] - 2.0 * one * other * both + other * other * own[a]) / plane
                rest -= LEAST_ANGLE * whole  # rounding of these sums
            else:
                length = own[a] + own[b] - 2.0 * both
                place = (own[a] - both) / length if length > 0.0 else 0.5
                place = min(max(place, 0.5 - OFF_MIDDLE), 0.5 + OFF_MIDDLE)
                rest = (1.0 - place) ** 2 * own[a] + 2.0 * place * (1.0 - place) * both + place * place * own[b]
            closest = min(np.float64(squares[near[a]]), np.float64(squares[near[b]]))
            if rest <= 1.001 * tolerance * tolerance * closest + MOST_BLUR * blur + 1.0:
                return True
    return False


@kernel
def interval_depth(query, near, gathered, label, order, depth, origin, tolerance, blur):
    """Return (depth, end, end, position) of the shortest interval that the query halves, or (0, -1, -1, 0.5).

    `near` (n,) are the places of the nearest retained queries. `gathered` (n, coordinates) are their coordinates, in the unit
    of `query`. `label`, `order` and `depth` are the client's columns. For `origin` and for `blur`, in the square of that unit,
    see `on_line`: an interval that is not much longer than rounding can no longer be told from noise.
    """
    off_middle = OFF_MIDDLE_TIGHT if tolerance < TIGHT else OFF_MIDDLE
    found = 0
    one = -1
    other = -1
    at = 0.5
    shortest = np.inf
    for a in range(near.shape[0]):
        for b in range(a + 1, near.shape[0]):
            if label[near[a]] == label[near[b]]:
                continue
            position = on_line(gathered[a], gathered[b], query, origin, tolerance, blur)
            if not abs(position - 0.5) <= off_middle:  # NaN, for a point off the line, fails too
                continue
            length = 0.0
            for k in range(query.shape[0]):
                length += (np.float64(gathered[a, k]) - np.float64(gathered[b, k])) ** 2
            if length >= shortest or length < LEAST_LENGTH * blur:
                continue
            # A search continues from its newest point. With a newer point on this line, the query comes from another interval.
            newest = max(order[near[a]], order[near[b]])
            stale = False
            around = 0
            for m in range(near.shape[0]):
                if m in (a, b):
                    continue
                place = on_line(gathered[a], gathered[b], gathered[m], origin, tolerance, blur)
                stale = stale or (order[near[m]] > newest and not np.isnan(place))
                around += abs(place - 0.5) <= NEIGHBOURHOOD
            if stale or around > MOST_AROUND:
                continue
            shortest = length
            one = near[a]
            other = near[b]
            at = position
            found = max(depth[one], depth[other]) + 1
    return min(found, DEEPEST), one, other, at


@kernel
def hidden_depth(query, near, gathered, label, depth, blur):
    """Return (depth, end, end) of the deepest search that the query goes on where rounding hides its place; else (0, -1, -1).

    Of that search `LEAST_BEFORE` halvings were seen, and its two ends lie no farther apart than halvings can be told. For the
    arguments see `interval_depth`.
    """
    found = 0
    one = -1
    other = -1
    for a in range(near.shape[0]):
        for b in range(a + 1, near.shape[0]):
            before = max(depth[near[a]], depth[near[b]])
            if label[near[a]] == label[near[b]] or before < LEAST_BEFORE or before < found:
                continue
            length = 0.0
            off = 0.0
            for k in range(query.shape[0]):
                first, second = np.float64(gathered[a, k]), np.float64(gathered[b, k])
                length += (first - second) ** 2
                off += (np.float64(query[k]) - 0.5 * (first + second)) ** 2
            if length < LEAST_LENGTH * blur and off <= MOST_BLUR * blur:
                found = before + 1
                one = near[a]
                other = near[b]
    return min(found, DEEPEST), one, other
