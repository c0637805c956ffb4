"""Memory: a bounded sample of a client's earlier queries, and the comparison of each new query with them.

Distances, near duplicates and the evidence of construction all compare a query with the client's earlier ones, so they share
one memory. It retains the latest fresh queries in a ring and a uniform sample of those before (see `reservoir`). An exact
repeat is neither retained nor scored; otherwise a client that retries would collect evidence against itself.

A retained query has two views of its input. `z` are 16-bit coordinates after projection, which keeps distances. `c` are raw
values in 8 bits, sampled by a secret seed, since projection does not keep the flatness of a step. With integers every distance
is the same on every machine, and the difference of near duplicates is exact; computed from norms in 32-bit floats it would be
lost. Where the sample leaves values out, two checksums over all values show which value moved alone (see `checksums`).

Features, all distances in units of the population's median nearest-neighbour distance:

========================  =====================================================================================
`distance_mean`           mean of ln(minimum distance to the client's earlier queries of the same label), last 100
`distance_low` `_mid`     10%, 50% and 90% quantile of the same
`distance_high`
`normality`               Shapiro-Wilk W of the last 100 distances (PRADA; Juuti et al., EuroS&P 2019, section 5)
`near_duplicate_rate`     share of fresh queries closer than 0.3 to a retained query
`repeat_rate`             share of queries that repeat a retained one exactly
`step`                    running mean of ln(distance to the previous query)
`structure`               running mean of ln(how the difference of two of the client's queries spreads over the
                          sampled values, each in units of its variance in the population; see the channel
                          `foreign`); near 0 for the population, whatever the offset, gain or sign
========================  =====================================================================================

What they see: queries made from earlier ones, sweeps, synthetic neighbours. What innocent traffic does as well: video consists
of near duplicates, and a retrying client has the lowest W of all. So none of these features stops a client.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.evidence.accumulate import NOTHING
from detector.engine.evidence.counts import all_counts
from detector.engine.evidence.interval import GLANCE
from detector.engine.evidence.opposite import FEW
from detector.engine.evidence.probe import MOST_MOVED, moved_values
from detector.engine.evidence.registry import BISECT
from detector.engine.evidence.select import FIRST
from detector.engine.evidence.step import Asked, Step, margin_of, step_between
from detector.engine.features.distances import accept, describe_distances
from detector.engine.kernels import kernel, part
from detector.engine.memory.admission import FRESH
from detector.engine.memory.borrowed import borrowed
from detector.engine.memory.channels import (
    NEAR,
    judge_aim,
    judge_bisect,
    judge_block_probe,
    judge_children,
    judge_coarse,
    judge_dwell,
    judge_foreign,
    judge_offset,
    judge_record_probe,
    judge_select,
    judge_sens,
    judge_single,
    judge_sparse_probe,
    judge_steer,
    judge_turns,
    presume,
)
from detector.engine.memory.checksums import agree, retain_sums
from detector.engine.memory.kept import keep
from detector.engine.memory.metered import follow_version
from detector.engine.memory.reservoir import (
    GROUPS,
    LED,
    NEIGHBOURS,
    USED,
    Memory,
    Past,
    choose_nearest,
    choose_place,
    move,
    nearest_accepted,
    retain,
    squared_distances,
    visit,
)
from detector.engine.memory.single import no_single
from detector.engine.memory.structure import compare_structure, variances_of


class Queries(NamedTuple):
    """The queries of a batch as the memory sees them, in stream order; all but `seed` have n entries.

    `slot` is the client's row, and `seed` (clients,) the random number of each client. The reduced input is `z` (n,
    coordinates), its projection, `c` (n, samples), its sampled values, `sums` (n, 2), its checksums, and `energy`, its squared
    length. `landmark` is the logarithm of its distance to the nearest landmark, and `noise` its likelihood ratio of noise (see
    `evidence.noise`), 0 where noise is not told. `sums` has no rows where none are kept. `place` is
    the label's place in the client's table of labels. `told` are the bits of `Memory.mark` that say what the client was told,
    and `version` the number of the model's version (see `metered`).
    `evaluation` is the row of features that a scheduled evaluation fills, and `reading` the row of `Kept` that a reading of the
    odometer needs; -1 where there is none.
    """

    slot: npt.NDArray[np.int64]
    seed: npt.NDArray[np.uint64]
    verdict: npt.NDArray[np.uint8]
    z: npt.NDArray[np.int16]
    c: npt.NDArray[np.uint8]
    sums: npt.NDArray[np.uint32]
    energy: npt.NDArray[np.float32]
    landmark: npt.NDArray[np.float32]
    noise: npt.NDArray[np.float32]
    label: npt.NDArray[np.int32]
    place: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float32]
    runner_up: npt.NDArray[np.float32]
    told: npt.NDArray[np.uint8]
    version: npt.NDArray[np.uint16]
    evaluation: npt.NDArray[np.int64]
    reading: npt.NDArray[np.int64]


class Written(NamedTuple):
    """What `observe` writes, n entries each, but for `rows`.

    `repeat` marks exact repeats, `near` near duplicates, and `flip` near duplicates with another label. `distance` is the
    distance to the nearest accepted query of the same label, NaN for the first of a label. `ratio` (n, channels) are the
    likelihood ratios of construction. `rows` (evaluations, features) get the features of this family from `column` on.
    `crowded` marks further versions of what was counted twice (see the channel `foreign`).
    """

    repeat: npt.NDArray[np.bool_]
    near: npt.NDArray[np.bool_]
    flip: npt.NDArray[np.bool_]
    distance: npt.NDArray[np.float32]
    ratio: npt.NDArray[np.float32]
    rows: npt.NDArray[np.float64]
    column: int
    crowded: npt.NDArray[np.bool_]


class Scratch(NamedTuple):
    """Scratch arrays for one query at a time; nothing in them outlasts the query."""

    query: npt.NDArray[np.float32]
    squares: npt.NDArray[np.float32]
    keys: npt.NDArray[np.int64]
    lowest: npt.NDArray[np.int64]
    best: npt.NDArray[np.int64]
    gathered: npt.NDArray[np.float32]
    toward: npt.NDArray[np.float32]
    across: npt.NDArray[np.float32]
    delta: npt.NDArray[np.float32]
    other_delta: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    rounded: npt.NDArray[np.int32]
    products: npt.NDArray[np.float32]
    gaps: npt.NDArray[np.float64]
    ordered: npt.NDArray[np.float64]
    sorting: npt.NDArray[np.float64]
    along: npt.NDArray[np.float32]
    levels: npt.NDArray[np.uint8]


def scratch_for(memory: Memory, measured: int, directions: int) -> Scratch:
    """Return scratch arrays for this memory: `measured` of the sampled values are numbers, `directions` lead."""
    _, coordinates, capacity = memory.z.shape
    sampled, window = memory.c.shape[2], memory.window.shape[1]
    return Scratch(
        query=np.empty(coordinates, np.float32),
        squares=np.empty(capacity, np.float32),
        keys=np.empty(capacity, np.int64),
        lowest=np.empty(GROUPS, np.int64),
        best=np.empty(NEIGHBOURS, np.int64),
        gathered=np.empty((NEIGHBOURS, coordinates), np.float32),
        toward=np.empty((NEIGHBOURS, GLANCE), np.float32),
        across=np.empty((FEW, capacity), np.float32),
        delta=np.empty(measured, np.float32),
        other_delta=np.empty(measured, np.float32),
        weights=np.empty(coordinates + sampled, np.float32),
        rounded=np.empty(sampled, np.int32),
        products=np.empty(capacity, np.float32),
        gaps=np.empty(capacity, np.float64),
        ordered=np.empty(window, np.float64),
        sorting=np.empty(window, np.float64),
        along=np.empty(directions, np.float32),
        levels=np.empty((2, sampled), np.uint8),
    )


@part
def is_repeat(memory, checksums, s, queries, i, squares):
    """Tell whether query `i` of client `s` repeats a retained one: the same label, and the same input as far as retained.

    A model may give one input several labels. The query is a repeat if any retained query with that input has its label.
    """
    for m in range(memory.held[s]):
        if squares[m] == 0.0 and memory.label[s, m] == queries.label[i]:
            same = agree(checksums, s, m, queries.sums, i)
            for j in range(queries.c.shape[1]):
                same = same and memory.c[s, m, j] == queries.c[i, j]
            if same:
                return True
    return False


@part
def measure_step(asked, past, scales, delta):
    """Return the step from the nearest retained query; `delta` is filled with its moves of the sampled values."""
    place = past.near[0]
    reach = np.sqrt(past.squares[place])
    step_between(past.c[place], asked.c, scales.c_unit, delta)
    return Step(
        place,
        reach * scales.unit,
        reach * scales.quantum,
        past.label[place] != asked.label,
        delta,
        past.c[place, : scales.measured],
    )


@part
def follow(memory, s, past, structure, unit):
    """Update the client's running means: of the distance to its previous query, and of `structure` unless that is NaN."""
    length = max(np.sqrt(past.squares[past.newest]) * unit, 1e-3)
    memory.step_mean[s] += max(0.02, 1.0 / past.stored) * (np.log(length) - memory.step_mean[s])
    if not np.isnan(structure):
        n = memory.structure_count[s] + 1
        memory.structure_count[s] = n
        memory.structure[s] += max(0.02, 1.0 / n) * (structure - memory.structure[s])


