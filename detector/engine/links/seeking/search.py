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
from detector.engine.links.seeking.steps import keep_ways, lead_from, stepped_from
from detector.engine.links.seeking.store import (
    CONTENTS,
    FROM_YOUNG,
    HIT,
    TALLIED,
    YOUNG,
    gather,
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
    """Scratch for one query: `gathered` (n, width) are the nearest entries; for `lead` and `bins` see `steps.lead_from`."""

    query: npt.NDArray[np.float32]
    gathered: npt.NDArray[np.float32]
    others: npt.NDArray[np.float32]
    delta: npt.NDArray[np.float32]
    places: npt.NDArray[np.int64]
    lead: npt.NDArray[np.int64]
    bins: npt.NDArray[np.int64]


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


def room_for(measured: int, width: int = COORDINATES) -> Room:
    """Return scratch arrays; `measured` sampled values are numbers, and the store keeps `width` coordinates."""
    return Room(
        query=np.zeros(width, np.float32),
        gathered=np.zeros((RECORDS_PAIRED, width), np.float32),
        others=np.zeros((RECORDS_PAIRED, width), np.float32),
        delta=np.zeros(measured, np.float32),
        places=np.zeros(RECORDS_PAIRED, np.int64),
        lead=np.zeros(RECORDS_PAIRED, np.int64),
        bins=np.zeros((RECORDS_PAIRED, 4), np.int64),
    )


@part
def is_repeat(entries, asked, i, place, table, whole):
    """Tell whether the query `i` is that at a place, whose coordinates are equal; for `whole` see `note`."""
    if table:
        return entries.total[place] == np.uint32(whole) and entries.weighed[place] == np.uint32(whole >> np.uint64(32))
    same = entries.total[place] == asked.total[i] and entries.weighed[place] == asked.weighed[i]
    for j in range(asked.c.shape[1]):
        same = same and entries.c[place, j] == asked.c[i, j]
    return same


@part
def chain_to(links, i, entries, place):
    """Note that the query `i` is chained to the entry at a place; return the number of the chain."""
    links.near[i, 0] = np.uint64(entries.uid[place])
    links.near[i, 1] = owner(entries.mark, entries.account, place)
    return entries.cluster[place]


@part
def note_made(made, i, entries, place):
    """Note in `made`, an array of `Links`, that the query `i` was made from the entry at a place."""
    entries.mark[place] |= HIT
    made[i, 0] = np.uint64(entries.uid[place])
    made[i, 1] = owner(entries.mark, entries.account, place)
    made[i, 2] = np.uint64(entries.cluster[place])


@part
def record_halving(entries, query, places, rows, uid, scales, population):
    """Return what `record_depth` does of a query and the entries at some places, whose coordinates are `rows`."""
    return record_depth(
        query,
        places,
        rows,
        entries.label,
        entries.label,  # for margins: two answers are told apart by their labels alone
        entries.uid,
        entries.depth,
        np.int64(uid),
        scales.numbers,
        population.level,
    )


@part
def mirrored_halving(values, entries, z, near, room, grid, uid, scales, population):
    """Return the same of two records that are looked up, and the nearest entries beside them."""
    depth = 0
    one, other = mirrored_ends(values, entries, z, near, grid)
    if one >= 0:
        places = room.places[: near.shape[0]]
        for j in range(near.shape[0]):
            places[j] = near[j - 2] if j > 1 else (other if j else one)
        gather(entries.z, places, room.others)
        depth, one, other = record_halving(entries, room.query, places, room.others[: near.shape[0]], uid, scales, population)
    return depth, one, other


@part
def moved_alone(chains, entries, links, i, z, seed, scales, population):
    """Compare a record with those that differ from it in one column, and note it in their places.

    Returns (kind, place, cluster): its event, NOTHING without one, the record that it was made from, and the chain of the
    latest such record, 0 where there is none.
    """
    whole = whole_hash(z, seed)
    kind = NOTHING
    one = np.int64(-1)
    cluster = np.int64(0)
    latest = np.int64(0)
    for column in range(scales.numbers):
        at, check = place_without(whole, z, column, seed)
        place = np.int64(chains.place[at])
        if chains.check[at] != check or np.uint32(entries.uid[place]) != chains.uid[at]:
            chains.check[at] = check
            chains.first[at] = z[column]
            chains.latest[at] = z[column]
            chains.step[at] = 0
            chains.depth[at] = 0
            continue
        step = np.int32(z[column]) - np.int32(chains.latest[at])
        if step == 0:
            continue
        if entries.uid[place] > latest:
            latest = entries.uid[place]
            cluster = chain_to(links, i, entries, place)
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
            kind, one = strong, place
        chains.step[at] = step
        chains.latest[at] = z[column]
    return kind, one, cluster


@part
def keep_chains(chains, z, home, uid, numbers, seed):
    """Note where the record `uid` lies with the chains of those that differ from it in one column."""
    whole = whole_hash(z, seed)
    for column in range(numbers):
        at, check = place_without(whole, z, column, seed)
        if chains.check[at] == check:
            chains.place[at] = home
            chains.uid[at] = np.uint32(uid)


@part
def keep(entries, asked, i, home, table, whole):
    """Keep the query `i` behind a cell, in the place of an older one; return its place.

    `whole` is a hash of the sampled values, which is kept instead of them where inputs are records.
    """
    length = entries.z.shape[2]
    within = place_for(entries.mark, entries.filled, home, length)
    at = home * length + within
    for k in range(asked.z.shape[1]):
        entries.z[home, k, within] = asked.z[i, k]
    if table:
        entries.total[at] = np.uint32(whole)
        entries.weighed[at] = np.uint32(whole >> np.uint64(32))
    else:
        for j in range(asked.c.shape[1]):
            entries.c[at, j] = asked.c[i, j]
        entries.total[at] = asked.total[i]
        entries.weighed[at] = asked.weighed[i]
        entries.value[at] = -1
        entries.probes[at] = 0
        entries.twins[at] = 0
    entries.label[at] = asked.label[i]
    entries.account[at] = asked.account[i]
    return at


@kernel
def seek(entries, chains, steps, values, asked, landmarks, scales, population, near, room, seed, links):
    """Compare each query with the store in stream order, then keep it; fills `links`."""
    entries, chains, steps, values = borrowed(entries), borrowed(chains), borrowed(steps), borrowed(values)
    asked = borrowed(asked)
    population, near, room, links = borrowed(population), borrowed(near), borrowed(room), borrowed(links)
    sphere = population.origin.shape[0] > 0
    grid = Grid(fine_columns(population.variance, population.level, scales.numbers), scales.numbers, population.level, seed)
    fine = scales.table and grid.columns.shape[0] > 1
    for i in range(asked.z.shape[0]):
        content = asked.content[i]
        slot = np.int64(content >> np.uint64(48)) % CONTENTS
        if entries.seen[slot] == content:
            links.repeat[i] = True
            place = np.int64(entries.seen_place[slot])
            if np.uint32(entries.uid[place]) == entries.seen_uid[slot]:
                share(entries, place, asked.account[i])
            continue
        entries.seen[slot] = content
        entries.seen_uid[slot] = 0
        z, c = asked.z[i], asked.c[i]
        whole = whole_hash(c.view(np.int64), seed) if scales.table else np.uint64(0)
        nearest_cells(landmarks, z, near)
        found = nearest_entries(entries, z, near)
        if found > 0 and near.square[0] == 0.0 and is_repeat(entries, asked, i, near.place[0], scales.table, whole):
            links.repeat[i] = True
            share(entries, near.place[0], asked.account[i])
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
        few = min(found, RECORDS_PAIRED)
        for k in range(z.shape[0]):
            room.query[k] = np.float32(z[k])
        if found > 0 and np.sqrt(near.square[0]) * scales.unit < CHAIN:
            cluster = chain_to(links, i, entries, near.place[0])
        if scales.table:
            nearest = near.place[:few]
            if found > 0:
                rows = room.gathered[:few]
                gather(entries.z, nearest, rows)
                depth, one, other = record_halving(entries, room.query, nearest, rows, uid, scales, population)
                if fine:
                    lead_from(z, rows, grid.columns, grid.level, room.lead[:few], room.bins)
                    if depth == 0:
                        depth, one, other = mirrored_halving(values, entries, z, nearest, room, grid, uid, scales, population)
                if depth > 0:
                    kind = LINE if depth >= STRONG_DEPTH else MIDDLE
                    if fine:
                        keep_end(values, entries, one, other, uid)
                if scales.dimension > scales.numbers:
                    halved, way, latest, second = hidden_halving(entries, z, nearest, rows, scales.numbers, population.level)
                    if latest >= 0:
                        cluster = chain_to(links, i, entries, latest)
                    if halved > depth:
                        depth = halved
                        if halved >= STRONG_DEPTH:
                            kind, one, other = HALVED, latest, second
                if fine and kind not in (LINE, HALVED):
                    family, parent, kin = stepped_from(steps, values, entries, z, nearest, room, grid, uid)
                    if parent >= 0:
                        kind, one, other = STEP, parent, kin
            alone, latest, chained = moved_alone(chains, entries, links, i, z, seed, scales, population)
            if chained > 0:
                cluster = chained
            if alone != NOTHING:
                kind, one, other = alone, latest, np.int64(-1)
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
        if one >= 0:
            note_made(links.one, i, entries, one)
        if other >= 0:
            note_made(links.other, i, entries, other)
        links.kind[i] = kind
        links.uid[i] = uid
        links.cluster[i] = cluster
        at = keep(entries, asked, i, near.cells[0], scales.table, whole)
        entries.depth[at] = depth
        entries.mark[at] = FROM_YOUNG if entries.asked[tally] <= YOUNG else 0
        entries.uid[at] = uid
        entries.cluster[at] = cluster
        entries.size[at] = way
        if scales.table:
            keep_chains(chains, z, at, uid, scales.numbers, seed)
        if fine:
            if family >= 0:
                steps.place[family] = at
            keep_ways(steps, near.place[:few], room, at, grid)
            keep_values(values, z, at, grid)
        entries.seen_place[slot] = at
        entries.seen_uid[slot] = np.uint32(uid)
