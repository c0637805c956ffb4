"""Children: records of a table are earlier ones moved by steps that other records were moved by, in many columns at once.

Jacobian-based augmentation and its relatives (JbDA: Papernot et al., AsiaCCS 2017; T-RND: Juuti et al., EuroS&P 2019) move each
number of a seed by the same share of its column's spread, up or down. Neither that share nor the thief's notion of spread is
known. So no step is judged by itself: two steps from different records are *twins* when they move the same columns by the same
amounts, some of them in the same direction and some in opposite ones. Records of innocent clients differ by amounts that vary.

What a coincidence in a column is worth depends on its grid. Two moves of about n levels agree by accident once in n + 1 times,
and no more seldom than the client's own records differ by that amount; a client that sends round numbers only has a grid of its
own. The worth of all columns together is reduced by the number of pairs of steps that were compared.

The step to a record is sought from each retained one, and compared with kept steps, which lead from the nearest record each.
Longer ones are found by the order of their parents (see `succession`).

Four kinds of innocent steps are no twins. A constant that is added to every record, as a new year adds one to an age, moves all
of them in one direction. A best and a worst case move them in opposite directions throughout. The mixtures of two records, as
an explainer makes them, have only two values in each column. And a plan that varies one record up and down has one parent.
"""

from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.columns import Column
from detector.engine.evidence.channel import Channel, Weighed
from detector.engine.evidence.coarse import SIDES
from detector.engine.kernels import kernel, part

MOST = 6.9  # logarithm of the largest likelihood ratio of one query: three such queries are needed
LEAST = -0.5
CHANNEL = Channel(
    name="children",
    kind="construction",
    floor=16.0,
    ratio=Weighed(most=MOST, least=LEAST, carriers="records made by equal steps"),
    title="Records made by equal steps",
    description="Records are earlier ones moved by the same amounts as others, column by column.",
    meaning="records are earlier ones moved by the same amounts as others, up or down, as data augmentation does",
    lookalike="a sensitivity study that moves many columns of many records up and down by fixed amounts asks the same",
    innocent=(
        "A designed experiment that moves several columns of many records up and down by fixed amounts is the attack's own "
        "query. Plans around one record, constants added to or taken from whole records, and mixtures of two records do not "
        "count."
    ),
    blind_to=(
        "Steps of a drawn size, steps in fewer than three numbers unless the table has only two, columns of few levels, where "
        "all steps are alike, unless all columns have few levels and sides depend on labels, and pictures and embeddings, "
        "which `offset` looks at."
    ),
)

NUMBERS = 16  # most numeric columns of a table that have a coordinate each
STEPS = 8  # steps that are kept of a client
TWINS = 3  # of these, places for steps that had a twin
MANY = 3  # least number of columns in which two steps agree; people who edit records move fewer at once
ROUNDING = 1.5  # largest difference of two equal moves in the memory's integers, each of which is the difference of two
FINE = 8.0  # levels from which a move may be off by one: a thief may keep what the wire rounds
AGREE = 0.8  # share of the columns in which two steps of a thief agree
LOOSELY = 1.0 + 1e-6  # what rounding to 32 bits may take away
SPARE = 1e-6  # what arithmetic adds to a whole number of columns
GROUP = 64  # records that are compared at once


class Family(NamedTuple):
    """Per client of a table: its latest steps, from the nearest retained record, and those that had a twin.

    Of each step: `child` and `parent` are the numbers of its two ends, `origin` is one more than the order of the parent, 0 for
    no step. `made` counts the steps and `matched` those that had a twin. `halved` is the mask of the columns that the client
    halved by themselves, and `alone` counts such halvings while there are at most two such columns (see `halved`).

    Of side steps in coarse tables (see `coarse`): `sides` are to which side each column moved of late, from -127, down, to 127,
    for records with the label `home`, for those with another one, and for all. `origin_of_side` is one more than the order of
    the record from which the latest one led, 0 for none.
    """

    child: Annotated[npt.NDArray[np.int16], Column(STEPS, NUMBERS)]
    parent: Annotated[npt.NDArray[np.int16], Column(STEPS, NUMBERS)]
    origin: Annotated[npt.NDArray[np.uint32], Column(STEPS)]
    made: Annotated[npt.NDArray[np.uint32], Column()]
    matched: Annotated[npt.NDArray[np.uint32], Column()]
    halved: Annotated[npt.NDArray[np.uint32], Column()]
    alone: Annotated[npt.NDArray[np.uint8], Column()]
    sides: Annotated[npt.NDArray[np.int8], Column(3, SIDES, within=(-127, 127))]
    home: Annotated[npt.NDArray[np.int32], Column()]
    origin_of_side: Annotated[npt.NDArray[np.uint32], Column()]


