"""Coarse: how likely a record of few levels is for a thief, compared with the likeliest innocent reason to ask about it.

Where every column has a handful of levels, each query is another plain record, and geometry says little: of three levels one is
the middle of the others. What is left is how likely the record is. Innocent clients ask about

* a record of the *population*, whose columns depend on each other: a tree of pairs of columns says how likely it is (Chow and
  Liu, IEEE Trans. Information Theory 14, 1968);
* an *edit* of one of their earlier records, in few columns rather than in many;
* a *mixture* of two late ones, each column of one of them, as the coalitions of an explainer are.

Thieves ask about

* a *middle* of two of their late records with different labels, which differ in at least `MANY` columns. So does each search
  for a boundary (channel `bisect`), and a person who tries fields of a form moves fewer;
* a *side step*: every column of an earlier record, one level up or down, to a side that depends on that record's label, as the
  gradients of a copy do (channel `children`). An amount that is added to all records, and best and worst cases, do not depend
  on labels, so the same steps regardless of labels count as innocent;
* records *drawn* column by column: uniformly, normally, or as often as the values occur (channel `foreign`). Such records
  excuse middles and side steps, too.

One coincidence proves nothing in so few places: of three levels in nine columns it is worth about as much as three coin throws.
But the logarithms add up.

In a *mixed* table some columns have more values than that: counts, ages, amounts. They are *fine*: a middle must be exact
there, as far as the memory tells values apart, so it is worth more, the more of them a table has. An edit moves them by little
at a low price, as noise and counters do. Steps and draws are left to the other channels there. Eleven columns, three of them
counts, give a middle 12 natural logarithms before the choice of its ends is paid; nine columns of three levels give 4.

The ends of a search are sought among the latest records, then among all that are retained, where the choice costs up to 7. So
cover hides searches in tables whose middles are worth less than that, and not in others. No record that was asked before may
lie between the two ends: a search has asked nothing there yet, who walks from one record to another has.

The labels of a client make two groups, the first label that it got and all others. Two labels of the other group may blur each
other's sides.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.kernels import kernel, part

LEVELS = 16  # most levels of a column
MANY = 3  # least number of columns in which the two ends of a search differ
LATE = 12  # latest records that are sought for the ends of a search
LATEST = 4  # of these, records one of which is an end: cover and exact repeats come between
HALF = np.log(0.5)
SIDES = 12  # columns whose sides are learned; each takes three bytes of every client of a table
LEARNED = 1.0 / 3.0  # weight of the latest step in what is known of a side
SURE = 0.48 / 127.0  # how far one step of a side lies from an even chance
LAST = 255  # the largest sampled integer
BLURRED = -np.log(4.0)  # of the middles of two values that the memory hardly tells apart, so many integers pass for it
SELDOM = np.log(0.2)  # chance that a search goes on from other records than the latest ones
SPARE = 2  # largest difference of two equal distances from a middle, in half sampled integers, which are rounded
ASTRAY = 0.01  # chance of a side, or of none, that the explanation excludes
ANY_PARENT = 0.4  # chance that a step starts from any retained record, and not from one soon after the last parent
NEXT = (0.3, 0.15, 0.08, 0.07)  # chance of the first, second, third and fourth record after it
LEAST_MOVED = 2  # least number of columns that a step moves from which sides are learned
MOST_MIDDLE = 4.0  # largest logarithm of a ratio: natural records are middles of others now and then
MOST_STEP = 5.0
LEAST_STEP = -0.5
MOST_DRAWN = 2.0  # rare records of the population reach it, too


class Coarse(NamedTuple):
    """What records are compared with: k sampled columns of a table; none where a table is neither coarse nor mixed.

    `level` (k, 256) is the nearest level of each sampled integer, counted from 0. `value` (k, LEVELS) are the integers of the
    levels in ascending order, and `count` (k,) says how many there are. In a *fine* column, one of more values, each level
    stands for the values about it: `inner` (k, 256) is the logarithm of how often each integer is that of its level, and
    `gap` (k,) is the least distance of two values, in integers; 0 in other columns. The first `ordered` (1,) columns
    are numbers; the others are indicators of codes, which have no middle and no side. `parent` (k,) is the column on which
    each depends, -1 for none, and `chance` (k, LEVELS, LEVELS) the logarithm of how often each level occurs at each level of
    the parent. `drawn` (kinds, k, LEVELS) are the logarithms of how often draws have each level. `edited` (k + 1,) is the
    logarithm of how likely an edit changes just so many columns, and just these. `choices` (k,) are the logarithms of how many
    other levels a column has.
    """

    level: npt.NDArray[np.uint8]
    value: npt.NDArray[np.uint8]
    count: npt.NDArray[np.uint8]  # type: ignore[assignment]  # the name of a method of tuples
    ordered: npt.NDArray[np.int32]
    parent: npt.NDArray[np.int32]
    chance: npt.NDArray[np.float32]
    drawn: npt.NDArray[np.float32]
    edited: npt.NDArray[np.float32]
    choices: npt.NDArray[np.float32]
    inner: npt.NDArray[np.float32]
    gap: npt.NDArray[np.float32]


def none_coarse() -> Coarse:
    """Return what tells nothing: no columns."""
    return Coarse(
        np.zeros((0, 256), np.uint8),
        np.zeros((0, LEVELS), np.uint8),
        np.zeros(0, np.uint8),
        np.zeros(1, np.int32),
        np.zeros(0, np.int32),
        np.zeros((0, LEVELS, LEVELS), np.float32),
        np.zeros((0, 0, LEVELS), np.float32),
        np.zeros(1, np.float32),
        np.zeros(0, np.float32),
        np.zeros((0, 256), np.float32),
        np.zeros(0, np.float32),
    )


class Explained(NamedTuple):
    """The logarithms of how likely a record is by each explanation; minus infinity where one excludes it.

    `excuse` is that of any of those without a search: of the population, drawn, an edit or a mixture. `least` is how many
    columns differ from the most similar retained record. `low` and `high` are the places of the ends of which the record is
    the `middle`. `parent` is the place from which the likeliest side step leads; -1 each where there is none. `even` is the
    chance of a side step whose sides do not depend on labels.
    """

    population: float
    drawn: float
    edit: float
    mixture: float
    excuse: float
    middle: float
    step: float
    even: float
    least: int
    low: int
    high: int
    parent: int


@kernel
def is_mixed(known):
    """Tell whether some columns are fine. Steps and draws are not judged there: levels say little of them."""
    mixed = False
    for gap in known.gap:
        mixed = mixed or gap > 0.0
    return mixed


@kernel
def either(one, other):
    """Return the logarithm of the sum of two chances whose logarithms are given."""
    high = max(one, other)
    return high if high == -np.inf else high + np.log1p(np.exp(min(one, other) - high))


@kernel
def read_levels(values, known, levels):
    """Write the level of each of the sampled `values` (samples,) into `levels` (k,)."""
    for j in range(levels.shape[0]):
        levels[j] = known.level[j, values[j]]


@kernel
def record_chances(levels, values, known):
    """Return (population, drawn): the logarithms of how likely the population, and a draw of the likeliest kind, has a record.

    `levels` (k,) are the levels of its columns, `values` (samples,) its sampled integers.
    """
    population = 0.0
    inner = 0.0
    for j in range(levels.shape[0]):
        above = known.parent[j]
        population += np.float64(known.chance[j, levels[j], levels[above] if above >= 0 else 0])
        inner += np.float64(known.inner[j, values[j]])
    population += inner
    drawn = -np.inf
    for kind in range(known.drawn.shape[0]):
        found = inner
        for j in range(levels.shape[0]):
            found += np.float64(known.drawn[kind, j, levels[j]])
        drawn = either(drawn, found)
    return population, drawn - np.log(max(known.drawn.shape[0], 1))


@kernel
def is_cut_off(value):
    """Tell whether an integer may stand for values beyond those that the memory tells apart."""
    return value % LAST == 0


@kernel
def fine_middle_chance(value, one, other, gap):
    """Return the logarithm of how likely rounding gives this integer for the middle of two others, in a fine column."""
    off = abs(2 * np.int64(value) - np.int64(one) - np.int64(other))
    if gap <= SPARE:
        return BLURRED if off <= SPARE + 1 else -np.inf
    if off <= SPARE:
        return 0.0
    return HALF if abs(off - gap) <= SPARE else -np.inf


@kernel
def middle_chance(levels, values, one, other, known):
    """Return (chance, moved, mixed) of a record that may be the middle of two others.

    `levels` (k,) are the record's, `values` (samples,) its sampled integers; `one` and `other` (samples,) are those of the two.
    `chance` is the logarithm of how likely rounding gives just this middle: where it lies between two levels, either may be
    meant. It is minus infinity for a record that is none. `moved` counts the columns in which the two differ. `mixed` tells
    whether each column is that of one of them.
    """
    chance = 0.0
    moved = 0
    mixed = True
    for j in range(levels.shape[0]):
        if known.gap[j] > 0.0:
            if one[j] == other[j]:
                if values[j] != one[j]:
                    return -np.inf, 0, False
                continue
            mixed = mixed and (values[j] == one[j] or values[j] == other[j])
            if is_cut_off(one[j]) or is_cut_off(other[j]):
                continue
            moved += 1
            chance += fine_middle_chance(values[j], one[j], other[j], known.gap[j])
            if chance == -np.inf and not mixed:
                return chance, 0, False
            continue
        low, high = known.level[j, one[j]], known.level[j, other[j]]
        if low == high:
            if levels[j] != low:
                return -np.inf, 0, False
            continue
        moved += 1
        end = levels[j] == low or levels[j] == high
        mixed = mixed and end
        if chance == -np.inf:
            if not mixed:
                return chance, 0, False
            continue
        if j >= known.ordered[0]:
            chance += HALF if end else -np.inf
            continue
        doubled = np.int64(known.value[j, low]) + np.int64(known.value[j, high])
        off = abs(2 * np.int64(known.value[j, levels[j]]) - doubled)
        alike = 0
        for k in range(known.count[j]):
            away = abs(2 * np.int64(known.value[j, k]) - doubled)
            if away < off - SPARE:
                alike = 0
                break
            alike += away <= off + SPARE  # type: ignore[assignment]  # numba adds booleans
        chance += -np.log(np.float64(alike)) if alike > 0 else -np.inf
    return chance, moved, mixed


@part
def late_chances(levels, values, past, known, ring):
    """Return (middle, low, high, mixture) for the latest records of the client, which lie in a `ring`.

    Of the two ends of a search one is likelier the latest record than the one before, and so on. The other one is likelier a
    later one, of those with another label.
    """
    middle = mixture = -np.inf
    low = high = -1
    late = min(np.int64(past.stored), LATE)
    for back in range(min(late, LATEST)):  # type: ignore[arg-type]
        one = (np.int64(past.stored) - 1 - back) % ring
        recent = HALF * (back + 1)
        for other_back in range(late):  # type: ignore[call-overload]
            if other_back == back:
                continue
            other = (np.int64(past.stored) - 1 - other_back) % ring
            turned = past.label[one] != past.label[other]
            recent += HALF if turned else 0.0
            chance, moved, mixed = middle_chance(levels, values, past.c[one], past.c[other], known)
            if mixed and moved > 0:
                mixture = max(mixture, HALF * (back + 1 + moved) - np.log(LATE))
            if turned and moved >= MANY and chance + recent > middle:
                middle = chance + recent
                low = one
                high = other
    return middle, low, high, mixture


@part
def any_chance(levels, values, past, known, used, excuse):
    """Return (middle, low, high) for all retained records, between which cover may have come.

    Any two records with different labels may be the ends of a search. Where both were found to be ends or middles before,
    they are so the likelier, the fewer such records there are. `used` is the bit of their mark. Pairs that an `excuse`
    outweighs, whatever their middle, are not compared: in most coarse tables, all but those few.
    """
    held = np.int64(past.held)
    searched = 0
    for m in range(held):
        searched += past.mark[m] & used != 0
    middle = -np.inf
    low = high = -1
    of_all = -np.log(max(0.5 * held * (held - 1), 1.0))
    of_searched = -np.log(max(0.5 * searched * (searched - 1), 1.0))
    least = excuse - SELDOM
    if max(of_all, of_searched if searched > 1 else -np.inf) <= least:
        return middle, low, high
    for one in range(held):
        for other in range(one):
            found = of_searched if past.mark[one] & past.mark[other] & used else of_all
            if past.label[one] == past.label[other] or found <= least:
                continue
            chance, moved, _ = middle_chance(levels, values, past.c[one], past.c[other], known)
            if moved >= MANY and chance + found > middle:
                middle = chance + found
                low = one
                high = other
    return middle + SELDOM, low, high


@part
def is_bracket(past, low, high, known):
    """Tell whether no other retained record lies between two in every column; a search has asked nothing there yet.

    A walk through all places between two records, in order, leaves others there.
    """
    for m in range(past.held):
        between = m not in (low, high)
        for j in range(known.count.shape[0]):
            one, other = past.c[low, j], past.c[high, j]
            if not min(one, other) <= past.c[m, j] <= max(one, other):
                between = False
                break
        if between:
            return False
    return True


@kernel
def side_chances(levels, start, sides, group, known):
    """Return how likely a side step leads from a record to another one: by the sides of its `group`, and by those of all.

    `levels` (k,) are those of the record that was asked, `start` (k,) those where the step starts, at most one level off each.
    """
    own = 1.0
    even = 1.0
    for j in range(known.ordered[0]):
        last = known.count[j] - 1
        if last <= 0:
            continue
        found = np.int64(levels[j]) - np.int64(start[j])
        up = 0.5 + (SURE * np.float64(sides[group, j]) if j < SIDES else 0.0)
        up_of_all = 0.5 + (SURE * np.float64(sides[2, j]) if j < SIDES else 0.0)
        if found < 0 or (found == 0 and start[j] == 0):
            up = 1.0 - up
            up_of_all = 1.0 - up_of_all
        elif found == 0 and start[j] != last:
            up = 0.0
            up_of_all = 0.0
        own *= (1.0 - 3.0 * ASTRAY) * up + ASTRAY
        even *= (1.0 - 3.0 * ASTRAY) * up_of_all + ASTRAY
    return own, even


@kernel
def follows(order, origin):
    """Return how likely a step starts from a record of this `order` because the last one started before it, at `origin` - 1."""
    after = np.int64(order) - np.int64(origin)
    if origin == 0 or after < 0 or after >= len(NEXT):
        return 0.0
    return NEXT[after]


@part
def explain(past, family, s, known, levels, values, start, ring, used):
    """Return the `Explained` of a record of client `s`.

    `levels` (k,) are its levels, `values` (samples,) its sampled integers, and `start` (k,) is scratch. `used` is the bit of
    the mark of retained records that others were made from.
    """
    population, drawn = record_chances(levels, values, known)
    middle, low, high, mixture = late_chances(levels, values, past, known, ring)
    columns = known.count.shape[0]
    held = np.int64(past.held)
    edit = -np.inf
    least = columns
    own_sum = even_sum = likeliest = 0.0
    parent = -1
    origin = family.origin_of_side[s]
    for m in range(held):
        apart = 0
        finely = 0
        worth = 0.0
        steps = True
        for j in range(columns):
            start[j] = known.level[j, past.c[m, j]]
            if known.gap[j] > 0.0:
                size = abs(np.float64(values[j]) - np.float64(past.c[m, j])) / np.float64(known.gap[j])
                if size > 0.0:
                    finely += 1
                    steps = False
                    worth -= np.log(2.0 * max(size, 1.0) * (max(size, 1.0) + 1.0))
                continue
            if start[j] == levels[j]:
                continue
            apart += 1
            worth -= known.choices[j]
            off = np.int64(start[j]) - np.int64(levels[j])
            steps = bool(steps and j < known.ordered[0] and -1 <= off <= 1)
        least = min(least, apart + finely)
        back = np.int64(past.stored) - np.int64(past.order[m])
        worth += np.log(max(0.5 / held, 0.5 ** np.float64(back + 1))) + np.float64(known.edited[apart])
        edit = max(edit, worth)
        if not steps or apart == 0:
            continue
        group = np.int64(past.label[m] != family.home[s])
        own, even = side_chances(levels, start, family.sides[s], group, known)
        chance = ANY_PARENT / held + follows(past.order[m], origin)
        own_sum += own * chance
        even_sum += even * chance
        if own * chance > likeliest:
            likeliest = own * chance
            parent = m if apart >= LEAST_MOVED else -1
    excuse = either(either(population, edit), either(mixture, drawn))
    if middle == -np.inf:
        middle, low, high = any_chance(levels, values, past, known, used, excuse)
    if middle > excuse and not is_bracket(past, low, high, known):
        middle = -np.inf
    step, even = np.log(own_sum), np.log(even_sum)
    return Explained(population, drawn, edit, mixture, excuse, middle, step, even, least, low, high, parent)


@part
def learn_sides(family, s, past, parent, known, levels):
    """Learn from the step of client `s` to a record from the retained one at `parent` to which sides its columns move."""
    group = np.int64(past.label[parent] != family.home[s])
    family.origin_of_side[s] = past.order[parent] + 1
    for j in range(min(known.ordered[0], SIDES)):
        last = np.int64(known.count[j]) - 1
        if last <= 0:
            continue
        before = np.int64(known.level[j, past.c[parent, j]])
        now = np.int64(levels[j])
        if now == before and 0 < now < last:
            continue
        up = now > before or (now == before and now == last)
        for row in (group, 2):
            side = np.float64(family.sides[s, row, j])
            family.sides[s, row, j] = np.int8(np.rint(side + LEARNED * ((127.0 if up else -127.0) - side)))


@kernel
def middle_worth(found):
    """Return the logarithm of the likelihood ratio of a middle; minus infinity where the record is none."""
    return min(found.middle - found.excuse, MOST_MIDDLE)


@kernel
def step_worth(found):
    """Return the logarithm of the likelihood ratio of a side step; minus infinity where the record is none."""
    return min(found.step - either(found.excuse, found.even), MOST_STEP)


@kernel
def drawn_worth(found):
    """Return the logarithm of the likelihood ratio of a drawn record."""
    return min(max(found.drawn - either(found.population, found.edit), -MOST_DRAWN), MOST_DRAWN)