@part
def note_distance(memory, s, place, distance):
    """Enter the distance to the nearest accepted query of the same label; return whether PRADA accepts the new query."""
    if not np.isnan(distance):
        memory.window[s, memory.window_count[s] % memory.window.shape[1]] = distance
        memory.window_count[s] += 1
    return accept(memory.class_count, memory.class_sum, memory.class_square, memory.class_bar, s, place, distance)


@kernel
def observe(memory, selection, checksums, family, metered, queries, scales, population, coarse, scratch, written, kept):
    """Compare each fresh query with the client's retained queries, in stream order, then retain it.

    Fills `written` and updates the clients' columns `memory`, `selection` (channel `select`), `checksums` and `family` (channel
    `children`). The last three have no rows where they are not kept. `coarse` is what records of a coarse table are compared
    with. `kept` gets what is retained where a reading is due.
    """
    memory, selection, checksums, family = borrowed(memory), borrowed(selection), borrowed(checksums), borrowed(family)
    queries, population, written = borrowed(queries), borrowed(population), borrowed(written)
    scratch, metered, kept, coarse = borrowed(scratch), borrowed(metered), borrowed(kept), borrowed(coarse)
    query, squares, delta = scratch.query, scratch.squares, scratch.delta
    variances = variances_of(population)
    summed = checksums.total.shape[0] > 0
    for i in range(queries.slot.shape[0]):
        if queries.verdict[i] != FRESH:
            continue
        s = queries.slot[i]
        follow_version(memory, metered, s, queries.version[i])
        ratio = written.ratio[i]
        ratio[:] = NOTHING
        written.near[i] = False
        written.flip[i] = False
        written.crowded[i] = False
        written.distance[i] = np.nan

        held = np.int64(memory.held[s])
        squared_distances(memory.z[s], held, queries.z[i], query, squares)
        found = choose_nearest(squares.view(np.int32), held, scratch.keys, scratch.lowest, scratch.best)
        written.repeat[i] = (
            held > 0 and squares[scratch.best[0]] == 0.0 and is_repeat(memory, checksums, s, queries, i, squares)
        )
        if written.repeat[i]:
            memory.repeats[s] += 1
        else:
            margin = margin_of(queries.confidence[i], queries.runner_up[i])
            asked = Asked(query, queries.z[i], queries.c[i], queries.label[i], margin, queries.landmark[i])
            past = Past(
                memory.z[s],
                memory.c[s],
                memory.label[s],
                memory.order[s],
                memory.depth[s],
                memory.mark[s],
                memory.margin[s],
                memory.counts[s],
                held,
                memory.stored[s],
                np.int64(memory.newest[s]),
                squares,
                scratch.best[:found],
            )
            single = no_single()
            depth, dwelt, shown, steep, turned = 0, 0, 0, 0, 0
            again, led = False, False
            presume(ratio, margin, scales)
            if held > 0:
                step = measure_step(asked, past, scales, delta)
                written.near[i] = step.distance < NEAR
                written.flip[i] = written.near[i] and step.changed
                memory.near[s] += written.near[i]
                if written.near[i] and moved_values(step.delta, 0.5 * scales.c_unit) <= MOST_MOVED:
                    again = visit(past, step.place)
                judge_offset(asked, past, step, family, s, scales, scratch.other_delta, ratio)
                structure = compare_structure(asked, past, queries.seed[s], variances, scales)
                follow(memory, s, past, structure, scales.unit)
                shown, crowded = judge_foreign(
                    asked, past, step, structure, queries.noise[i], queries.seed[s], population, scratch, scales, ratio
                )
                written.crowded[i] = crowded
                if summed:
                    single = judge_single(asked, past, checksums, s, queries.sums[i], population.keys, scales, ratio)
                depth, led = judge_bisect(asked, past, single, family, s, population, scales, scratch, ratio)
                judge_steer(asked, past, memory, s, population, scales, scratch, ratio)
                judge_aim(asked, past, step, scales, scratch.other_delta, ratio)
                if scales.numbers > 0:
                    judge_record_probe(asked, past, step, population, scales, ratio)
                    judge_children(asked, past, step, family, s, population.level, scales, ratio)
                elif single.place < 0 or single.flickers:
                    judge_sparse_probe(asked, past, step, memory, s, scales, ratio)
                judge_block_probe(asked, past, population.blocks, scales, ratio)
                judge_coarse(asked, past, family, s, coarse, scratch.levels, scales, ratio)
                steep = judge_sens(asked, past, step, scales, ratio)
                dwelt = judge_dwell(asked, past, step, scales, scratch.other_delta, ratio)
                turned = judge_turns(asked, past, step, population.turning, scales, ratio)
            elif scales.table:
                family.home[s] = asked.label
            if not scales.table and held == past.stored and held < FIRST:
                judge_select(asked, memory, selection, s, queries.energy[i], population, scales, scratch, ratio)

            distance = nearest_accepted(past, asked.label, scales.unit)
            written.distance[i] = distance
            accepted = note_distance(memory, s, queries.place[i], distance)
            at, to = choose_place(past.mark, np.int64(past.stored), queries.seed[s], scales.ring)
            if to >= 0:
                move(past, at, to)
            retain(past, at, asked, depth, all_counts(dwelt, shown, steep, turned), accepted, queries.told[i])
            if ratio[BISECT] > NOTHING or depth > 0:  # a search goes on from here
                past.mark[at] |= USED
            if led:
                past.mark[at] |= USED | LED
            if again:
                visit(past, at)
            if summed:
                retain_sums(checksums, s, at, to, queries.sums[i], single.run)
            memory.newest[s] = at
            memory.stored[s] += 1
            memory.held[s] = max(held, at + 1, to + 1)
        if queries.evaluation[i] >= 0:
            row = written.rows[queries.evaluation[i], written.column :]
            describe_distances(memory, s, population.coefficients, scratch.ordered, scratch.sorting, row)
        if queries.reading[i] >= 0:
            keep(memory, metered, s, kept, queries.reading[i])
