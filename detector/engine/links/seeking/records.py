"""Records: places behind which the records of a table lie that differ in one column only.

A record's hash without one column is the sum of the keyed values of the other coordinates. Behind it lies the chain of the
values that this column took: its first, its latest, and the latest step. So a search that halves one column, and two-sided
differences, show whoever asks. A place is taken over by the next hash that falls on it: twins among the records of a public
table must not be credited with what was made long ago.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.kernels import kernel, part
from detector.engine.memory.reservoir import mix

PLACES = 1 << 16
HALF_AS_LARGE = 0.02  # relative difference of a step from half of the one before; or half a level
FIRST_STEP = 4.0  # least step whose half is looked for, in levels
SYMMETRIC = 0.02  # the same of a step from the mirror image of the one before
COLUMNS = 16  # numeric columns at most, as a reference has them
AS_LONG = 0.03  # relative difference of two steps of a column that are as long
SMALL = 0.08  # largest step of a difference, in deviations of the column


class Chains(NamedTuple):
    """One entry for each place: `check` tells whose it is, `first` and `latest` are values, `step` is the latest one.

    `depth` is how often a step was half of the one before. `account`, `uid` and `cluster` are those of the latest record.
    `mirrored` (COLUMNS,) is the step of the latest mirror image in each column.
    """

    check: npt.NDArray[np.uint32]
    first: npt.NDArray[np.int16]
    latest: npt.NDArray[np.int16]
    step: npt.NDArray[np.int32]
    depth: npt.NDArray[np.uint8]
    account: npt.NDArray[np.uint64]
    uid: npt.NDArray[np.int64]
    cluster: npt.NDArray[np.int64]
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
        account=np.zeros(n, np.uint64),
        uid=np.zeros(n, np.int64),
        cluster=np.zeros(n, np.int64),
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
