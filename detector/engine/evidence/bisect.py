"""Bisect: the query halves the way between two earlier queries with different answers.

Every search for the decision boundary does this: Lowd and Meek (KDD 2005), line search (Tramer et al., USENIX Security
2016), HopSkipJump (Chen et al., S&P 2020), path finding in trees. One point between two others proves nothing; a chain does.
So each retained query has a depth: a point between two queries of different labels is one deeper than the deeper of them. It
counts as evidence from the third halving on (`interval` has the geometry). Each halving more, up to the seventh, counts four or
five times as much, so one or two deep chains are enough where most queries are cover. A point off the exact middle counts less,
since a slider that is set at random leaves such points.

Of pictures, many intervals are little more than a change of brightness, and every slider halves those by accident. So the first
halvings count only where the query also halves what a change of intensity leaves of the interval (see `tone`).

In tables each column is compared by itself, since it has its own unit and levels. Every number of the query must lie at the
same relative place between the numbers of two records, as nearly as its levels allow. A value without a coordinate of its own,
such as a code, must equal that of one of the two records or lie at that place as well. Where only one or two numbers move, as
when a person tries a field, the point must lie closer to the middle. The leaves of a tree differ without another label, so two
different answers also make an interval if one of them was among the client's latest.

A point in the very middle of `MANY` numbers, or of two with many levels, is seldom there by accident, so it counts from the
second halving on. Where numbers have few levels, each middle says little: of two levels one of three places is it. What they
say together is the product, so a search in small whole numbers is followed while that is rare. Where it is rarer than `RAREST`,
the second halving counts like a fourth one, and so the later ones count more. `bracket` judges records that differ from others
in one column only.
"""

import numpy as np

from detector.engine.evidence.channel import Channel, Counted
from detector.engine.evidence.interval import (
    DEEPEST,
    MOST_AROUND,
    NEIGHBOURHOOD,
    OFF_MIDDLE_TIGHT,
    hidden_depth,
    interval_depth,
    may_halve,
)
from detector.engine.evidence.pattern import contents_of, halves_pattern, is_free, may_be_bent, pattern_left
from detector.engine.evidence.step import step_between
from detector.engine.evidence.tone import halves_texture, is_toned
from detector.engine.kernels import kernel, part

CHANNEL = Channel(
    name="bisect",
    kind="construction",
    floor=14.0,
    ratio=Counted(attack=0.3, innocent=0.002),
    title="Queries that bisect answers",
    description="Queries halve the way between earlier ones with different answers.",
    meaning="queries halve the way between earlier queries with different answers, as a search for the boundary does",
    lookalike="a cross-fade of two inputs comes closest, or an explainer that halves the last value it copied from a record",
    innocent=(
        "A cross-fade between two pictures comes closest. A slider that is moved through its range in order stays out: the "
        "newest point must be an end of the interval. A change of a picture's intensity is a straight or smooth function of "
        "brightness, and a query counts only if it halves the rest as well. In a table, people halve an amount, or two, until "
        "the answer turns or a score is reached: a search counts in full once it goes on in further columns, or returns to "
        "a bracket that it left, or halves the step that turned the answer while one record became another, column by column. "
        "A person who looks for several scores on one record does the same."
    ),
    blind_to=(
        "Bisecting with noise on every query, halving one column or two between labels, and a few columns of fewer than four "
        "levels."
    ),
)
# By depth. Clients who set sliders at random make a first halving in up to 1 of 40 queries, and a second one as often.
# A chain by accident goes on with 1 query of 4 or 5 at most, so each halving more says as much more.
BISECT_WEIGHTS = np.array([0.0, 0.0, 0.0, 0.05, 0.2, 1.0, 4.0, 16.0])
RECORD_WEIGHTS = np.array([0.0, 0.0, 0.0, 0.1, 0.4, 1.0])  # the same of records, and where a single value moves
CHAIN_WEIGHTS = np.append(RECORD_WEIGHTS, [4.0, 16.0])  # of records, in the middle of `MANY` numbers
LOOSE = 0.2  # weight of a point off the middle by more than `OFF_MIDDLE_TIGHT`, which is 1 at most otherwise