class Kin(NamedTuple):
    """One client's row of each column of `Family` that the comparison of a query needs."""

    child: npt.NDArray[np.int16]
    parent: npt.NDArray[np.int16]
    origin: npt.NDArray[np.uint32]


@kernel
def slack(size, level):
    """Return the largest difference between two equal moves of about this size, in the memory's integers."""
    return ROUNDING + (level if size >= FINE * level else 0.25 * level)


@kernel
def by_accident(size, level):
    """Return how often a move of about this size has exactly this size: once in as many levels as it is long.

    Sizes and levels are in the memory's integers; where values are continuous, the integers are the levels.
    """
    off = ROUNDING if level <= ROUNDING else np.floor(slack(size, level) / level)
    return min((2.0 * off + 1.0) / (size / max(level, 1.0) + 1.0), 0.95)


@kernel
def worth_of(size, level):
    """Return what agreement with a move of this size says at most, as a logarithm; 0 for a move of less than a level."""
    if size <= ROUNDING + 0.25 * level:
        return 0.0
    return max(np.log(AGREE / by_accident(size, level)), 0.0)


@kernel
def agreement(now, before, q, m, child, parent, level):
    """Say how two moves of a column compare: 1 if they agree, 2 if in opposite directions, -1 if they differ, 0 if neither.

    `now` is from `m` to `q`, `before` from `parent` to `child`. A column says nothing where neither step moves it, or where the
    two steps have the same two ends.
    """
    size = max(abs(now), abs(before))
    least = ROUNDING + 0.25 * level
    if size <= least:
        return 0
    off = slack(size, level)
    if abs(parent - m) <= off and abs(child - q) <= off:
        return 0
    if abs(parent - q) <= off and abs(child - m) <= off:
        return 0
    if min(abs(now), abs(before)) <= least or abs(abs(now) - abs(before)) > off:
        return -1
    return 2 if now * before < 0.0 else 1


@kernel
def most_differing(share):
    """Return how many columns may differ for each one that agrees: twice as many as expected of steps that agree in a share.

    >>> round(most_differing(0.8), 6), most_differing(0.5)
    (0.5, 2.0)
    """
    return 2.0 * (1.0 - share) / share


@kernel
def steps_agree(query, z, held, place, ends, starts, level, numbers, share):
    """Return what it says that the step from `place` to the query and an earlier one are twins; -inf if they are not.

    The earlier step leads from `starts` (numbers,) to `ends` (numbers,), and twins agree in a `share` of the columns. A shorter
    step that ends at an extreme of the client's numbers was cut short there, so it says nothing. In a table of fewer than
    `MANY` numbers all must agree.
    """
    most = most_differing(share)
    agreed = 0
    opposite = 0
    differed = 0
    worth = 0.0
    for j in range(numbers):
        q, m = np.float64(query[j]), np.float64(z[j, place])
        child, parent = np.float64(ends[j]), np.float64(starts[j])
        now, before = q - m, child - parent
        grid = np.float64(level[j])
        found = agreement(now, before, q, m, child, parent, grid)
        if found == 0:
            continue
        size = abs(now)
        off = slack(size, grid)
        like = 1
        lowest = q
        highest = q
        for other in range(held):
            value = np.float64(z[j, other])
            lowest = min(lowest, value)
            highest = max(highest, value)
            if other != place and abs(abs(q - value) - size) <= off:
                like += 1
        if found < 0:
            end = q if size < abs(before) else child
            if end <= lowest or end >= highest:
                continue
            differed += 1
            if differed > most * (numbers - differed) + SPARE:
                return -np.inf
        accident = max(by_accident(size, grid), min(like / held, 0.95))
        if found > 0:
            agreed += 1
            opposite += found == 2
            worth += np.log(share / accident)
        else:
            worth += np.log((1.0 - share) / (1.0 - accident))
    mixed = 0 < opposite < agreed
    return worth if agreed >= min(MANY, numbers) and mixed and differed <= most * agreed + SPARE else -np.inf


@kernel
def twin_worth(query, z, held, place, kin, k, level, numbers):
    """Return the same of the step from `place` to the query and the kept step `k`."""
    return steps_agree(query, z, held, place, kin.child[k], kin.parent[k], level, numbers, AGREE)


@kernel
def longest_slack(size, level):
    """Return by how much a move may differ from one of this size and still agree with it, whatever its own size."""
    return slack(size + slack(FINE * level, level), level)


