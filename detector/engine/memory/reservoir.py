"""Reservoir: which earlier queries of a client are retained, and which of them are nearest to a new one.

The latest fresh queries lie in a ring. Of the queries that the ring displaced, a uniform sample is kept (reservoir sampling,
Vitter, 1985). Queries that later ones came back to take precedence, since a thief under cover traffic returns to them, and
natural queries among thousands seldom do: most of all those that a later one looks made from, then those that were repeated but
for a value or two. One of lower rank, of a few places that are drawn, gives way. So cover displaces cover. The random choice
depends on a seed and a counter alone, so the same stream always retains the same queries.
"""

from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.columns import DISTANCES, RETAINED, Column, Lengths, columns_of
from detector.engine.evidence.interval import DEEPEST
from detector.engine.evidence.probe import SIZES
from detector.engine.evidence.step import margin_of
from detector.engine.features.coverage import LABELS
from detector.engine.features.distances import WINDOW
from detector.engine.kernels import kernel, part

COORDINATES = 24
SAMPLED = 48
CAPACITY = 64  # retained queries of a client: the ring and the sample together
TABLE_CAPACITY = 60  # of a client of a table, whose steps and earlier records take the room of the others
RING = 24
CHOICES = 4  # places of the sample that are drawn; the one with the lowest rank gives way
UNMARKED, RETURNED_TO, MADE_FROM = range(3)  # ranks: who gives way first
MOST_VISITED = 14  # about a third of the sample's places
LENGTHS: Lengths = {RETAINED: CAPACITY, DISTANCES: WINDOW}
NEIGHBOURS = 8
GROUPS = 8  # groups that the retained queries are searched in for the nearest ones
TAKEN = 1 << 62
ACCEPTED, USED, LABEL_TOLD, MISLED, OUTDATED, VISITED, LED = 1, 2, 4, 8, 16, 32, 64  # bits of `mark`
MARKS = ACCEPTED | USED | LABEL_TOLD | MISLED | OUTDATED | VISITED | LED
MARGIN_LEVELS = 256.0  # integer levels per unit of a retained margin; NO_MARGIN stands for no margin
NO_MARGIN = -32768


class Memory(NamedTuple):
    """Per client: its retained queries, and the distances found so far.

    Of each retained query: `z` and `c` are its projected and its sampled integers, and `label` is its answer. `order` is how
    many queries were retained before it. `depth` is how often an interval was halved on the way to it (see `bisect`). `mark`
    says whether PRADA accepted it (`ACCEPTED`), whether a later query was constructed from it (`USED`), what the client was
    told where the answer was perturbed, the label alone (`LABEL_TOLD`) or another label (`MISLED`), whether an older
    version of the model answered (`OUTDATED`), whether a later one moved a value or two (`VISITED`), and whether it is an end
    of a step to which a way from one record to another led, or halves one (`LED`). `margin` is that of
    its answer, in `MARGIN_LEVELS`. `counts` are how often its cluster was counted by the channels `dwell` and `foreign`, how
    often it was the nearest one, and how many turns its cluster has (see `turns`); `evidence.counts` packs them.

    Of the client: `stored` queries were ever retained, `held` of them still are, and the latest is at `newest`. `values` and
    `sizes` are its last sparse steps, `sized` their number, modulo 256 (see `probe`). `bets` is the product of its bets on
    lines, and `ways` how often it went on there (see `steer`). `window` are the latest distances, `window_count` their number.
    `class_count`, `class_sum`, `class_square` and `class_bar` are PRADA's statistics of the growing set of a
    label: the number of accepted distances, their sum and sum of squares, and the threshold that a distance must pass to be
    accepted (published as T; it never falls).
    """

    z: Annotated[npt.NDArray[np.int16], Column(COORDINATES, RETAINED)]
    c: Annotated[npt.NDArray[np.uint8], Column(RETAINED, SAMPLED)]
    label: Annotated[npt.NDArray[np.int32], Column(RETAINED)]
    order: Annotated[npt.NDArray[np.uint32], Column(RETAINED)]
    depth: Annotated[npt.NDArray[np.uint8], Column(RETAINED, within=(0, DEEPEST))]
    mark: Annotated[npt.NDArray[np.uint8], Column(RETAINED, within=(0, MARKS))]
    margin: Annotated[npt.NDArray[np.int16], Column(RETAINED)]
    counts: Annotated[npt.NDArray[np.uint16], Column(RETAINED)]
    held: Annotated[npt.NDArray[np.uint16], Column()]
    stored: Annotated[npt.NDArray[np.uint32], Column()]
    newest: Annotated[npt.NDArray[np.uint16], Column()]
    values: Annotated[npt.NDArray[np.uint8], Column(SIZES)]
    sizes: Annotated[npt.NDArray[np.uint8], Column(SIZES)]
    sized: Annotated[npt.NDArray[np.uint8], Column()]
    bets: Annotated[npt.NDArray[np.uint16], Column()]
    ways: Annotated[npt.NDArray[np.uint8], Column()]
    window: Annotated[npt.NDArray[np.float32], Column(DISTANCES)]
    window_count: Annotated[npt.NDArray[np.uint32], Column()]
    near: Annotated[npt.NDArray[np.uint32], Column()]
    repeats: Annotated[npt.NDArray[np.uint32], Column()]
    step_mean: Annotated[npt.NDArray[np.float32], Column()]
    structure: Annotated[npt.NDArray[np.float32], Column()]
    structure_count: Annotated[npt.NDArray[np.uint32], Column()]
    class_count: Annotated[npt.NDArray[np.uint32], Column(LABELS)]
    class_sum: Annotated[npt.NDArray[np.float64], Column(LABELS)]
    class_square: Annotated[npt.NDArray[np.float64], Column(LABELS)]
    class_bar: Annotated[npt.NDArray[np.float32], Column(LABELS)]