DEEP = 3  # depth from which a search was seen to be none of intensity; then its steps get too short to tell
MIDDLE = 1.5  # roundings that lie between a query and the middle of two: its own, and a quarter of that of each
PICTURE = 16  # least number of values for which a change of intensity is told from other changes
ASIDE = 0.02  # largest distance of a number from its place between two others, as a share of their distance
LEAST_LEVELS = 4.0  # least difference of the two ends, in levels of the column that differs most
FEW_LEVELS = 1 / 27  # where all differ by less: largest share of places between the ends that pass for all their middles
RARE = 1 / 125  # the same, from which a middle of numbers with few levels counts like that of `MANY` with many
RAREST = RARE * RARE  # the same, from which a second halving is no accident
MANY = 3  # numbers that move together; a person who tries fields of a form moves fewer at once
UNLIKELY = np.log(200.0)  # logarithm of the odds against a middle of two numbers, from which it counts like that of `MANY`
OFF_MIDDLE_WIDE = 0.3  # largest distance from the middle, as a share of the interval, where `MANY` numbers move
INSIDE = 0.5 - OFF_MIDDLE_WIDE - ASIDE  # least distance of a number from either end, as a share of their distance
RECENT = 8  # of two records with one label and different answers, the later is among the client's latest so many


@kernel
def by_accident(levels):
    """Return the share of the values from one end of a number to the other, so many levels apart, that pass for its middle.

    Of two levels one of three does, of three levels two of four: the middle lies between them. One level says nothing.
    """
    whole = np.rint(levels)
    return max((1.0 + whole % 2.0) / (whole + 1.0), 2.0 * ASIDE)


@kernel
def on_record_line(query, one, other, columns, grain):
    """Return (position, levels, moved): where on the line from one record (0) to another (1) the query lies, NaN if off it.

    All three records (coordinates,) are in the memory's integers. The first `columns` coordinates are numbers, whose levels are
    `grain` (coordinates,) apart, 0 where they have none. The other coordinates are rounded by up to half of it. `moved` is how
    many numbers differ between the two ends by at least `LEAST_LEVELS`, and `levels` is the largest difference, in levels.
    Where that is smaller, the middles of all numbers together must be rare.
    """
    most = 0.0
    lead = -1
    moved = 0
    accident = 1.0
    for k in range(columns):
        levels = abs(np.float64(other[k]) - np.float64(one[k])) / max(np.float64(grain[k]), 1.0)
        moved += int(levels >= LEAST_LEVELS)
        accident *= by_accident(levels)
        if levels > most:
            most = levels
            lead = k
    if most < LEAST_LEVELS and (accident > FEW_LEVELS or lead < 0):
        return np.nan, np.nan, 0
    way = np.float64(other[lead]) - np.float64(one[lead])
    from_one = np.float64(query[lead]) - np.float64(one[lead])
    # The leading number is rounded like the others, so its place is not more exact than the middle is.
    position = 0.5 if abs(from_one - 0.5 * way) <= 0.5 * np.float64(grain[lead]) + 1.0 else from_one / way
    for k in range(columns):
        way = np.float64(other[k]) - np.float64(one[k])
        off = abs(np.float64(query[k]) - np.float64(one[k]) - position * way)
        blur = 0.5 * np.float64(grain[k]) if way != 0.0 else 0.0
        if off > max(abs(position), 1.0) * (ASIDE * abs(way) + blur) + 1.0:
            return np.nan, np.nan, 0
    like_one = True
    like_other = True
    between = True
    for k in range(columns, query.shape[0]):
        way = np.float64(other[k]) - np.float64(one[k])
        from_one = np.float64(query[k]) - np.float64(one[k])
        like_one = bool(like_one and abs(from_one) <= 1.0)
        like_other = bool(like_other and abs(from_one - way) <= 1.0)
        off = abs(from_one - position * way)
        blur = 0.5 * np.float64(grain[k])
        between = bool(between and off <= max(abs(position), 1.0) * (ASIDE * abs(way) + blur) + 1.0)
    return (position if like_one or like_other or between else np.nan), most, moved


@kernel
def centred_bonus(query, one, other, columns, grain):
    """Return by how much a halving counts deeper since the query has the middles of many numbers of two records: 0, 1 or 2.

    It counts one deeper where at least `MANY` numbers differ between the two, and two where they say as much as `RAREST`. A
    number that moves by fewer than `LEAST_LEVELS` levels says little; many of them together say as much.
    """
    centred = 0
    accident = 1.0
    for k in range(columns):
        way = abs(np.float64(other[k]) - np.float64(one[k]))
        levels = way / max(np.float64(grain[k]), 1.0)
        off = abs(np.float64(query[k]) - 0.5 * (np.float64(one[k]) + np.float64(other[k])))
        if off <= ASIDE * way + 0.5 * np.float64(grain[k]) + 1.0:
            centred += int(levels >= LEAST_LEVELS)
            accident *= by_accident(levels)
        elif levels >= LEAST_LEVELS:
            return 0
    if accident <= RAREST:
        return 2
    return int(centred >= MANY or accident <= RARE)