@kernel
def most_worth(query, z, place, kin, k, level, numbers):
    """Return the most that agreement of the step from `place` to the query with the kept step `k` could say, a logarithm."""
    most = 0.0
    for j in range(numbers):
        size = abs(np.float64(kin.child[k, j]) - np.float64(kin.parent[k, j]))
        grid = np.float64(level[j])
        off = longest_slack(size, grid)
        if abs(abs(np.float64(query[j]) - np.float64(z[j, place])) - size) > off or size <= ROUNDING + 0.25 * grid:
            continue
        # The longest move that agrees says most, or one just too short to be off by a level.
        worth = worth_of(size + off, grid)
        if size - off < FINE * grid <= size + off:
            worth = max(worth, worth_of((1.0 - 1e-9) * FINE * grid, grid))
        most += worth
    return most


@kernel
def width_for(held):
    """Return room for so many records in whole groups, so that the processor compares a group at once and none one by one."""
    return (held + GROUP - 1) // GROUP * GROUP


@kernel
def ways_to(query, z, held, ways):
    """Fill `ways` (numbers, at least held) with how far each number of the retained records is from that of the query."""
    for j in range(ways.shape[0]):
        q = np.int16(query[j])
        for m in range(held):
            ways[j, m] = np.uint16(max(z[j, m], q) - min(z[j, m], q))


@kernel
def count_equal(ways, kin, level, sums):
    """Count in `sums` (STEPS, places) the columns in which the way from each place may agree with each kept step.

    For `ways` (numbers, places) see `ways_to`. All are whole numbers of 16 bits, of which the processor compares many at once.
    """
    sums[:] = 0
    for j in range(ways.shape[0]):
        grid = np.float64(level[j])
        own = ways[j]
        least = ROUNDING + 0.25 * grid
        fine = FINE * grid
        reach = slack(fine, grid)
        short, long = np.floor(LOOSELY * slack(0.0, grid)), np.floor(LOOSELY * reach)
        for k in range(STEPS):
            size = np.float64(abs(np.int32(kin.child[k, j]) - np.int32(kin.parent[k, j])))
            if size <= least or kin.origin[k] == 0:
                continue
            off = long if size + reach >= fine else short
            lowest = max(size - off, 0.0)
            start, spare = np.uint16(lowest), np.uint16(min(size + off, 65535.0) - lowest)
            count = sums[k]
            for m in range(own.shape[0]):
                count[m] += np.uint16(np.uint16(own[m] - start) <= spare)


@part
def find_twin(query, z, order, held, kin, level, numbers):
    """Return (worth, place): the retained record from which the query is a step that has a twin; (-inf, -1) if there is none.

    The worth is a logarithm, less that of the number of comparisons. For each kept step the columns are counted in which the
    step from each retained record may agree, so nearly all pairs skip the exact comparison.
    """
    kept = 0
    for k in range(STEPS):
        kept += kin.origin[k] > 0
    found = -np.inf
    at = -1
    if kept == 0 or held == 0:
        return found, at
    needed = np.log(np.float64(kept * held))
    ways = np.empty((numbers, width_for(held)), np.uint16)
    ways_to(query, z, held, ways)
    sums = np.empty((STEPS, ways.shape[1]), np.uint16)
    count_equal(ways, kin, level, sums)
    for k in range(STEPS):
        for m in range(held):
            if (
                sums[k, m] < min(MANY, numbers)
                or order[m] + 1 == kin.origin[k]
                or most_worth(query, z, m, kin, k, level, numbers) <= needed
            ):
                continue
            worth = twin_worth(query, z, held, m, kin, k, level, numbers) - needed
            if worth > found:
                found = worth
                at = m
    return found, at


@kernel
def sides_recur(query, z, place, kin, numbers):
    """Tell whether the step from `place` to the query moves its columns to the same sides as a kept step, or all to the others.

    So do best and worst cases, and constants that are added. A step along a gradient moves each record's columns its own way.
    """
    for k in range(STEPS):
        if kin.origin[k] == 0:
            continue
        same = 0
        opposite = 0
        for j in range(numbers):
            now = np.float64(query[j]) - np.float64(z[j, place])
            before = np.float64(kin.child[k, j]) - np.float64(kin.parent[k, j])
            if abs(now) <= ROUNDING or abs(before) <= ROUNDING:
                continue
            if now * before > 0.0:
                same += 1
            else:
                opposite += 1
        if max(same, opposite) >= MANY and min(same, opposite) == 0:
            return True
    return False


@part
def keep_step(family, s, query, past, place, matched, numbers):
    """Keep the step to the query from the retained record at `place`; those that had a twin displace each other only."""
    if matched:
        k = np.int64(family.matched[s]) % TWINS
        family.matched[s] += 1
    else:
        k = TWINS + np.int64(family.made[s]) % (STEPS - TWINS)
        family.made[s] += 1
    family.origin[s, k] = past.order[place] + 1
    for j in range(numbers):
        family.child[s, k, j] = np.int16(query[j])
        family.parent[s, k, j] = past.z[j, place]
