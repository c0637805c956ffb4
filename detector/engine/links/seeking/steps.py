"""Steps: records of a table that were made from other accounts' records by one step, the same for many.

Jacobian-based augmentation and its relatives move each number of a seed by a share of its column's spread, up or down (see
`evidence.children`, whose comparison of two moves is used here). Across accounts neither the order of the seeds nor the step is
known, so both are found by content:

*Twins.* The ways from a query to its nearest entries are remembered by how far they lead in two of the columns with the most
levels. A way that leads as far as one before, from another record, is compared in all columns; what agreement in a column says
depends on its grid. Two such ways that agree by more than the number of comparisons explains are twins.

*Families.* Twins tell the step. From then on each query is compared with what the latest families make of its nearest entries,
and the record that it would have been made from is looked up by its values (see `values`). How often ways are as long as a
family's step by accident is counted for each column.

Three kinds of innocent ways are no twins: a constant that is added to whole records moves all numbers to the same side, what
is moved about one record has one parent, and amounts say nothing that many of the nearest records differ by, or that are
multiples of one unit with what they differ by.

Bounded: `WAYS` ways and `FAMILIES` families. All are taken over by what comes later.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.evidence.children import AGREE, MANY, ROUNDING, agreement, by_accident, slack
from detector.engine.kernels import kernel, part
from detector.engine.links.seeking.records import COLUMNS
from detector.engine.links.seeking.store import row_at
from detector.engine.links.seeking.values import NEARLY, PAIRS, bins_of, held_at, key_of, share_like, width_of

WAYS = 1 << 16
FAMILIES = 8
FAR = 3.5  # bins that an entry differs by at least in a column that its way is looked up by
UNMOVED = 0.4  # share of a thief's other moves that leave a column as it was, at its extreme
CUT = 0.2  # share of those that are cut short or another step
MOST_ODD = -6.0  # logarithm of odds against a step from which a record is given up
TWIN = 14.0  # least logarithm of the odds of twins: there are so many ways that a way is compared with
KIN = 6.0  # the same of a record and a family, less that of the number of records that were compared
COUNTED_FROM = 50.0  # ways of which one in each column is thought to have been as long as a family's step
GONE = 1 << 15  # queries after which a family that made none is forgotten


class Steps(NamedTuple):
    """What is known of steps; empty where inputs are no records.

    By key of a way: `check` (WAYS,) tells which, and `ends` (WAYS, 2) are places in the store, that of the child first. Of each
    family: `size` (FAMILIES, COLUMNS) is how far each column is moved, 0 where that is not known, `latest` the number of the
    latest query that it made, 0 without any, `place` where that lies, and `met` (FAMILIES, COLUMNS) how many of the `tried`
    ways were as long.
    """

    check: npt.NDArray[np.uint16]
    ends: npt.NDArray[np.int32]
    size: npt.NDArray[np.int32]
    latest: npt.NDArray[np.int64]
    place: npt.NDArray[np.int32]
    met: npt.NDArray[np.int64]
    tried: npt.NDArray[np.int64]


def no_steps(table: bool) -> Steps:
    """Return arrays without steps; none at all where inputs are no records."""
    ways, families = (WAYS, FAMILIES) if table else (0, 0)
    return Steps(
        check=np.zeros(ways, np.uint16),
        ends=np.zeros((ways, 2), np.int32),
        size=np.zeros((families, COLUMNS), np.int32),
        latest=np.zeros(families, np.int64),
        place=np.zeros(families, np.int32),
        met=np.zeros((families, COLUMNS), np.int64),
        tried=np.zeros(families, np.int64),
    )


@kernel
def lead_from(query, rows, columns, level, lead, bins):
    """Note how far the ways from `rows` (n, width) to the query lead in two columns; n are as many as `lead` has places.

    They are the first two of the columns in which the two differ by more than a few bins. `lead` (n,) is -1 where there are not
    as many, else it tells which columns, and `bins` (n, 4) in which bin the way is in each, and in which it may be as well.
    """
    for i in range(lead.shape[0]):
        lead[i] = -1
        first = np.int64(-1)
        for j in columns:
            width = width_of(level[j])
            moved = abs(np.float64(query[j]) - np.float64(rows[i, j]))
            if moved > FAR * width:
                if first >= 0:
                    lead[i] = first * COLUMNS + np.int64(j)
                    bins[i, 2], bins[i, 3] = bins_of(moved, width, NEARLY)
                    break
                first = np.int64(j)
                bins[i, 0], bins[i, 1] = bins_of(moved, width, NEARLY)


@kernel
def moves_alike(query, parent, child, origin, place, near, rows, numbers, level):
    """Say how likely the ways from `parent` to the query and from `origin` to `child` are one step, as logarithm of odds.

    It is -inf if they are none. All four are records, and `place` is that of the parent. `near` (n,) are those of the nearest
    entries, and `rows` (n, width) their coordinates.
    """
    agreed = 0
    opposite = 0
    for j in range(numbers):  # most ways differ, which is seen without a logarithm
        q, m = np.float64(query[j]), np.float64(parent[j])
        end, start = np.float64(child[j]), np.float64(origin[j])
        found = agreement(q - m, end - start, q, m, end, start, np.float64(level[j]))
        agreed += found > 0
        opposite += found == 2
    if agreed < MANY or not 0 < opposite < agreed:
        return -np.inf
    worth = 0.0
    for j in range(numbers):
        q, m = np.float64(query[j]), np.float64(parent[j])
        end, start = np.float64(child[j]), np.float64(origin[j])
        grid = np.float64(level[j])
        size = abs(q - m)
        found = agreement(q - m, end - start, q, m, end, start, grid)
        if found < 0:
            still = min(size, abs(end - start)) <= ROUNDING + 0.25 * grid
            worth += np.log(UNMOVED) if still else np.log(CUT)
        elif found > 0:
            accident = max(by_accident(size, grid), share_like(query, rows, near, place, j, size, slack(size, grid)))
            worth += np.log(AGREE / accident)
    return worth


@kernel
def moved_by(query, parent, place, size, met, tried, near, rows, numbers, level):
    """Say how likely a step of this `size` (columns,) leads from `parent`, at `place`, to the query; -inf if it does not.

    `met` (columns,) of the `tried` ways were as long in each column. For `near` and `rows` see `moves_alike`.
    """
    agreed = 0
    worth = 0.0
    for j in range(numbers):
        if size[j] == 0:
            continue
        grid, step = np.float64(level[j]), np.float64(size[j])
        moved = abs(np.float64(query[j]) - np.float64(parent[j]))
        off = slack(step, grid)
        if abs(moved - step) <= off:
            like = share_like(query, rows, near, place, j, step, off)
            agreed += 1
            worth += np.log(AGREE / max(by_accident(step, grid), like, (met[j] + 1.0) / (tried + COUNTED_FROM)))
        else:
            worth += np.log(UNMOVED) if moved <= ROUNDING + 0.25 * grid else np.log(CUT)
            if worth < MOST_ODD:
                return -np.inf
    return worth if agreed >= MANY else -np.inf


@kernel
def way_of(lead, one, other, seed):
    """Return (place, check) in `Steps` of a way with these bins in two columns; for `lead` see `lead_from`."""
    key = key_of(lead, one, other, seed)
    return np.int64(key & np.uint64(WAYS - 1)), np.uint16((key >> np.uint64(48)) | np.uint64(1))


@part
def twin_of(steps, entries, z, near, room, grid):
    """Return (parent, child, origin) of the way from one of the entries `near` (n,) that most surely has a twin, or -1."""
    parent = np.int64(-1)
    child = np.int64(-1)
    origin = np.int64(-1)
    best = TWIN
    for i in range(near.shape[0]):
        place, lead, bins = near[i], room.lead[i], room.bins[i]
        if lead < 0:
            continue
        for u in range(1 if bins[0] == bins[1] else 2):
            for v in range(1 if bins[2] == bins[3] else 2):
                at, check = way_of(lead, bins[u], bins[2 + v], grid.seed)
                if steps.check[at] != check:
                    continue
                end, start = np.int64(steps.ends[at, 0]), np.int64(steps.ends[at, 1])
                if place not in (start, end):
                    ended, started = row_at(entries.z, end), row_at(entries.z, start)
                    worth = moves_alike(
                        z, room.gathered[i], ended, started, place, near, room.gathered, grid.numbers, grid.level
                    )
                    if worth > best:
                        best = worth
                        parent, child, origin = place, end, start
    return parent, child, origin


@part
def keep_ways(steps, near, room, home, grid):
    """Remember the ways to the query, which lies at the place `home`, from the entries `near` (n,)."""
    for i in range(near.shape[0]):
        if room.lead[i] >= 0 and near[i] != home:
            at, check = way_of(room.lead[i], room.bins[i, 0], room.bins[i, 2], grid.seed)
            steps.check[at] = check
            steps.ends[at, 0] = home
            steps.ends[at, 1] = near[i]


@part
def note_met(steps, z, row, family, grid):
    """Count in which columns the way from a record nearby is as long as a family's step: nearly always by accident."""
    steps.tried[family] += 1
    for j in range(grid.numbers):
        step = np.float64(steps.size[family, j])
        if step > 0.0:
            moved = abs(np.float64(z[j]) - np.float64(row[j]))
            steps.met[family, j] += abs(moved - step) <= slack(step, np.float64(grid.level[j]))