@kernel
def is_rare_middle(query, z, c, held, one, other, columns, grain):
    """Tell whether at least two numbers differ between the records at two places, and few queries have the middle of each.

    A client with a grid of its own has the same values again and again, and of two of them one more in the middle. An amount
    and another that is derived from it move together; then nothing else differs. `z` (coordinates, places) and `c` (places,
    samples) are the client's retained records, and the first `held` places are filled. In tables of few numbers records lie
    between others by accident.
    """
    centred = 0
    worth = 0.0
    for k in range(columns):
        way = abs(np.float64(z[k, other]) - np.float64(z[k, one]))
        if way < LEAST_LEVELS * max(np.float64(grain[k]), 1.0):
            continue
        spare = ASIDE * way + 0.5 * np.float64(grain[k]) + 1.0
        if abs(np.float64(query[k]) - 0.5 * (np.float64(z[k, one]) + np.float64(z[k, other]))) > spare:
            return False
        like = 0
        for m in range(held):
            like += abs(np.float64(z[k, m]) - np.float64(query[k])) <= 1.0  # type: ignore[assignment]  # numba adds booleans
        centred += 1
        worth -= np.log(min(max(2.0 * spare / way, like / held), 1.0))
    if columns < MANY or centred < 2 or worth < UNLIKELY:
        return False
    apart = 0
    for j in range(c.shape[1]):
        apart += c[one, j] != c[other, j]
    return apart > centred


@kernel
def lies_between(query, one, other, columns, grain):
    """Tell whether every number of the query may lie near the middle of those of two records; False is certain.

    This test is quick; `on_record_line` is the exact one.
    """
    for k in range(columns):
        low = min(np.float64(one[k]), np.float64(other[k]))
        high = max(np.float64(one[k]), np.float64(other[k]))
        inside = INSIDE * (high - low) - 0.5 * np.float64(grain[k]) - 1.0
        if query[k] < low + inside or query[k] > high - inside:
            return False
    return True


@kernel
def sides_of(record, query, columns, grain):
    """Return (above, below): a bit for each number of a record that lies clearly above that of the query, or clearly below."""
    above = np.int64(0)
    below = np.int64(0)
    for k in range(columns):
        apart = np.float64(record[k]) - np.float64(query[k])
        blur = 0.5 * np.float64(grain[k]) + 1.0
        above |= np.int64(apart > blur) << np.int64(k)
        below |= np.int64(apart < -blur) << np.int64(k)
    return above, below


@kernel
def record_depth(query, near, gathered, label, margin, order, depth, stored, columns, grain):
    """Return (depth, end, end) of the shortest interval between two records that the query halves, or (0, -1, -1).

    `near` (n,) are the places of the nearest retained queries and `gathered` (n, coordinates) their coordinates. `label`,
    `margin`, `order` and `depth` are the client's columns, and `stored` is how many queries were ever retained. For `columns`
    and `grain` see `on_record_line`.
    """
    # In fewer columns records lie between others by accident.
    recent = RECENT if columns >= MANY else 1
    above = np.empty(near.shape[0], np.int64)
    below = np.empty(near.shape[0], np.int64)
    for a in range(near.shape[0]):
        above[a], below[a] = sides_of(gathered[a], query, columns, grain)
    found = 0
    first = -1
    second = -1
    shortest = np.inf
    for a in range(near.shape[0]):
        for b in range(a + 1, near.shape[0]):
            if (above[a] & above[b]) | (below[a] & below[b]):  # both on one side of the query in one number
                continue
            one, other = near[a], near[b]
            latest = one if order[one] > order[other] else other
            if label[one] == label[other] and (margin[one] == margin[other] or order[latest] + recent < stored):
                continue
            if not lies_between(query, gathered[a], gathered[b], columns, grain):
                continue
            position, levels, moved = on_record_line(query, gathered[a], gathered[b], columns, grain)
            # Rounding to levels moves a middle by up to half a level.
            off_middle = OFF_MIDDLE_WIDE if moved >= MANY else OFF_MIDDLE_TIGHT + 0.5 / levels
            if not abs(position - 0.5) <= off_middle:  # NaN, for a point off the line, fails too
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
def halves_contents(asked, past, one, other, position, scales):
    """Tell whether the query halves more than a change of intensity between the retained pictures at `one` and `other`."""
    first = past.c[one, : scales.measured]
    second = past.c[other, : scales.measured]
    values = asked.c[: scales.measured]
    if not halves_texture(
        first, second, values, position, scales.tolerance, scales.rounding, scales.c_lowest, scales.c_highest
    ):
        return False
    way = np.empty(scales.measured, np.float32)
    step_between(first, second, scales.c_unit, way)
    return not is_toned(way, first, scales.c_unit, scales.rounding, scales.c_lowest, scales.c_highest)


