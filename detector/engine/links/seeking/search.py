"""Search: the compiled pass over new queries that finds what each was made from, and keeps it in the store.

Nothing that is done with the events comes back into this pass, so its results are the same however the stream is cut.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.evidence.bisect import record_depth
from detector.engine.kernels import kernel, part
from detector.engine.links.seeking.pairs import RECORDS_PAIRED, halving_of, offset_from, single_from
from detector.engine.links.seeking.records import hidden_halving, is_as_long, is_halved, is_mirrored, place_without, whole_hash
from detector.engine.links.seeking.steps import keep_ways, stepped_from
from detector.engine.links.seeking.store import (
    CONTENTS,
    FROM_YOUNG,
    HIT,
    TALLIED,
    YOUNG,
    nearest_cells,
    nearest_entries,
    owner,
    place_for,
    share,
)
from detector.engine.links.seeking.values import Grid, fine_columns, keep_end, keep_values, mirrored_ends
from detector.engine.memory.borrowed import borrowed
from detector.engine.memory.reservoir import COORDINATES

NOTHING, OFFSET, SINGLE, BISECT, SHALLOW, HALVED, MIRRORED, LINE, NEIGHBOUR, MIDDLE, STEP = range(11)
KINDS = 11
STRONG_DEPTH = 3  # halvings from which a bisection joins accounts
CHAIN = 0.3  # radius of a chain of near queries, in median nearest-neighbour distances


class Links(NamedTuple):
    """What the pass finds, n of each: `kind` of the event, NOTHING without one, and `repeat`, True for what was asked before.

    `uid` and `cluster` are the query's own. `one` and `other` (n, 3) are number, account and cluster of the queries that it was
    made from, 0 where there is none, and `near` (n, 2) number and account of that which it is chained to.
    `size` is how far an offset moves values, in value ranges, 0 for other events.
    """

    kind: npt.NDArray[np.uint8]
    repeat: npt.NDArray[np.bool_]
    uid: npt.NDArray[np.int64]
    cluster: npt.NDArray[np.int64]
    one: npt.NDArray[np.uint64]
    other: npt.NDArray[np.uint64]
    near: npt.NDArray[np.uint64]
    size: npt.NDArray[np.float32]


class Room(NamedTuple):
    """Scratch arrays for one query."""

    query: npt.NDArray[np.float32]
    gathered: npt.NDArray[np.float32]
    delta: npt.NDArray[np.float32]
    places: npt.NDArray[np.int64]


def links_for(n: int) -> Links:
    """Return results for n queries, without any event."""
    return Links(
        np.zeros(n, np.uint8),
        np.zeros(n, np.bool_),
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
        np.zeros((n, 3), np.uint64),
        np.zeros((n, 3), np.uint64),
        np.zeros((n, 2), np.uint64),
        np.zeros(n, np.float32),
    )


def room_for(measured: int) -> Room:
    """Return scratch arrays; `measured` sampled values are numbers."""
    return Room(
        np.zeros(COORDINATES, np.float32),
        np.zeros((RECORDS_PAIRED, COORDINATES), np.float32),
        np.zeros(measured, np.float32),
        np.zeros(RECORDS_PAIRED, np.int64),
    )


@part
def record_halving(entries, room, places, uid, scales, population):
    """Return what `record_depth` does of the query in `room` and the entries at some places."""
    length = entries.z.shape[2]
    for j in range(places.shape[0]):
        for k in range(room.query.shape[0]):
            room.gathered[j, k] = np.float32(entries.z[places[j] // length, k, places[j] % length])
    return record_depth(
        room.query,
        places,
        room.gathered,
        entries.label,
        entries.label,  # for margins: two answers are told apart by their labels alone
        entries.uid,
        entries.depth,
        np.int64(uid),
        scales.numbers,
        population.level,
    )


@kernel
def seek(entries, chains, steps, values, asked, landmarks, scales, population, near, room, seed, links):
    """Compare each query with the store in stream order, then keep it; fills `links`."""
    entries, chains, steps, values = borrowed(entries), borrowed(chains), borrowed(steps), borrowed(values)
    asked = borrowed(asked)
    population, near, room, links = borrowed(population), borrowed(near), borrowed(room), borrowed(links)
    length = entries.z.shape[2]
    sphere = population.origin.shape[0] > 0
    grid = Grid(fine_columns(population.variance, population.level, scales.numbers), scales.numbers, population.level, seed)
    fine = scales.table and grid.columns.shape[0] > 1
    for i in range(asked.z.shape[0]):
        content = asked.content[i]
        slot = np.int64(content >> np.uint64(48)) % CONTENTS
        if entries.seen[slot] == content:
            links.repeat[i] = True
            place = np.int64(entries.seen_place[slot])
            if entries.uid[place] == entries.seen_uid[slot]:
                share(entries, place, asked.account[i])
            continue
        entries.seen[slot] = content
        entries.seen_uid[slot] = 0
        z, c = asked.z[i], asked.c[i]
        nearest_cells(landmarks, z, near)
        found = nearest_entries(entries, z, near)
        if found > 0 and near.square[0] == 0.0:
            place = near.place[0]
            same = entries.total[place] == asked.total[i] and entries.weighed[place] == asked.weighed[i]
            for j in range(c.shape[0]):
                same = same and entries.c[place, j] == c[j]
            if same:
                links.repeat[i] = True
                share(entries, place, asked.account[i])
                continue
        tally = np.int64(asked.account[i] % np.uint64(TALLIED))
        entries.asked[tally] = min(np.int64(entries.asked[tally]) + 1, 65535)
        entries.stored[0] += 1
        uid = entries.stored[0]
        cluster = uid
        kind = NOTHING
        depth = 0
        way = 0
        one = np.int64(-1)
        other = np.int64(-1)
        family = np.int64(-1)
        whole = np.uint64(0)
        for k in range(z.shape[0]):
            room.query[k] = np.float32(z[k])
        if scales.table:
            if found > 0:
                few = min(found, RECORDS_PAIRED)
                if np.sqrt(near.square[0]) * scales.unit < CHAIN:
                    place = near.place[0]
                    cluster = entries.cluster[place]
                    links.near[i, 0] = np.uint64(entries.uid[place])
                    links.near[i, 1] = owner(entries.mark, entries.account, place)
                depth, one, other = record_halving(entries, room, near.place[:few], uid, scales, population)
                if depth == 0 and fine:
                    first, second = mirrored_ends(values, entries, z, near.place[:few], grid)
                    if first >= 0:
                        for j in range(few):
                            room.places[j] = near.place[j - 2] if j > 1 else (second if j else first)
                        depth, one, other = record_halving(entries, room, room.places[:few], uid, scales, population)
                if depth > 0:
                    kind = LINE if depth >= STRONG_DEPTH else MIDDLE
                    if fine:
                        keep_end(values, entries, one, other, uid)
                if scales.dimension > scales.numbers:
                    halved, way, latest, second = hidden_halving(entries, z, near.place[:few], scales.numbers, population.level)
                    if latest >= 0:
                        cluster = entries.cluster[latest]
                        links.near[i, 0] = np.uint64(entries.uid[latest])
                        links.near[i, 1] = owner(entries.mark, entries.account, latest)
                    if halved > depth:
                        depth = halved
                        if halved >= STRONG_DEPTH:
                            kind, one, other = HALVED, latest, second
                if fine and kind not in (LINE, HALVED):
                    family, parent, kin = stepped_from(steps, values, entries, z, near.place[:few], grid, uid)
                    if parent >= 0:
                        kind, one, other = STEP, parent, kin
            whole = whole_hash(z, seed)
            latest = np.int64(0)
            for column in range(scales.numbers):
                at, check = place_without(whole, z, column, seed)
                step = np.int32(z[column]) - np.int32(chains.latest[at])
                place = np.int64(chains.place[at])
                known = chains.check[at] == check and entries.uid[place] == chains.uid[at]
                if known and step != 0:
                    if chains.uid[at] > latest:
                        latest = chains.uid[at]
                        cluster = entries.cluster[place]
                        links.near[i, 0] = np.uint64(chains.uid[at])
                        links.near[i, 1] = owner(entries.mark, entries.account, place)
                    deviation = np.sqrt(np.float64(population.variance[column]))
                    strong = NOTHING
                    if is_mirrored(chains, at, z[column], population.level[column], deviation) and is_as_long(
                        chains, at, z[column], column
                    ):
                        strong = MIRRORED
                    if is_halved(chains, at, step, population.level[column]):
                        chains.depth[at] = min(chains.depth[at] + 1, 250)
                        if chains.depth[at] >= STRONG_DEPTH:
                            strong = HALVED
                    else:
                        chains.depth[at] = 0
                    if strong != NOTHING:
                        kind = strong
                        one, other = place, np.int64(-1)
                    chains.step[at] = step
                    chains.latest[at] = z[column]
                elif not known:
                    chains.check[at] = check
                    chains.first[at] = z[column]
                    chains.latest[at] = z[column]
                    chains.step[at] = 0
                    chains.depth[at] = 0
        elif found > 0:
            single = single_from(entries, c, asked.total[i], asked.weighed[i], near, found, population.keys, scales)
            depth, one, other = halving_of(entries, room.query, c, near, found, scales, population, room.gathered)
            flat = offset_from(entries, c, near, found, sphere, scales, room.delta)
            if depth > 0:
                kind = BISECT if depth >= STRONG_DEPTH else SHALLOW
            if single >= 0 and kind != BISECT:
                kind, one, other = SINGLE, near.place[single], np.int64(-1)
            if flat >= 0 and kind != BISECT:
                kind, one, other = OFFSET, near.place[flat], np.int64(-1)
                links.size[i] = np.abs(room.delta).max()
            if np.sqrt(near.square[0]) * scales.unit < CHAIN:
                place = near.place[0]
                cluster = entries.cluster[place]
                links.near[i, 0] = np.uint64(entries.uid[place])
                links.near[i, 1] = owner(entries.mark, entries.account, place)
        if one >= 0:
            entries.mark[one] |= HIT
            links.one[i, 0] = np.uint64(entries.uid[one])
            links.one[i, 1] = owner(entries.mark, entries.account, one)
            links.one[i, 2] = np.uint64(entries.cluster[one])
        if other >= 0:
            entries.mark[other] |= HIT
            links.other[i, 0] = np.uint64(entries.uid[other])
            links.other[i, 1] = owner(entries.mark, entries.account, other)
            links.other[i, 2] = np.uint64(entries.cluster[other])
        links.kind[i] = kind
        links.uid[i] = uid
        links.cluster[i] = cluster
        home = near.cells[0]
        at = home * length + place_for(entries.mark, entries.filled, home, length)
        for k in range(z.shape[0]):
            entries.z[home, k, at - home * length] = z[k]
        for j in range(c.shape[0]):
            entries.c[at, j] = c[j]
        entries.total[at] = asked.total[i]
        entries.weighed[at] = asked.weighed[i]
        entries.label[at] = asked.label[i]
        entries.depth[at] = depth
        entries.mark[at] = FROM_YOUNG if entries.asked[tally] <= YOUNG else 0
        entries.uid[at] = uid
        entries.cluster[at] = cluster
        entries.account[at] = asked.account[i]
        entries.size[at] = way
        entries.value[at] = -1
        entries.probes[at] = 0
        entries.twins[at] = 0
        if scales.table:
            for column in range(scales.numbers):
                behind, check = place_without(whole, z, column, seed)
                if chains.check[behind] == check:
                    chains.place[behind] = at
                    chains.uid[behind] = uid
        if fine:
            if family >= 0:
                steps.place[family] = at
            keep_ways(steps, entries, z, near.place[: min(found, RECORDS_PAIRED)], at, grid)
            keep_values(values, z, at, grid)
        entries.seen_place[slot] = at
        entries.seen_uid[slot] = uid
