"""Bracket: a record of a table that lies between two retained ones, from which it differs in one column only.

A search along one column asks for the middle of a bracket, and which bracket it takes depends on the answers: their two ends
have different ones. Sliders and grids ask for other places as well, and as often between two equal answers. So every query
inside a bracket counts, for the search or against it. How much it counts depends on its depth (see `bisect`): a slider that is
moved at random through a grid of few positions halves brackets by accident, but hardly ever several times in a row.

Two kinds of search are told apart:

- Between two *labels*: a thief who weighs one column after the other (Lowd and Meek, KDD 2005), and also a person who looks for
  the largest amount that is granted. A person halves one column or two; `halved` says what that counts, and `crossing` what a
  client did before.
- Between two *answers* of one label, such as those of two leaves of a tree (path finding; Tramer et al., USENIX Security 2016).
  Path finding goes back to brackets that it left, and each descent from there counts anew. A person who looks for a score
  descends once. Until a client has gone back, the query must have the answer of exactly one end, which smooth scores hardly
  ever give, and it counts as little as between labels. A curve that is refined from end to end never descends.

Of many columns some have no coordinate of their own. A move of one of these shows in the other coordinates as a direction, so
three records of which only that column differs lie on one line.
"""

from typing import NamedTuple

import numpy as np

from detector.engine.evidence.bisect import ASIDE
from detector.engine.evidence.interval import DEEPEST, OFF_MIDDLE_TIGHT
from detector.engine.evidence.probe import COLLINEAR, LEAST_STEPS, only_move
from detector.engine.kernels import kernel, part

MOST_ACCIDENT = 0.3  # largest share of a bracket that passes for its middle: of four levels, one and what rounding adds
SATURATED = 32767.0  # a coordinate of this size may have been larger
ELSEWHERE = np.float32(0.2)  # likelihood ratio of a query inside a bracket that it does not halve, or whose ends are equal


class Bracket(NamedTuple):
    """The records `low` and `high` on both sides of a query in one column; -1 each if there is no bracket.

    `column` is the coordinate that moved; columns without one of their own count as one, which comes after the others.
    `middle` tells whether the query halves the bracket, up to rounding, `close` whether it nearly does, and `accident` which
    share of the bracket passes for its middle. The bracket is `chained` if its latest end halved a longer one of the same
    column. It `descends` if no record of this column is later than its ends.
    """

    column: int
    low: int
    high: int
    accident: float
    middle: bool
    close: bool
    chained: bool
    descends: bool


@kernel
def tolerance(share, way, level):
    """Return how far a value may lie from the middle of two values, `way` apart: a share of that, and what rounding adds."""
    return share * way + 0.5 * level + 1.0


@kernel
def no_bracket():
    """Return the bracket that stands for none."""
    return Bracket(-1, -1, -1, 1.0, False, False, False, False)


@kernel
def mirrors(z, m, end, other, k, level):
    """Tell whether the record at place `m` mirrors the one at `other` about the one at `end`, in coordinate `k`."""
    way = np.float64(z[k, end]) - np.float64(z[k, other])
    off = np.float64(z[k, m]) - np.float64(z[k, end]) - way
    return abs(off) <= 2.0 * tolerance(OFF_MIDDLE_TIGHT, 2.0 * abs(way), level)