@part
def halves_faint(asked, past, one, other, position, population, scales):
    """Tell the same by a pattern that shows in the projection alone, because a JPEG moves single values farther."""
    first = past.c[one, : scales.measured]
    second = past.c[other, : scales.measured]
    if not is_free(first, second, 1.0 + np.sqrt(2.0 * scales.rounding), scales.c_lowest, scales.c_highest):
        return False
    sharpness = population.sharpness
    ends = np.empty((3, sharpness.shape[0]))
    way = 0.0
    for k in range(sharpness.shape[0]):
        way += ((np.float64(past.z[k, one]) - np.float64(past.z[k, other])) * sharpness[k]) ** 2
    contents_of(past.z[:, one] * sharpness, population.plain, ends[0])
    contents_of(past.z[:, other] * sharpness, population.plain, ends[1])
    contents_of(asked.query * sharpness, population.plain, ends[2])
    rounding = scales.blur / MIDDLE / sharpness.shape[0]
    if not halves_pattern(ends[0], ends[1], ends[2], way, position, scales.tolerance, rounding):
        return False
    left = pattern_left(ends[0], ends[1], sharpness, scales.principal) * (scales.quantum / scales.c_unit) ** 2
    share = left * scales.measured / scales.dimension
    return not may_be_bent(first, second, scales.rounding, share, scales.c_highest - scales.c_lowest)


@part
def deepest_halving(asked, past, scales, population, gathered, toward):
    """Return (depth, end, end, position) of the shortest interval that the new query halves; a depth of 0 without any.

    `position` is the query's place on the way from one end to the other, NaN where a JPEG hides it. `gathered` (n, coordinates)
    and `toward` (n, few) are scratch.
    """
    of_table = scales.numbers > 0
    if not of_table and not may_halve(
        asked.query,
        past.z,
        past.near,
        past.squares,
        past.label,
        population.sharpness,
        population.origin,
        toward,
        scales.tolerance,
        scales.blur,
    ):
        return 0, -1, -1, 0.5
    if of_table:
        for j in range(past.near.shape[0]):
            for k in range(asked.query.shape[0]):
                gathered[j, k] = np.float32(past.z[k, past.near[j]])
        depth, one, other = record_depth(
            asked.query,
            past.near,
            gathered,
            past.label,
            past.margin,
            past.order,
            past.depth,
            past.stored,
            scales.numbers,
            population.level,
        )
        return depth, one, other, 0.5
    query = asked.query * population.sharpness
    for j in range(past.near.shape[0]):
        for k in range(query.shape[0]):
            gathered[j, k] = np.float32(past.z[k, past.near[j]]) * population.sharpness[k]
    depth, one, other, position = interval_depth(
        query, past.near, gathered, past.label, past.order, past.depth, population.origin, scales.tolerance, scales.blur
    )
    pictures = scales.measured >= PICTURE and population.origin.shape[0] == 0
    if 0 < depth < DEEP and pictures:
        seen = halves_contents(asked, past, one, other, position, scales)
        if not seen and population.plain.shape[0] > 0:
            seen = halves_faint(asked, past, one, other, position, population, scales)
        if not seen:
            return 0, -1, -1, 0.5
    if depth == 0 and pictures and population.plain.shape[0] > 0:
        depth, one, other = hidden_depth(query, past.near, gathered, past.label, past.depth, scales.blur)
        position = np.nan
    return depth, one, other, position


@kernel
def weight_of(depth, position):
    """Return the weight of a query that halves an interval between two queries other than records; see `deepest_halving`."""
    weight = BISECT_WEIGHTS[min(depth, BISECT_WEIGHTS.shape[0] - 1)]
    return weight if abs(position - 0.5) <= OFF_MIDDLE_TIGHT else LOOSE * min(weight, 1.0)


@kernel
def weight_of_middle(depth, numbers):
    """Return the weight of a record in the middle of many numbers of two others, in a table of so many numbers.

    In tables of fewer than `MANY` numbers records lie in the middle of others by accident, so long chains count no more there.
    """
    if numbers >= MANY:
        return CHAIN_WEIGHTS[min(depth, CHAIN_WEIGHTS.shape[0] - 1)]
    return RECORD_WEIGHTS[min(depth, RECORD_WEIGHTS.shape[0] - 1)]