class Past(NamedTuple):
    """One client's retained queries, and the distances of the new query to them.

    The first fields are the client's rows of the columns of `Memory` that have a place for each retained query. `held` of the
    places are filled, `stored` queries were ever retained, and the latest is at `newest`. `squares` (places,) are the squared
    distances of the new query in the memory's integers. `near` (n,) are the places of the nearest ones, nearest first.
    """

    z: npt.NDArray[np.int16]
    c: npt.NDArray[np.uint8]
    label: npt.NDArray[np.int32]
    order: npt.NDArray[np.uint32]
    depth: npt.NDArray[np.uint8]
    mark: npt.NDArray[np.uint8]
    margin: npt.NDArray[np.int16]
    counts: npt.NDArray[np.uint16]
    held: np.int64
    stored: np.uint32
    newest: np.int64
    squares: npt.NDArray[np.float32]
    near: npt.NDArray[np.int64]


_RETAINED = tuple(name for name, (_, column) in columns_of(Memory).items() if column.retained_axis is not None)
if Past._fields[: len(_RETAINED)] != _RETAINED:
    raise TypeError(f"Past must begin with the columns of retained queries: {_RETAINED}")


@kernel
def mix(seed, counter):
    """Return 64 pseudo-random bits that depend on `seed` and `counter` alone (splitmix64, Steele et al., OOPSLA 2014)."""
    x = np.uint64(seed) + np.uint64(counter) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@kernel
def mix_all(seed, counters, mixed):
    """Write the bits of each of n counters to `mixed` (n,)."""
    for i in range(mixed.shape[0]):
        mixed[i] = mix(seed, counters[i])


@kernel
def rank_of(mark):
    """Return the rank of a retained query with this mark."""
    if mark & USED:
        return MADE_FROM
    return RETURNED_TO if mark & VISITED else UNMARKED


@kernel
def choose_place(mark, stored, seed, ring):
    """Return (at, to): the place for the next query, and the place to which the query at `at` moves.

    `to` is -1 where `at` is free or its query is forgotten. `mark` (places,) is the client's column. `stored` queries were
    retained before, and the latest `ring` of them are in the ring. Of equal ranks a uniform sample is kept, but for those that
    a later query was made from: the later of them stays.
    """
    at = stored % ring
    if stored < ring:
        return at, -1
    displaced = stored - ring
    room = mark.shape[0] - ring
    if displaced < room:
        return at, ring + displaced
    rank = rank_of(mark[at])
    bits = mix(seed, stored)
    draw = np.int64(bits % np.uint64(displaced + 1))
    if draw >= room and rank == UNMARKED:
        return at, -1
    to = ring + draw % room
    for choice in range(1, CHOICES):
        other = ring + np.int64((bits >> np.uint64(16 * choice)) % np.uint64(room))
        if rank_of(mark[other]) < rank_of(mark[to]):
            to = other
    lowest = rank_of(mark[to])
    if lowest < rank or (lowest == rank and (draw < room or rank == MADE_FROM)):
        return at, to
    return at, -1


