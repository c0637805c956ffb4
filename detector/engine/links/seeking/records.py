"""Records: places behind which the records of a table lie that differ in one column only.

A record's hash without one column is the sum of the keyed values of the other coordinates. Behind it lies the chain of the
values that this column took: its first, its latest, and the latest step. So a search that halves one column, and two-sided
differences, show whoever asks. A place is taken over by the next hash that falls on it: twins among the records of a public
table must not be credited with what was made long ago.

Of many columns most have no coordinate of their own. A move of one of these shows in the other coordinates, so its search is
looked for among the nearest records: those that are equal in all columns with a coordinate, and halve the way between two.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.evidence.probe import only_move
from detector.engine.kernels import kernel, part
from detector.engine.memory.reservoir import mix

PLACES = 1 << 16
HALF_AS_LARGE = 0.02  # relative difference of a step from half of the one before; or half a level
FIRST_STEP = 4.0  # least step whose half is looked for, in levels
SYMMETRIC = 0.02  # the same of a step from the mirror image of the one before
COLUMNS = 16  # numeric columns at most, as a reference has them
AS_LONG = 0.03  # relative difference of two steps of a column that are as long
LONG = 4.0  # least way between two records that is halved, in the lengths by which its middle may be missed
SMALL = 0.08  # largest step of a difference, in deviations of the column


class Chains(NamedTuple):
    """One entry for each place: `check` tells whose it is, `first` and `latest` are values, `step` is the latest one.

    `depth` is how often a step was half of the one before. `place` is that of the latest record in the store, and `uid` has the
    lowest bits of its number. `mirrored` (COLUMNS,) is the step of the latest mirror image in each column.
    """

    check: npt.NDArray[np.uint32]
    first: npt.NDArray[np.int16]
    latest: npt.NDArray[np.int16]
    step: npt.NDArray[np.int32]
    depth: npt.NDArray[np.uint8]
    place: npt.NDArray[np.int32]
    uid: npt.NDArray[np.uint32]
    mirrored: npt.NDArray[np.int32]


def no_chains(table: bool) -> Chains:
    """Return empty places; none at all where inputs are no records."""
    n = PLACES if table else 0
    return Chains(
        check=np.zeros(n, np.uint32),
        first=np.zeros(n, np.int16),
        latest=np.zeros(n, np.int16),
        step=np.zeros(n, np.int32),
        depth=np.zeros(n, np.uint8),
        place=np.zeros(n, np.int32),
        uid=np.zeros(n, np.uint32),
        mirrored=np.zeros(COLUMNS, np.int32),
    )


@kernel
def whole_hash(z, seed):
    """Return the sum of the keyed values of all coordinates, 64 bits."""
    h = np.uint64(0)
    for k in range(z.shape[0]):
        h += mix(seed, k + 1) * np.uint64(np.int64(z[k]))
    return h


@kernel
def place_without(whole, z, column, seed):
    """Return (place, check) of the records that are like this one in all coordinates but `column`."""
    rest = whole - mix(seed, column + 1) * np.uint64(np.int64(z[column]))
    rest = mix(rest, column + 1)
    return np.int64(rest & np.uint64(PLACES - 1)), np.uint32((rest >> np.uint64(32)) | np.uint64(1))


@part
def is_halved(chains, at, step, level):
    """Tell whether a step is half of the latest one of a chain; `level` is the least distance of two values."""
    before = abs(np.float64(chains.step[at]))
    unit = max(np.float64(level), 1.0)
    if before < FIRST_STEP * unit:
        return False
    return abs(abs(np.float64(step)) - 0.5 * before) <= max(HALF_AS_LARGE * before, 0.5 * unit + 0.5)


@part
def is_mirrored(chains, at, value, level, deviation):
    """Tell whether a value is the mirror image of the latest one about the first: that of a two-sided difference."""
    reach = np.float64(value) - np.float64(chains.first[at])
    back = np.float64(chains.latest[at]) - np.float64(chains.first[at])
    if reach == 0.0 or abs(reach) >= SMALL * deviation or abs(reach) <= 1.5 * max(np.float64(level), 1.0):
        return False
    return abs(reach + back) <= max(SYMMETRIC * abs(reach), 0.5)


@part
def is_as_long(chains, at, value, column):
    """Tell whether a mirror image lies as far from the first value as the one before in this column, and note how far.

    Differences are taken with one step in all records; what drifts to and fro has another one each time.
    """
    reach = abs(np.int64(value) - np.int64(chains.first[at]))
    before = np.int64(chains.mirrored[column])
    chains.mirrored[column] = reach
    return before > 0 and abs(reach - before) <= max(AS_LONG * before, 1.0)


@part
def hidden_halving(entries, z, place, rows, numbers, level):
    """Return (depth, way, latest, other): how a record goes on with a search in a column without a coordinate of its own.

    `place` (n,) are those of the nearest records in the store, and `rows` (n, width) the records. `latest` is the last of them
    that differs in such a column alone, -1 without any. Where the record halves the way from it to another one, `other` is
    that, `way` the length, and `depth` how often in a row such ways were halved, each half as long as the one before; a slider
    that is moved at random seldom does it twice.
    """
    alike = np.empty(place.shape[0], np.int64)
    n = 0
    last = np.int64(-1)
    for i in range(place.shape[0]):
        if only_move(z, rows.T, i, numbers) == numbers:
            alike[n] = i
            n += 1
            if last < 0 or entries.uid[place[i]] > entries.uid[place[last]]:
                last = np.int64(i)
    latest = place[last] if last >= 0 else np.int64(-1)
    other = np.int64(-1)
    missed = 0.0
    for k in range(numbers, level.shape[0]):
        missed += (0.5 * np.float64(level[k]) + 1.0) ** 2
    shortest = np.inf
    for a in range(n):
        way = 0.0
        for k in range(numbers, z.shape[0]):
            first, second = np.float64(rows[last, k]), np.float64(rows[alike[a], k])
            way += (second - first) ** 2
            if abs(np.float64(z[k]) - 0.5 * (first + second)) > 0.5 * np.float64(level[k]) + 1.0:
                way = np.inf
                break
        if LONG * LONG * missed < way < shortest:
            shortest = way
            other = place[alike[a]]
    if other < 0:
        return 0, 0, latest, other
    way = np.sqrt(shortest)
    before = np.float64(entries.size[latest])
    goes_on = before > 0.0 and abs(way - 0.5 * before) <= HALF_AS_LARGE * before + np.sqrt(missed)
    depth = min(np.int64(entries.depth[latest]) + 1, 250) if goes_on else 1
    return depth, np.int32(np.rint(way)), latest, other
