"""Values: records of a table are looked up by their values, wherever in the store they lie.

What a query was made from need not be near to it: the seed of a long step has thousands of records in between, and so has
the end of an interval in which many queries were asked since. So the latest record is remembered by its values in two of the
columns with the most levels, which few records share, for two such pairs of columns. Whoever supposes how a query was made
looks the other record up by the values that it must have had.

Here the supposition is a middle: a query between two records with different labels mirrors one of them into the other. One is
near, or is an end to which a search has returned before, as HopSkipJump returns to the record that it walks towards.

Blind to: tables with fewer than two columns of many levels. A place is taken over by the next record whose values fall on it.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.evidence.bisect import ASIDE
from detector.engine.evidence.children import MANY, ROUNDING
from detector.engine.kernels import kernel, part
from detector.engine.links.seeking.store import row_at
from detector.engine.memory.reservoir import mix

VALUES = 1 << 15
PAIRS = 2  # pairs of columns by which records are looked up
ENDS = 16  # ends to which searches return
BIN = 8.0  # width of a bin of a continuous column, in the memory's integers
LEVELS = 16.0  # least deviation of a column that records are looked up by, in levels or bins
NEARLY = ROUNDING + 0.5  # by which two equal ways, or a value and the one that it should have, may differ
BESIDE = 8  # nearest entries whose mirror images are looked up
OLDER = 16  # times as long ago as the other end of an interval, an end was asked to which a search returns
LIKE_MOST = 0.95  # largest share of accidents
MOST_PARTS = 3  # of a step, of which one may be a level of a client's own grid
FINEST = 0.125  # share of such a level that rounding has to be smaller than
COLUMN_BITS, BIN_BITS = 40, 20  # places of columns and of the first bin in a key


class Grid(NamedTuple):
    """How records are looked up: `columns` (n,) have the most levels, those with the most first; `level` (coordinates,)."""

    columns: npt.NDArray[np.int64]
    numbers: int
    level: npt.NDArray[np.float32]
    seed: np.uint64


class Values(NamedTuple):
    """Places in the store: `holder` (PAIRS, VALUES) of the latest record by its values; `check` tells which, 0 without any.

    `end` (ENDS,) are those of ends to which searches return, with their numbers `end_uid`; `used` is the number of the query
    that returned last.
    """

    check: npt.NDArray[np.uint8]
    holder: npt.NDArray[np.int32]
    end: npt.NDArray[np.int32]
    end_uid: npt.NDArray[np.int64]
    used: npt.NDArray[np.int64]


def no_values(table: bool) -> Values:
    """Return arrays without a record; none at all where inputs are no records."""
    n = ENDS if table else 0
    return Values(
        check=np.zeros((PAIRS, VALUES if table else 0), np.uint8),
        holder=np.full((PAIRS, VALUES if table else 0), -1, np.int32),
        end=np.full(n, -1, np.int32),
        end_uid=np.zeros(n, np.int64),
        used=np.zeros(n, np.int64),
    )


@kernel
def fine_columns(variance, level, numbers):
    """Return the columns with enough levels that records are looked up by, those with the most first.

    There are none in tables of fewer numbers than two steps are compared in.
    """
    fineness = np.zeros(numbers)
    for j in range(numbers):
        fineness[j] = np.sqrt(np.float64(variance[j])) / max(np.float64(level[j]), BIN)
    order = np.argsort(-fineness)
    many = 0
    for j in range(numbers):
        many += fineness[j] >= LEVELS
    return order[:many] if numbers >= MANY else order[:0]


@kernel
def width_of(level):
    """Return the width of the bins of a column: its levels, where these are not much finer than the memory's integers."""
    return np.float64(level) if level >= 0.5 * BIN else BIN


@kernel
def bins_of(value, width, spare):
    """Return (own, next): the bin of a value, and that in which it may be as well if it is off by `spare`."""
    own = np.int64(np.floor(value / width + 0.5))
    off = value - own * width
    if off > 0.5 * width - spare:
        return own, own + 1
    if off < spare - 0.5 * width:
        return own, own - 1
    return own, own


@kernel
def key_of(columns, one, other, seed):
    """Return 64 bits for two bins of a pair of columns."""
    return mix(seed, (np.int64(columns) << COLUMN_BITS) + (np.int64(one) << BIN_BITS) + np.int64(other))