@part
def visit(past, place):
    """Mark a retained query as visited by one that moves a value or two, and tell whether it was before.

    Only `MOST_VISITED` are marked at a time: beyond that the earliest one loses its mark, and gives way like cover.
    """
    before = past.mark[place] & VISITED != 0
    if not before:
        visited = 0
        earliest = place
        for m in range(past.held):
            if past.mark[m] & VISITED:
                visited += 1
                if earliest == place or past.order[m] < past.order[earliest]:
                    earliest = m
        if visited >= MOST_VISITED:
            past.mark[earliest] &= MARKS - VISITED
        past.mark[place] |= VISITED
    return before


@part
def move(past, at, to):
    """Copy a retained query from one place to another."""
    for k in range(past.z.shape[0]):
        past.z[k, to] = past.z[k, at]
    for j in range(past.c.shape[1]):
        past.c[to, j] = past.c[at, j]
    past.label[to] = past.label[at]
    past.order[to] = past.order[at]
    past.depth[to] = past.depth[at]
    past.mark[to] = past.mark[at]
    past.margin[to] = past.margin[at]
    past.counts[to] = past.counts[at]


@kernel
def rounded_margin(margin):
    """Return the margin of an answer as it is retained: in levels, `NO_MARGIN` without probabilities."""
    return np.int16(NO_MARGIN) if np.isnan(margin) else np.int16(min(np.rint(margin * MARGIN_LEVELS), 32767.0))


@kernel
def round_margins(confidence, runner_up, margins):
    """Write to `margins` (n,) how the margins of n answers are retained."""
    for i in range(margins.shape[0]):
        margins[i] = rounded_margin(margin_of(confidence[i], runner_up[i]))


@part
def retain(past, at, asked, depth, counts, accepted, told):
    """Write the new query to a place; `told` are the bits of its mark that say what the client was told."""
    for k in range(past.z.shape[0]):
        past.z[k, at] = asked.z[k]
    for j in range(past.c.shape[1]):
        past.c[at, j] = asked.c[j]
    past.label[at] = asked.label
    past.order[at] = past.stored
    past.depth[at] = depth
    past.mark[at] = np.uint8(ACCEPTED | told) if accepted else told
    past.margin[at] = rounded_margin(asked.margin)
    past.counts[at] = counts


@kernel
def squared_distances(z, held, reduced, query, squares):
    """Write the squared distances of a query to the retained ones into `squares`, and its coordinates into `query`.

    `z` (coordinates, places) are the retained queries, whose first `held` places are filled; `reduced` (coordinates,) is the
    new query.
    """
    squares[:] = 0.0
    for k in range(reduced.shape[0]):
        q = np.float32(reduced[k])
        query[k] = q
        for m in range(held):
            d = np.float32(z[k, m]) - q
            squares[m] += d * d


@part
def nearest_accepted(past, label, unit):
    """Return the distance to the nearest retained query of this label that PRADA accepted; NaN where there is none.

    `unit` is one step of the memory's integers in median nearest-neighbour distances.
    """
    smallest = np.float32(np.inf)
    for m in range(past.held):
        member = past.label[m] == label and (past.mark[m] & ACCEPTED) != 0
        if member and past.squares[m] < smallest:
            smallest = past.squares[m]
    return np.float32(np.sqrt(smallest) * unit) if smallest < np.inf else np.float32(np.nan)


@kernel
def choose_nearest(bits, held, keys, lowest, best):
    """Write the places of the nearest retained queries into `best`, nearest first, ties by place; return how many there are.

    `bits` are the bits of the squared distances read as integers; the order is the same, because no distance is negative. A key
    is made of a distance and, in the lowest bits, its place. Every eighth key belongs to one group, and `lowest` holds the
    least key of each of the eight groups. So the next nearest is the least of eight, and then only its group is searched again.
    No branch depends on the data.
    """
    for m in range(held):
        keys[m] = np.int64(bits[m]) << 16 | m
    for group in range(GROUPS):
        least = TAKEN
        for m in range(group, held, GROUPS):
            least = min(least, keys[m])
        lowest[group] = least
    found = min(held, NEIGHBOURS)
    for j in range(found):
        least = lowest[0]
        for group in range(1, GROUPS):
            least = min(least, lowest[group])
        nearest = least & 0xFFFF
        best[j] = nearest
        keys[nearest] = TAKEN
        least = TAKEN
        for m in range(nearest % GROUPS, held, GROUPS):
            least = min(least, keys[m])
        lowest[nearest % GROUPS] = least
    return found
