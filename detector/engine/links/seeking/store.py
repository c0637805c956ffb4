"""Store: the latest queries of a model, whoever asked them, behind cells.

Each query lies behind the landmark of the reference that it is nearest to. A cell is a ring, and a new query is compared with
the entries of its few nearest cells only, so a comparison costs the same however much traffic there was. An entry that a later
query was made from, or that a young account asked, is passed over once when its turn to be replaced comes: the seed of a search
is worth more than one more natural query, and a campaign asks from new accounts.

Bounded: about 130 bytes for an entry, and the tables of contents and of accounts.
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


class Entries(NamedTuple):
    """The kept queries, at ``cell * length + place`` where an array has no axis for the cells, and what is counted.

    `z` (cells, COORDINATES, length) and `c` (entries, SAMPLED) are the reduced inputs, `total` and `weighed` the checksums.
    `uid` numbers the queries of the model, 0 where there is none. `cluster` is the number of the query that a chain of near
    ones began with. `depth` is how often an interval was halved on the way to it. `size` is the latest change of one `value`
    about it, in steps of the checksums, of so many `probes`, among them `twins`; of a record, the length of the way that it
    halved. `filled` (cells,) is how many queries a cell has ever held. `seen` (CONTENTS,) are contents,
    each with the place and the number of its query, `asked` (TALLIED,) counts
    queries, and `stored` (1,) all of them.
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
    seen_uid: npt.NDArray[np.int64]
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


def asking(sketches: Sketches, account: npt.NDArray[np.uint64]) -> Asking:
    """Return the columns of sketches that the kernels read."""
    return Asking(
        z=np.ascontiguousarray(sketches.z, np.int16),
        c=np.ascontiguousarray(sketches.c, np.uint8),
        total=np.ascontiguousarray(sketches.total, np.uint32),
        weighed=np.ascontiguousarray(sketches.weighed, np.uint32),
        content=np.ascontiguousarray(sketches.content, np.uint64),
        label=np.ascontiguousarray(sketches.label, np.int32),
        account=account,
    )


def empty(cells: int, entries: int) -> Entries:
    """Return a store without queries, of at least two entries behind each cell."""
    length = max(entries // cells, 2)
    n = cells * length
    return Entries(
        z=np.zeros((cells, COORDINATES, length), np.int16),
        c=np.zeros((n, SAMPLED), np.uint8),
        total=np.zeros(n, np.uint32),
        weighed=np.zeros(n, np.uint32),
        label=np.zeros(n, np.int32),
        depth=np.zeros(n, np.uint8),
        mark=np.zeros(n, np.uint8),
        uid=np.zeros(n, np.int64),
        cluster=np.zeros(n, np.int64),
        account=np.zeros(n, np.uint64),
        size=np.zeros(n, np.int32),
        value=np.full(n, -1, np.int32),
        probes=np.zeros(n, np.uint8),
        twins=np.zeros(n, np.uint8),
        filled=np.zeros(cells, np.int64),
        seen=np.zeros(CONTENTS, np.uint64),
        seen_place=np.zeros(CONTENTS, np.int32),
        seen_uid=np.zeros(CONTENTS, np.int64),
        asked=np.zeros(TALLIED, np.uint16),
        stored=np.zeros(1, np.int64),
    )


class Near(NamedTuple):
    """Scratch of a search: the nearest cells, and the nearest entries with their squared distances, nearest first."""

    cells: npt.NDArray[np.int64]
    away: npt.NDArray[np.float32]
    squares: npt.NDArray[np.float32]
    place: npt.NDArray[np.int64]
    square: npt.NDArray[np.float32]


def near_for(entries: Entries) -> Near:
    """Return scratch arrays for a store."""
    cells, _, length = entries.z.shape
    return Near(
        cells=np.zeros(min(PROBED, cells), np.int64),
        away=np.zeros(cells, np.float32),
        squares=np.zeros(length, np.float32),
        place=np.zeros(NEAREST, np.int64),
        square=np.zeros(NEAREST, np.float32),
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
def nearest_cells(landmarks, z, near):
    """Write the nearest cells of a query into `near.cells`, nearest first; `landmarks` (coordinates, cells)."""
    near.away[:] = 0.0
    for k in range(z.shape[0]):
        q = np.float32(z[k])
        for m in range(near.away.shape[0]):
            d = landmarks[k, m] - q
            near.away[m] += d * d
    for p in range(near.cells.shape[0]):
        best = 0
        for m in range(1, near.away.shape[0]):
            if near.away[m] < near.away[best]:
                best = m
        near.cells[p] = best
        near.away[best] = FAR


@part
def nearest_entries(entries, z, near):
    """Write the entries nearest to a query into `near`, nearest first; return how many there are."""
    length = entries.z.shape[2]
    found = 0
    most = near.place.shape[0]
    for p in range(near.cells.shape[0]):
        cell = near.cells[p]
        held = min(entries.filled[cell], length)
        near.squares[:held] = 0.0
        for k in range(z.shape[0]):
            q = np.float32(z[k])
            for j in range(held):
                d = np.float32(entries.z[cell, k, j]) - q
                near.squares[j] += d * d
        limit = near.square[most - 1] if found == most else FAR
        for j in range(held):
            square = near.squares[j]
            if square >= limit:
                continue
            i = min(found, most - 1)
            while i > 0 and near.square[i - 1] > square:
                near.square[i] = near.square[i - 1]
                near.place[i] = near.place[i - 1]
                i -= 1
            near.square[i] = square
            near.place[i] = cell * length + j
            found = min(found + 1, most)
            if found == most:
                limit = near.square[most - 1]
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