@part
def kin_of(steps, values, entries, z, near, room, grid, uid):
    """Return (family, parent): the family that most surely made the query, and the record that it was made from, or -1."""
    family = np.int64(-1)
    parent = np.int64(-1)
    best = KIN
    beside = np.log(np.float64(near.shape[0]))
    anywhere = np.log(np.float64(min(uid, entries.uid.shape[0])))
    for f in range(FAMILIES):
        if steps.latest[f] == 0 or uid - steps.latest[f] > GONE:
            continue
        size, met, tried = steps.size[f], steps.met[f], steps.tried[f]
        note_met(steps, z, room.gathered[uid % near.shape[0]], f, grid)
        for i in range(near.shape[0]):
            row = room.gathered[i]
            worth = moved_by(z, row, near[i], size, met, tried, near, room.gathered, grid.numbers, grid.level) - beside
            if worth > best:
                best = worth
                family, parent = np.int64(f), near[i]
        for t in range(min(PAIRS, grid.columns.shape[0] // 2)):
            j, k = grid.columns[2 * t], grid.columns[2 * t + 1]
            if size[j] == 0 or size[k] == 0:
                continue
            for signs in range(4):
                a = bins_of(np.float64(z[j]) + (size[j] if signs & 1 else -size[j]), width_of(grid.level[j]), NEARLY)
                b = bins_of(np.float64(z[k]) + (size[k] if signs & 2 else -size[k]), width_of(grid.level[k]), NEARLY)
                for u in range(1 if a[0] == a[1] else 2):
                    for v in range(1 if b[0] == b[1] else 2):
                        place = held_at(values, t, a[u], b[v], grid.seed)
                        if place < 0:
                            continue
                        far = row_at(entries.z, place)
                        worth = (
                            moved_by(z, far, place, size, met, tried, near, room.gathered, grid.numbers, grid.level) - anywhere
                        )
                        if worth > best:
                            best = worth
                            family, parent = np.int64(f), place
    return family, parent


@part
def found_family(steps, entries, z, parent, child, origin, grid, uid):
    """Take in the step of twins as a family, in the place of the one that made none for longest; return its number."""
    family = np.int64(0)
    for f in range(1, FAMILIES):
        if steps.latest[f] < steps.latest[family]:
            family = np.int64(f)
    steps.size[family] = 0
    steps.met[family] = 0
    steps.tried[family] = 0
    start, ended, started = row_at(entries.z, parent), row_at(entries.z, child), row_at(entries.z, origin)
    for j in range(grid.numbers):
        now = abs(np.float64(z[j]) - np.float64(start[j]))
        before = abs(np.float64(ended[j]) - np.float64(started[j]))
        level = np.float64(grid.level[j])
        if now > ROUNDING + 0.25 * level and abs(now - before) <= slack(max(now, before), level):
            steps.size[family, j] = np.int32(now)
    steps.latest[family] = uid
    return family


@part
def refine(steps, entries, z, family, parent, grid):
    """Learn a family's step in the columns in which it is not known from one more record that it made."""
    start = row_at(entries.z, parent)
    for j in range(grid.numbers):
        if steps.size[family, j] == 0:
            now = abs(np.float64(z[j]) - np.float64(start[j]))
            if now > ROUNDING + 0.25 * np.float64(grid.level[j]):
                steps.size[family, j] = np.int32(now)


@part
def stepped_from(steps, values, entries, z, near, room, grid, uid):
    """Return (family, parent, kin): by whose step the query was made from which entry, and another that it made; -1 without."""
    family, parent = kin_of(steps, values, entries, z, near, room, grid, uid)
    kin = np.int64(-1)
    if family >= 0:
        refine(steps, entries, z, family, parent, grid)
        if entries.uid[steps.place[family]] == steps.latest[family]:
            kin = np.int64(steps.place[family])
        steps.latest[family] = uid
    else:
        parent, kin, origin = twin_of(steps, entries, z, near, room, grid)
        if parent >= 0:
            family = found_family(steps, entries, z, parent, kin, origin, grid, uid)
    return family, parent, kin