@kernel
def is_fellow(away, size):
    """Tell whether a move and a step of this size are multiples of one unit, but no step or two.

    All records of a client that rounds more coarsely than the others lie on a grid of its own, and so do all ways between them.
    """
    for parts in range(1, MOST_PARTS + 1):
        unit = size / parts
        whole = np.rint(away / unit)
        hits = whole > 0.0 and abs(away - whole * unit) <= ROUNDING < FINEST * unit
        if hits and (whole % parts != 0.0 or whole > 2.0 * parts):
            return True
    return False


@kernel
def share_like(query, rows, near, parent, column, size, off):
    """Return which share of the nearest entries beside `parent` differ from the query by as much, or by other such units.

    `near` (n,) are their places, and `rows` (n or more, width) their coordinates.
    """
    like = 0
    fellows = 0
    for i in range(near.shape[0]):
        if near[i] != parent:
            away = abs(np.float64(query[column]) - np.float64(rows[i, column]))
            like += abs(away - size) <= off
            fellows += is_fellow(away, size)
    return min(max(like, fellows) / near.shape[0], LIKE_MOST)


@kernel
def slot_of(pair, one, other, seed):
    """Return (slot, check): where `Values.holder` has the latest record with these bins of a pair of columns."""
    key = key_of(pair, one, other, seed)
    return np.int64(key & np.uint64(VALUES - 1)), np.uint8((key >> np.uint64(56)) | np.uint64(1))


@part
def held_at(values, pair, one, other, seed):
    """Return the place of the latest record with these bins of a pair of columns, -1 without any."""
    slot, check = slot_of(pair, one, other, seed)
    return np.int64(values.holder[pair, slot]) if values.check[pair, slot] == check else np.int64(-1)


@part
def keep_values(values, z, home, grid):
    """Remember the record at the place `home` by its values."""
    for t in range(min(PAIRS, grid.columns.shape[0] // 2)):
        j, k = grid.columns[2 * t], grid.columns[2 * t + 1]
        one, _ = bins_of(np.float64(z[j]), width_of(grid.level[j]), NEARLY)
        other, _ = bins_of(np.float64(z[k]), width_of(grid.level[k]), NEARLY)
        slot, check = slot_of(t, one, other, grid.seed)
        values.check[t, slot] = check
        values.holder[t, slot] = home


@kernel
def may_be_middle(query, one, other, columns, level):
    """Tell whether the query has the middles of two records in these columns, at least `MANY` of which differ, or all."""
    moved = 0
    for j in columns:
        first, second = np.float64(one[j]), np.float64(other[j])
        way = abs(second - first)
        moved += way > 2.0 * BIN  # type: ignore[assignment]  # numba adds booleans
        if abs(2.0 * query[j] - first - second) > 2.0 * (NEARLY + ASIDE * way) + np.float64(level[j]):
            return False
    return moved >= min(MANY, columns.shape[0])


@part
def mirrored_ends(values, entries, z, near, grid):
    """Return (one, other): two records with different labels whose middle the query may be, -1 without any.

    One of them is among the entries `near` (n,) or was an end before; the other is looked up.
    """
    for i in range(ENDS + min(near.shape[0], BESIDE)):
        place = np.int64(values.end[i]) if i < ENDS else near[i - ENDS]
        if place < 0 or (i < ENDS and entries.uid[place] != values.end_uid[i]):
            continue
        row = row_at(entries.z, place)
        for t in range(min(PAIRS, grid.columns.shape[0] // 2)):
            j, k = grid.columns[2 * t], grid.columns[2 * t + 1]
            a = bins_of(2.0 * z[j] - np.float64(row[j]), width_of(grid.level[j]), 2.0 * NEARLY)
            b = bins_of(2.0 * z[k] - np.float64(row[k]), width_of(grid.level[k]), 2.0 * NEARLY)
            for u in range(1 if a[0] == a[1] else 2):
                for v in range(1 if b[0] == b[1] else 2):
                    other = held_at(values, t, a[u], b[v], grid.seed)
                    if other < 0 or other == place or entries.label[other] == entries.label[place]:
                        continue
                    if may_be_middle(z, row, row_at(entries.z, other), grid.columns, grid.level):
                        return place, other
    return np.int64(-1), np.int64(-1)


@part
def keep_end(values, entries, one, other, uid):
    """Remember the older end of an interval that the query `uid` halves, where a search has returned to it after long."""
    if entries.uid[one] > entries.uid[other]:
        one, other = other, one
    if uid - entries.uid[one] >= OLDER * (uid - entries.uid[other]):
        at = 0
        for i in range(ENDS):
            if values.end[i] == one:
                at = i
                break
            if values.used[i] < values.used[at]:
                at = i
        values.end[at] = one
        values.end_uid[at] = entries.uid[one]
        values.used[at] = uid