@kernel
def own_bracket(query, z, held, order, columns, grain):
    """Return (bracket, others): that of a column with a coordinate of its own, and how many retained records differ elsewhere.

    `query` (coordinates,), `z` (coordinates, places) and `order` (places,) are the client's, the numbers in the memory's
    integers, and the first `held` places are filled. The first `columns` coordinates are numbers, whose levels are `grain`
    apart. `others` counts the records that agree in all numbers with a coordinate of their own.
    """
    lows = np.full(columns, -1)
    highs = np.full(columns, -1)
    newest = np.full(columns, -1)  # the order of the latest record that differs in the column
    others = 0
    for m in range(held):
        k = only_move(query, z, m, columns)
        if k == columns:
            others += 1
        elif k >= 0:
            newest[k] = max(newest[k], np.int64(order[m]))
            if z[k, m] < query[k]:
                lows[k] = m if lows[k] < 0 or z[k, m] > z[k, lows[k]] else lows[k]
            else:
                highs[k] = m if highs[k] < 0 or z[k, m] < z[k, highs[k]] else highs[k]
    column = -1
    shortest = np.inf
    for k in range(columns):
        if lows[k] < 0 or highs[k] < 0:
            continue
        first, second = np.float64(z[k, lows[k]]), np.float64(z[k, highs[k]])
        if first > -SATURATED and second < SATURATED and second - first < shortest:
            shortest = second - first
            column = k
    if column < 0:
        return no_bracket(), others
    low, high = lows[column], highs[column]
    level = np.float64(grain[column])
    away = abs(np.float64(query[column]) - 0.5 * (np.float64(z[column, low]) + np.float64(z[column, high])))
    spare = tolerance(ASIDE, shortest, level)
    middle = bool(away <= spare)
    close = bool(away <= tolerance(OFF_MIDDLE_TIGHT, shortest, level))
    chained = False
    end, other = (low, high) if order[low] > order[high] else (high, low)
    if close:
        for m in range(held):
            if mirrors(z, m, end, other, column, level) and only_move(query, z, m, columns) == column:
                chained = True
                break
    descends = bool(newest[column] <= order[end])
    return Bracket(column, low, high, 2.0 * spare / shortest, middle, close, chained, descends), others


@kernel
def length_to(query, z, m, columns):
    """Return the squared distance to the record at place `m` in the coordinates from `columns` on."""
    length = 0.0
    for k in range(columns, query.shape[0]):
        length += (np.float64(z[k, m]) - np.float64(query[k])) ** 2
    return length


@kernel
def other_bracket(query, z, held, order, columns, grain):
    """Return the shortest bracket of a column without a coordinate of its own; for the arguments see `own_bracket`."""
    alike = np.empty(held, np.int64)
    reach = np.empty(held)
    n = 0
    for m in range(held):
        if only_move(query, z, m, columns) != columns:
            continue
        length = length_to(query, z, m, columns)
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
        return no_bracket()
    middle = True
    close = True
    accident = 1.0
    for k in range(columns, query.shape[0]):
        way = abs(np.float64(z[k, high]) - np.float64(z[k, low]))
        away = abs(np.float64(query[k]) - 0.5 * (np.float64(z[k, low]) + np.float64(z[k, high])))
        spare = tolerance(ASIDE, way, np.float64(grain[k]))
        middle = bool(middle and away <= spare)
        close = bool(close and away <= tolerance(OFF_MIDDLE_TIGHT, way, np.float64(grain[k])))
        accident = min(accident, 2.0 * spare / max(way, 1.0))
    chained = False
    descends = True
    end, other = (low, high) if order[low] > order[high] else (high, low)
    for j in range(n):
        same = True
        along = 0.0
        for k in range(columns, query.shape[0]):
            here = np.float64(query[k])
            same = bool(same and mirrors(z, alike[j], end, other, k, np.float64(grain[k])))
            along += (np.float64(z[k, alike[j]]) - here) * (np.float64(z[k, end]) - here)
        chained = bool(chained or (close and same))
        if order[alike[j]] > order[end] and along * along > COLLINEAR * reach[j] * length_to(query, z, end, columns):
            descends = False
    return Bracket(columns, low, high, accident, middle, close, chained, descends)


@kernel
def find_bracket(query, z, held, order, columns, grain):
    """Return the bracket that the query lies in; for the arguments see `own_bracket`."""
    found, others = own_bracket(query, z, held, order, columns, grain)
    if found.low < 0 and others > 1:
        return other_bracket(query, z, held, order, columns, grain)
    return found


@part
def halving_depth(bracket, past):
    """Return the depth of a query inside a bracket; 0 if it does not even nearly halve it, or its ends have the same answer."""
    low, high = bracket.low, bracket.high
    equal = past.label[low] == past.label[high] and past.margin[low] == past.margin[high]
    if not bracket.close or equal:
        return 0
    if not bracket.chained:
        return 1
    latest = low if past.order[low] > past.order[high] else high
    return min(np.int64(past.depth[latest]) + 1, DEEPEST)


@part
def is_judged(bracket):
    """Tell whether a bracket is long enough for its middle to mean something."""
    return bracket.low >= 0 and bracket.accident <= MOST_ACCIDENT
