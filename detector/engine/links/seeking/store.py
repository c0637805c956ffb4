"""Store: the latest queries of a model, whoever asked them, behind cells.

Each query lies behind the landmark of the reference that it is nearest to. A cell is a ring, and a new query is compared with
the entries of its few nearest cells only, so a comparison costs the same however much traffic there was. An entry that a later
query was made from, or that a young account asked, is passed over once when its turn to be replaced comes: the seed of a search
is worth more than one more natural query, and a campaign asks from new accounts.

Records of a table have only the coordinates that their columns fill, and of the sampled values nothing but a hash.

Bounded: 80 to 140 bytes for an entry, and the tables of contents and of accounts.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.kernels import kernel, part
from detector.engine.links.sketch import Sketches
from detector.engine.memory.reservoir import COORDINATES, SAMPLED

PROBED = 4  # nearest cells whose entries a query is compared with
NEAREST = 48  # entries that the tests look at
CONTENTS = 1 << 16  # contents that are known as repeats
YOUNG = 32  # queries up to which an account is young
TALLIED = 1 << 16  # counters of queries by account; accounts that share one look older than they are
PASSED = 8  # entries that are passed over at most until one is replaced
HIT, FROM_YOUNG, SHARED = 1, 2, 4  # bits of `mark`; several accounts asked what is shared
PASSED_OVER = HIT | FROM_YOUNG
FAR = np.float32(np.inf)
GROUP = 32  # entries that are searched at once for the nearest of them
TAKEN = np.iinfo(np.int64).max


class Entries(NamedTuple):
    """The kept queries, at ``cell * length + place`` where an array has no axis for the cells, and what is counted.

    `z` (cells, width, length) and `c` (entries, SAMPLED) are the reduced inputs, `total` and `weighed` the checksums. Of
    records there is no `c`, and the checksums are two halves of a hash of it; nor are there `value`, `probes` and `twins`.
    `uid` numbers the queries of the model, 0 where there is none. `cluster` is the number of the query that a chain of near
    ones began with. `depth` is how often an interval was halved on the way to it. `size` is the latest change of one `value`
    about it, in steps of the checksums, of so many `probes`, among them `twins`; of a record, the length of the way that it
    halved. `filled` (cells,) is how many queries a cell has ever held. `seen` (CONTENTS,) are contents,
    each with the place and the lowest bits of the number of its query, `asked` (TALLIED,) counts queries, and `stored` (1,) all
    of them.
    """

    z: npt.NDArray[np.int16]
    c: npt.NDArray[np.uint8]
    total: npt.NDArray[np.uint32]
    weighed: npt.NDArray[np.uint32]
    label: npt.NDArray[np.int32]
    depth: npt.NDArray[np.uint8]
    mark: npt.NDArray[np.uint8]
    uid: npt.NDArray[np.int64]
    cluster: npt.NDArray[np.int64]
    account: npt.NDArray[np.uint64]
    size: npt.NDArray[np.int32]
    value: npt.NDArray[np.int32]
    probes: npt.NDArray[np.uint8]
    twins: npt.NDArray[np.uint8]
    filled: npt.NDArray[np.int64]
    seen: npt.NDArray[np.uint64]
    seen_place: npt.NDArray[np.int32]
    seen_uid: npt.NDArray[np.uint32]
    asked: npt.NDArray[np.uint16]
    stored: npt.NDArray[np.int64]


class Asking(NamedTuple):
    """Queries to compare, n of each; `account` are numbers of accounts. See `sketch.Sketches`."""

    z: npt.NDArray[np.int16]
    c: npt.NDArray[np.uint8]
    total: npt.NDArray[np.uint32]
    weighed: npt.NDArray[np.uint32]
    content: npt.NDArray[np.uint64]
    label: npt.NDArray[np.int32]
    account: npt.NDArray[np.uint64]


def asking(sketches: Sketches, account: npt.NDArray[np.uint64], width: int = COORDINATES) -> Asking:
    """Return the columns of sketches that the kernels read, with so many coordinates as the store keeps."""
    return Asking(
        z=np.ascontiguousarray(sketches.z[:, :width], np.int16),
        c=np.ascontiguousarray(sketches.c, np.uint8),
        total=np.ascontiguousarray(sketches.total, np.uint32),
        weighed=np.ascontiguousarray(sketches.weighed, np.uint32),
        content=np.ascontiguousarray(sketches.content, np.uint64),
        label=np.ascontiguousarray(sketches.label, np.int32),
        account=account,
    )


def coordinates_of(projection: npt.NDArray[np.float32]) -> int:
    """Return how many coordinates a projection (encoded, COORDINATES) fills; those behind them are always 0.

    >>> coordinates_of(np.eye(3, COORDINATES, dtype=np.float32))
    3
    """
    filled = np.flatnonzero(projection.any(axis=0))
    return int(filled[-1]) + 1 if len(filled) else 1


def empty(cells: int, entries: int, width: int = COORDINATES, *, table: bool = False) -> Entries:
    """Return a store without queries of so many coordinates, of at least two entries behind each cell."""
    length = max(entries // cells, 2)
    n = cells * length
    sampled = 0 if table else n
    return Entries(
        z=np.zeros((cells, width, length), np.int16),
        c=np.zeros((sampled, SAMPLED), np.uint8),
        total=np.zeros(n, np.uint32),
        weighed=np.zeros(n, np.uint32),
        label=np.zeros(n, np.int32),
        depth=np.zeros(n, np.uint8),
        mark=np.zeros(n, np.uint8),
        uid=np.zeros(n, np.int64),
        cluster=np.zeros(n, np.int64),
        account=np.zeros(n, np.uint64),
        size=np.zeros(n, np.int32),
        value=np.full(sampled, -1, np.int32),
        probes=np.zeros(sampled, np.uint8),
        twins=np.zeros(sampled, np.uint8),
        filled=np.zeros(cells, np.int64),
        seen=np.zeros(CONTENTS, np.uint64),
        seen_place=np.zeros(CONTENTS, np.int32),
        seen_uid=np.zeros(CONTENTS, np.uint32),
        asked=np.zeros(TALLIED, np.uint16),
        stored=np.zeros(1, np.int64),
    )


class Near(NamedTuple):
    """Scratch of a search: the nearest cells, and the nearest entries with their squared distances, nearest first.

    `squares` are the squared distances of all entries of these cells, and `keys` and `least` what `nearest_entries` takes the
    nearest from.
    """

    cells: npt.NDArray[np.int64]
    away: npt.NDArray[np.float32]
    squares: npt.NDArray[np.float32]
    place: npt.NDArray[np.int64]
    square: npt.NDArray[np.float32]
    keys: npt.NDArray[np.int64]
    least: npt.NDArray[np.int64]


def near_for(entries: Entries, nearest: int = NEAREST) -> Near:
    """Return scratch arrays for a store, and so many of its entries."""
    cells, _, length = entries.z.shape
    probed = min(PROBED, cells)
    groups = -(-probed * length // GROUP)
    return Near(
        cells=np.zeros(probed, np.int64),
        away=np.zeros(cells, np.float32),
        squares=np.zeros(probed * length, np.float32),
        place=np.zeros(nearest, np.int64),
        square=np.zeros(nearest, np.float32),
        keys=np.zeros(groups * GROUP, np.int64),
        least=np.zeros(groups, np.int64),
    )


@part
def share(entries, place, account):
    """Note that an account asked what another one has asked before: what is shared is nobody's."""
    if entries.account[place] != account:
        entries.mark[place] |= SHARED


