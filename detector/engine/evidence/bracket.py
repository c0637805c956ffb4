"""Bracket: a record of a table that lies between two retained ones, from which it differs in one column only.

A search along one column asks for the middle of a bracket, and which bracket it takes depends on the answers: their two ends
have different ones. Sliders and grids ask for other places as well, and as often between two equal answers. So every query
inside a bracket counts, for the search or against it. How much it counts depends on its depth (see `bisect`): a slider that is
moved at random through a grid of few positions halves brackets by accident, but hardly ever several times in a row.

Two kinds of search are told apart:

- Between two *labels*: a thief who weighs one column after the other (Lowd and Meek, KDD 2005), and also a person who looks for
  the largest amount that is granted. A person halves one column alone, so one column counts little until a second one follows.
- Between two *answers* of one label, such as those of two leaves of a tree (path finding; Tramer et al., USENIX Security 2016).
  Nobody looks for an amount there, so one column is enough, but only from the second halving on: a grid that is repeated with
  half its step leaves first halvings.

Of many columns some have no coordinate of their own. A move of one of these shows in the other coordinates as a direction, so
three records of which only that column differs lie on one line.
"""

from typing import NamedTuple

import numpy as np

from detector.engine.evidence.bisect import ASIDE, RECORD_WEIGHTS
from detector.engine.evidence.interval import DEEPEST
from detector.engine.evidence.probe import COLLINEAR, LEAST_STEPS, only_move
from detector.engine.kernels import kernel, part

MOST_ACCIDENT = 0.3  # largest share of a bracket that passes for its middle: of four levels, one and what rounding adds
SATURATED = 32767.0  # a coordinate of this size may have been larger
MOST_ALONE = 2  # halvings between two labels that count while a client has halved one column only
# By depth. Of the queries that sliders and grids set inside a bracket, up to 1 in 11 halves one between two labels.
BESIDE = np.array([0.0, 0.06, 0.2, 1.0, 1.0, 1.0])  # between two labels, where another column was halved before
WITHIN = np.array([0.0, 0.0, 0.02, 0.1, 0.4, 1.0])  # between two answers of one label: sliders halve more of these
ELSEWHERE = np.float32(0.2)  # likelihood ratio of a query inside a bracket that it does not halve, or whose ends are equal


class Bracket(NamedTuple):
    """The records `low` and `high` on both sides of a query in one column; -1 each if there is no bracket.

    `column` is the coordinate that moved, or the one that moved most where the column has none of its own. `middle` tells
    whether the query halves the bracket, up to rounding, and `accident` which share of the bracket passes for its middle. The
    bracket is `chained` if its latest end halved a longer one of the same column.
    """

    column: int
    low: int
    high: int
    accident: float
    middle: bool
    chained: bool


@kernel
def tolerance(way, level):
    """Return how far from the middle of two values, `way` apart, rounding may put a value; all in the memory's integers."""
    return ASIDE * way + 0.5 * level + 1.0


@kernel
def mirrors(z, m, end, other, k, level):
    """Tell whether the record at place `m` mirrors the one at `other` about the one at `end`, in coordinate `k`."""
    way = np.float64(z[k, end]) - np.float64(z[k, other])
    off = np.float64(z[k, m]) - np.float64(z[k, end]) - way
    return abs(off) <= 2.0 * tolerance(2.0 * abs(way), level)


@kernel
def own_bracket(query, z, held, order, columns, grain):
    """Return (bracket, others): that of a column with a coordinate of its own, and how many retained records differ elsewhere.

    `query` (coordinates,), `z` (coordinates, places) and `order` (places,) are the client's, the numbers in the memory's
    integers, and the first `held` places are filled. The first `columns` coordinates are numbers, whose levels are `grain`
    apart. `others` counts the records that agree in all numbers with a coordinate of their own.
    """
    column = -1
    low = -1
    high = -1
    others = 0
    for m in range(held):
        k = only_move(query, z, m, columns)
        if k == columns:
            others += 1
        elif k >= 0 and column in {-1, k}:
            column = k
            if z[k, m] < query[k]:
                low = m if low < 0 or z[k, m] > z[k, low] else low
            else:
                high = m if high < 0 or z[k, m] < z[k, high] else high
    if low < 0 or high < 0:
        return Bracket(column, -1, -1, 1.0, False, False), others
    level = np.float64(grain[column])
    first, second = np.float64(z[column, low]), np.float64(z[column, high])
    if first <= -SATURATED or second >= SATURATED:
        return Bracket(column, -1, -1, 1.0, False, False), others
    spare = tolerance(second - first, level)
    middle = abs(np.float64(query[column]) - 0.5 * (first + second)) <= spare
    chained = False
    if middle:
        end, other = (low, high) if order[low] > order[high] else (high, low)
        for m in range(held):
            if mirrors(z, m, end, other, column, level) and only_move(query, z, m, columns) == column:
                chained = True
                break
    return Bracket(column, low, high, 2.0 * spare / (second - first), middle, chained), others