@kernel
def owner(mark, account, place):
    """Return the account that an entry is held against, 0 for none."""
    return np.uint64(0) if mark[place] & SHARED else account[place]


@part
def row_at(kept, place):
    """Return the coordinates (width,) of the query at a place; `kept` (cells, width, places) are those of the store."""
    return kept[place // kept.shape[2], :, place % kept.shape[2]]


@part
def gather(kept, places, rows):
    """Write the coordinates of the queries at `places` (n,) to `rows` (n or more, width)."""
    for i in range(places.shape[0]):
        row = row_at(kept, places[i])
        for k in range(row.shape[0]):
            rows[i, k] = np.float32(row[k])


@part
def nearest_cells(landmarks, z, near):
    """Write the nearest cells of a query into `near.cells`, nearest first; `landmarks` (coordinates, cells)."""
    near.away[:] = 0.0
    for k in range(z.shape[0]):
        q = np.float32(z[k])
        for m in range(near.away.shape[0]):
            d = landmarks[k, m] - q
            near.away[m] += d * d
    bits = near.away.view(np.int32)  # in the order of the distances, none of which is negative
    for p in range(near.cells.shape[0]):
        least = bits[0]
        for m in range(1, bits.shape[0]):
            least = min(least, bits[m])
        best = 0
        while bits[best] != least:
            best += 1
        near.cells[p] = best
        near.away[best] = FAR


@kernel
def least_of(keys, group):
    """Return the least key of a group."""
    least = keys[group * GROUP]
    for m in range(group * GROUP + 1, (group + 1) * GROUP):
        least = min(least, keys[m])
    return least


@part
def nearest_entries(entries, z, near):
    """Write the entries nearest to a query into `near`, nearest first, ties in the order of the cells; return how many.

    A key is made of the bits of a squared distance and, in the lowest bits, where it was found. The next nearest is the least
    of the groups' least keys, and then only its group is searched again. No branch depends on the data.
    """
    length = entries.z.shape[2]
    keys, least = near.keys, near.least
    keys[:] = TAKEN
    held_at_all = 0
    for p in range(near.cells.shape[0]):
        cell = near.cells[p]
        held = min(entries.filled[cell], length)
        held_at_all += held
        first = p * length
        squares = near.squares[first : first + held]
        squares[:] = 0.0
        for k in range(0, z.shape[0] - 3, 4):  # four at a time, so that sums are written a quarter as often
            q, r, s, t = np.float32(z[k]), np.float32(z[k + 1]), np.float32(z[k + 2]), np.float32(z[k + 3])
            for j in range(held):
                a = np.float32(entries.z[cell, k, j]) - q
                b = np.float32(entries.z[cell, k + 1, j]) - r
                c = np.float32(entries.z[cell, k + 2, j]) - s
                d = np.float32(entries.z[cell, k + 3, j]) - t
                squares[j] = squares[j] + a * a + b * b + c * c + d * d
        for k in range(z.shape[0] // 4 * 4, z.shape[0]):
            q = np.float32(z[k])
            for j in range(held):
                d = np.float32(entries.z[cell, k, j]) - q
                squares[j] += d * d
        bits = squares.view(np.int32)
        for j in range(held):
            keys[first + j] = np.int64(bits[j]) << 32 | (first + j)
    for group in range(least.shape[0]):
        least[group] = least_of(keys, group)
    found = min(held_at_all, near.place.shape[0])
    for i in range(found):
        nearest = least[0]
        for group in range(1, least.shape[0]):
            nearest = min(nearest, least[group])
        at = nearest & 0xFFFFFFFF
        near.place[i] = near.cells[at // length] * length + at % length
        near.square[i] = near.squares[at]
        keys[at] = TAKEN
        least[at // GROUP] = least_of(keys, at // GROUP)
    return found


@kernel
def place_for(mark, filled, cell, length):
    """Return the place within a cell for a new query; `filled` (cells,) moves on past entries that are kept longer."""
    if filled[cell] < length:
        at = filled[cell]
        filled[cell] += 1
        return at
    for _ in range(PASSED):
        at = filled[cell] % length
        if mark[cell * length + at] & PASSED_OVER == 0:
            break
        mark[cell * length + at] &= SHARED  # passed over once
        filled[cell] += 1
    at = filled[cell] % length
    filled[cell] += 1
    return at