@kernel
def other_bracket(query, z, held, order, columns, grain):
    """Return the shortest bracket of a column without a coordinate of its own; for the arguments see `own_bracket`."""
    alike = np.empty(held, np.int64)
    reach = np.empty(held)
    n = 0
    for m in range(held):
        if only_move(query, z, m, columns) != columns:
            continue
        length = 0.0
        for k in range(columns, query.shape[0]):
            length += (np.float64(z[k, m]) - np.float64(query[k])) ** 2
        if length >= LEAST_STEPS * LEAST_STEPS:
            alike[n] = m
            reach[n] = length
            n += 1
    low = -1
    high = -1
    shortest = np.inf
    for a in range(n):
        for b in range(a + 1, n):
            if np.sqrt(reach[a]) + np.sqrt(reach[b]) >= shortest:
                continue
            along = 0.0
            for k in range(columns, query.shape[0]):
                here = np.float64(query[k])
                along += (np.float64(z[k, alike[a]]) - here) * (np.float64(z[k, alike[b]]) - here)
            if along < 0.0 and along * along > COLLINEAR * reach[a] * reach[b]:
                shortest = np.sqrt(reach[a]) + np.sqrt(reach[b])
                low = alike[a]
                high = alike[b]
    if low < 0:
        return Bracket(-1, -1, -1, 1.0, False, False)
    column = columns
    middle = True
    accident = 1.0
    widest = 0.0
    for k in range(columns, query.shape[0]):
        way = abs(np.float64(z[k, high]) - np.float64(z[k, low]))
        spare = tolerance(way, np.float64(grain[k]))
        middle = bool(middle and abs(np.float64(query[k]) - 0.5 * (np.float64(z[k, low]) + np.float64(z[k, high]))) <= spare)
        accident = min(accident, 2.0 * spare / max(way, 1.0))
        if way > widest:
            widest = way
            column = k
    chained = False
    if middle:
        end, other = (low, high) if order[low] > order[high] else (high, low)
        for j in range(n):
            same = True
            for k in range(columns, query.shape[0]):
                same = bool(same and mirrors(z, alike[j], end, other, k, np.float64(grain[k])))
            chained = bool(chained or same)
    return Bracket(column, low, high, accident, middle, chained)


@kernel
def find_bracket(query, z, held, order, columns, grain):
    """Return the bracket that the query lies in; for the arguments see `own_bracket`."""
    found, others = own_bracket(query, z, held, order, columns, grain)
    if found.low < 0 and others > 1:
        return other_bracket(query, z, held, order, columns, grain)
    return found


@part
def halving_depth(bracket, past):
    """Return the depth of a query inside a bracket; 0 if it does not halve it, or its two ends have the same answer."""
    low, high = bracket.low, bracket.high
    equal = past.label[low] == past.label[high] and past.margin[low] == past.margin[high]
    if not bracket.middle or equal:
        return 0
    if not bracket.chained:
        return 1
    latest = low if past.order[low] > past.order[high] else high
    return min(np.int64(past.depth[latest]) + 1, DEEPEST)


@kernel
def weight_between_labels(depth, column, halved, alone, s):
    """Return the weight of a halving of one column between two labels, and note it for client `s`.

    `halved` (clients,) are masks of the columns that were halved deeply, and `alone` (clients,) counts the halvings while there
    is only one.
    """
    only = np.uint32(1) << np.uint32(column)
    weight = RECORD_WEIGHTS[min(depth, RECORD_WEIGHTS.shape[0] - 1)]
    beside = (halved[s] & ~only) != 0
    if weight > 0.0:
        halved[s] |= only
    if beside:
        return BESIDE[min(depth, BESIDE.shape[0] - 1)]
    if weight > 0.0:
        if alone[s] >= MOST_ALONE:
            return 0.0
        alone[s] += 1
    return weight


@kernel
def weight_within_label(depth):
    """Return the weight of a halving of one column between two answers of one label."""
    return WITHIN[min(depth, WITHIN.shape[0] - 1)]


@part
def is_judged(bracket):
    """Tell whether a bracket is long enough for its middle to mean something."""
    return bracket.low >= 0 and bracket.accident <= MOST_ACCIDENT
