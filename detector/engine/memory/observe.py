"""Memory: the anchors, a bounded sample of a client's earlier queries, and what the newest query is to them.

Distances, near duplicates and the evidence of construction all ask the same question: how does this query stand to what the
client sent before? So there is one memory. It holds the latest fresh queries in a ring and, of those that the ring displaced,
a uniform sample (reservoir sampling, Vitter, 1985). An exact repeat is neither stored nor scored, otherwise a client that
retries would convict itself. Anchors that were used to construct a later query are kept before others: a thief under cover
traffic returns to them.

An anchor has two views of a query: `z`, 16-bit coordinates after projection (distances survive), and `c`, raw coordinates in
8 bits sampled by a secret seed (flatness of a step does not survive projection). Integers make every distance the same on
every machine, and a difference of near duplicates is exact, where the usual trick with norms in 32-bit floats loses it.
Where the sample leaves values out, two checksums of all of them say which value moved alone (see `checksums`).

Features, all distances in units of the population's median nearest-neighbour distance:

========================  =====================================================================================
`distance_mean`           mean of ln(minimum distance to the client's earlier queries of the same label), last 100
`distance_low` `_mid`     10%, 50% and 90% quantile of the same
`distance_high`
`normality`               Shapiro-Wilk W of the last 100 distances (PRADA; Juuti et al., EuroS&P 2019, section 5)
`near_duplicate_rate`     share of fresh queries closer than 0.3 to an anchor
`repeat_rate`             share of queries that repeat an anchor exactly
`step`                    running mean of ln(distance to the previous query)
`structure`               running mean of ln(how the difference of two of the client's queries spreads over the
                          sampled values, each in units of its variance in the population; see the channel
                          `foreign`); near 0 for the population, whatever the offset, gain or sign
========================  =====================================================================================

What they see: queries made from earlier ones, sweeps, synthetic neighbours. What innocent traffic does as well: video is
nothing but near duplicates and a retrying client has the lowest W of all, so none of them stops a client.
"""

import numpy as np

from detector.engine.evidence import aim, dwell, probe
from detector.engine.evidence.accumulate import CONSTRUCTED, NOTHING, ORDINARY, weighted
from detector.engine.evidence.aim import aims_at_other
from detector.engine.evidence.bisect import BISECT_WEIGHTS, GLANCE, TIGHT, bisection_depth, is_unseen, may_halve, record_depth
from detector.engine.evidence.dwell import dwells
from detector.engine.evidence.foreign import CROWD, EDITED, MOST_PER_CROWD, foreign_ratio
from detector.engine.evidence.offset import is_flat_offset, von_neumann_ratio
from detector.engine.evidence.probe import SIZES, in_series, is_one_level, is_probe, is_record_probe, largest_move, moved_values
from detector.engine.evidence.registry import AIM, BISECT, DWELL, FOREIGN, OFFSET, PROBE, SELECT, SENS
from detector.engine.evidence.select import FIRST, apart, judge_selection, weigh
from detector.engine.evidence.sens import compares, is_steep
from detector.engine.features.distances import accept, describe_distances
from detector.engine.kernels import kernel
from detector.engine.memory.reservoir import ACCEPTED, GROUPS, NEIGHBOURS, USED, choose_nearest, place_for
from detector.engine.memory.single import halved, judge_single
from detector.engine.memory.structure import compare_structure

NEAR = 0.3  # of the median nearest-neighbour distance

MARGIN_LEVELS = 256.0  # of a remembered margin, per unit; none is NO_MARGIN
NO_MARGIN = -32768
AIM_CLOSE, AIM_FAR, AIM_UNDECIDED, AIM_SMOOTH = aim.CLOSE, aim.FAR, aim.UNDECIDED, aim.SMOOTH
PROBE_CLOSE, PROBE_MOVED = probe.CLOSE, probe.MOST_MOVED
DWELL_UNDECIDED = dwell.UNDECIDED


@kernel
def step_between(anchor, values, c_unit, delta):
    """Write into `delta` (measured,) the step from the sampled values of an anchor to those of a query, in value ranges."""
    for j in range(delta.shape[0]):
        delta[j] = (np.float32(values[j]) - np.float32(anchor[j])) * c_unit


@kernel
def observe(
    state,
    slot,
    seed,
    z,
    c,
    label,
    confidence,
    runner_up,
    place,
    verdict,
    unit,
    quantum,
    c_unit,
    c_lowest,
    c_highest,
    measured,
    dimension,
    grain,
    tolerance,
    c_variance,
    usual,
    spread,
    variance,
    table,
    numbers,
    level,
    ring,
    coefficients,
    selection,
    checksums,
    sums,
    weight_keys,
    energy,
    kinship,
    middle,
    neighbour,
    repeat,
    near,
    flip,
    distance,
    ratio,
    look_row,
    out,
    column,
):
    """Compare each event with its client's anchors, in stream order, then store it.

    Fills per event `repeat`, `near`, `flip`, `distance` (to the accepted anchors of its label; NaN for the first of a label)
    and `ratio` (events, channels), the likelihood ratios of construction; at looks, the features from `column` on.
    `unit` and `quantum` turn the integers of `z` into median nearest-neighbour distances and value ranges, `c_unit` those of
    `c` into value ranges; `c_lowest` and `c_highest` are the ends of the value range in the latter; `grain` is the size of one
    level of the population's values, in value ranges; `c_variance` (samples,) their variance; `usual` and `spread` are those of
    `structure`, NaN where they are not known. In tables the first `numbers` coordinates are numeric columns, whose levels are
    `level` (coordinates,) apart. `selection` is the state of the channel `select`, `checksums` that of the checksums and `sums`
    (events, 2) those of the queries, both without rows where none are kept; `weight_keys` (dimension,) are their weights' bits
    read backwards. `energy` (events,) are the squared lengths of the queries; `kinship` and `middle` make more exact distances
    of the integers, and `neighbour` says which are large.
    """
    # A function called with the whole tuple would count references to all of its arrays, for every query.
    (
        z_of,
        c_of,
        label_of,
        order_of,
        depth_of,
        mark_of,
        margin_of,
        crowd_of,
        shown_of,
        held_of,
        stored_of,
        newest_of,
        values_of,
        sizes_of,
        sized_of,
        window_of,
        window_count_of,
        near_of,
        repeats_of,
        step_mean_of,
        structure_of,
        structure_count_of,
        class_count_of,
        class_sum_of,
        class_square_of,
        class_bar_of,
    ) = state
    energy_of, gap_of, widest_of, closest_of, nearer_of = selection
    total_of, weighed_of, run_of, moved_of, moved_by_of, singles_of = checksums
    summed = total_of.shape[0] > 0
    coordinates = z_of.shape[1]
    capacity = z_of.shape[2]
    sampled = c_of.shape[2]
    squares = np.empty(capacity, np.float32)
    query = np.empty(coordinates, np.float32)
    bits = squares.view(np.int32)
    keys = np.empty(capacity, np.int64)
    lowest = np.empty(GROUPS, np.int64)
    best = np.empty(NEIGHBOURS, np.int64)
    gathered = np.empty((NEIGHBOURS, coordinates), np.float32)
    toward = np.empty((NEIGHBOURS, GLANCE), np.float32)
    delta = np.empty(measured, np.float32)
    taken = np.empty(measured, np.float32)
    weights = np.empty(coordinates + sampled, np.float32)
    rounded = np.empty(sampled, np.int32)
    products = np.empty(capacity, np.float32)
    gaps = np.empty(capacity, np.float64)
    ordered = np.empty(window_of.shape[1], np.float64)
    scratch = np.empty(window_of.shape[1], np.float64)
    total = 0.0
    for value in c_variance:
        total += value
    z_total = 0.0
    for value in variance:
        z_total += value
    for i in range(slot.shape[0]):
        if verdict[i] != 0:
            continue
        s = slot[i]
        held = np.int64(held_of[s])
        repeat[i] = False
        near[i] = False
        flip[i] = False
        distance[i] = np.nan
        ratio[i, :] = NOTHING

        squares[:] = 0.0
        for k in range(coordinates):
            q = np.float32(z[i, k])
            query[k] = q
            for m in range(held):
                d = np.float32(z_of[s, k, m]) - q
                squares[m] += d * d

        found = choose_nearest(bits, held, keys, lowest, best)

        if held > 0 and squares[best[0]] == 0.0:
            # A model that wavers gives one input several labels; the query repeats whichever anchor was given the same.
            for m in range(held):
                if squares[m] == 0.0 and label_of[s, m] == label[i] and not repeat[i]:
                    repeat[i] = True
                    for j in range(sampled):
                        if c_of[s, m, j] != c[i, j]:
                            repeat[i] = False
                    if summed and (total_of[s, m] != sums[i, 0] or weighed_of[s, m] != sums[i, 1]):
                        repeat[i] = False
            repeats_of[s] += repeat[i]

        if not repeat[i]:
            depth = 0
            crowd = 0
            shown = 0
            run = 0
            margin = np.float32(np.nan)
            if not np.isnan(confidence[i]):
                margin = np.log(max(confidence[i], np.float32(1e-6))) - np.log(max(runner_up[i], np.float32(1e-6)))
            ratio[i, OFFSET] = ORDINARY[OFFSET]
            ratio[i, BISECT] = ORDINARY[BISECT]
            ratio[i, PROBE] = ORDINARY[PROBE]
            if tolerance >= TIGHT and not table:
                ratio[i, AIM] = ORDINARY[AIM]
            if not np.isnan(margin):
                ratio[i, DWELL] = ORDINARY[DWELL]
            if held > 0:
                a = best[0]
                nearest = np.sqrt(squares[a]) * unit
                near[i] = nearest < NEAR
                changed = label_of[s, a] != label[i]
                flip[i] = near[i] and changed
                near_of[s] += near[i]
                step = max(np.sqrt(squares[newest_of[s]]) * unit, 1e-3)
                share = max(0.02, 1.0 / stored_of[s])
                step_mean_of[s] += share * (np.log(step) - step_mean_of[s])

                length = np.sqrt(squares[a]) * quantum
                step_between(c_of[s, a], c[i], c_unit, delta)
                if is_flat_offset(delta, c_of[s, a, :measured], nearest, c_unit, grain, c_lowest, c_highest):
                    ratio[i, OFFSET] = CONSTRUCTED[OFFSET]
                    mark_of[s, a] |= USED

                structure = compare_structure(
                    z_of,
                    c_of,
                    stored_of,
                    s,
                    z[i],
                    c[i],
                    squares,
                    held,
                    unit,
                    c_variance,
                    total,
                    variance,
                    z_total,
                    table,
                    seed[s],
                )
                if not np.isnan(structure):
                    n = structure_count_of[s] + 1
                    structure_count_of[s] = n
                    structure_of[s] += max(0.02, 1.0 / n) * (structure - structure_of[s])
                if nearest < CROWD:
                    for m in range(held):
                        if squares[m] * unit * unit < CROWD * CROWD:
                            shown = max(shown, shown_of[s, m])
                edited = 0
                if table:
                    for j in range(sampled):
                        edited += c[i, j] != c_of[s, a, j]
                if table and edited <= EDITED:
                    shown = MOST_PER_CROWD
                if shown < MOST_PER_CROWD and not np.isnan(usual) and not np.isnan(structure):
                    ratio[i, FOREIGN] = foreign_ratio(structure, usual, spread)
                    shown += 1
                    if nearest < CROWD:
                        shown_of[s, a] = shown
                single = -1
                flickers = False
                if summed:
                    single, lone, steps, run, flickers, probed = judge_single(
                        c_of[s],
                        c[i],
                        best[:found],
                        newest_of[s],
                        total_of[s],
                        weighed_of[s],
                        run_of[s],
                        held,
                        sums[i],
                        moved_of[s],
                        moved_by_of[s],
                        np.int64(singles_of[s]),
                        weight_keys,
                        grain,
                    )
                    if single >= 0 and not flickers:
                        if probed:
                            ratio[i, PROBE] = CONSTRUCTED[PROBE]
                            mark_of[s, single] |= USED
                        moved_of[s, singles_of[s] % SIZES] = lone + 1
                        moved_by_of[s, singles_of[s] % SIZES] = steps
                        singles_of[s] += 1
                one = -1
                other = -1
                halves = numbers > 0 or may_halve(query, z_of[s], best[:found], squares, label_of[s], toward, tolerance)
                if halves:
                    for j in range(found):
                        for k in range(coordinates):
                            gathered[j, k] = np.float32(z_of[s, k, best[j]])
                if halves and numbers > 0:
                    depth, one, other = record_depth(
                        query,
                        best[:found],
                        gathered,
                        label_of[s],
                        margin_of[s],
                        order_of[s],
                        depth_of[s],
                        stored_of[s],
                        numbers,
                        level,
                    )
                elif halves:
                    depth, one, other = bisection_depth(
                        query,
                        best[:found],
                        gathered,
                        label_of[s],
                        order_of[s],
                        depth_of[s],
                        delta,
                        c_of[s, a, :measured],
                        tolerance,
                        single < 0 and is_unseen(largest_move(delta)[1], length, c_unit, dimension),
                    )
                if single >= 0:
                    exact, end = halved(
                        total_of[s], weighed_of[s], label_of[s], depth_of[s], held, sums[i], single, lone, steps, weight_keys
                    )
                    if exact > depth:
                        depth, one, other = exact, single, end
                weight = BISECT_WEIGHTS[min(depth, BISECT_WEIGHTS.shape[0] - 1)]
                if weight > 0.0:
                    ratio[i, BISECT] = weighted(BISECT, weight)
                    mark_of[s, one] |= USED
                    mark_of[s, other] |= USED

                if tolerance >= TIGHT and not table and nearest < AIM_CLOSE:
                    latest = np.int64(newest_of[s])
                    if changed or label_of[s, latest] != label[i] or margin < AIM_UNDECIDED:
                        for turn in range(1 if latest == a else 2):
                            start = latest if turn else a
                            if np.sqrt(squares[start]) * unit < AIM_FAR and aims_at_other(
                                query, z_of[s], squares, held, start, label_of[s], order_of[s], stored_of[s]
                            ):
                                step_between(c_of[s, start], c[i], c_unit, taken)
                                if von_neumann_ratio(taken, c_of[s, start, :measured]) > AIM_SMOOTH:
                                    ratio[i, AIM] = CONSTRUCTED[AIM]
                                    mark_of[s, start] |= USED

                if numbers > 0:
                    if is_record_probe(query, z_of[s], held, a, numbers, level, variance):
                        ratio[i, PROBE] = CONSTRUCTED[PROBE]
                        mark_of[s, a] |= USED
                elif (single < 0 or flickers) and nearest < PROBE_CLOSE and moved_values(delta, 0.5 * c_unit) <= PROBE_MOVED:
                    value, size = largest_move(delta)
                    if not is_one_level(size, grain):
                        alike = in_series(value, size, length, values_of[s], sizes_of[s], c_unit, grain)
                        if is_probe(query, z_of[s], squares, best[:found], a, alike):
                            ratio[i, PROBE] = CONSTRUCTED[PROBE]
                            mark_of[s, a] |= USED
                        if size > 0.0:
                            sizes_of[s, sized_of[s] % SIZES] = np.uint8(min(np.rint(size / c_unit), 255.0))
                            values_of[s, sized_of[s] % SIZES] = value + 1
                            sized_of[s] += 1

                if margin_of[s, a] != NO_MARGIN and not np.isnan(margin):
                    earlier = np.float32(margin_of[s, a]) / MARGIN_LEVELS
                    if compares(nearest, earlier):
                        steep = is_steep(nearest, earlier, margin, not changed)
                        ratio[i, SENS] = CONSTRUCTED[SENS] if steep else ORDINARY[SENS]

                if near[i] and changed and margin < DWELL_UNDECIDED:
                    for m in range(held):
                        if squares[m] * unit * unit < NEAR * NEAR:
                            crowd = max(crowd, crowd_of[s, m])
                    if dwells(nearest, margin, changed, crowd):
                        ratio[i, DWELL] = CONSTRUCTED[DWELL]
                        crowd += 1
                        crowd_of[s, a] = crowd

            if not table and held == stored_of[s] and held < FIRST:
                own = weigh(z[i], c[i], middle, kinship, weights)
                apart(z_of, c_of, order_of, s, held, energy_of, energy[i], middle, weights, rounded, products, gaps)
                selected = judge_selection(
                    energy_of,
                    gap_of,
                    widest_of,
                    closest_of,
                    nearer_of,
                    s,
                    held,
                    gaps,
                    energy[i],
                    abs(energy[i] - own),
                    neighbour,
                )
                if selected != 0:
                    ratio[i, SELECT] = CONSTRUCTED[SELECT] if selected > 0 else ORDINARY[SELECT]

            smallest = np.float32(np.inf)
            for m in range(held):
                member = label_of[s, m] == label[i] and (mark_of[s, m] & ACCEPTED) != 0
                if member and squares[m] < smallest:
                    smallest = squares[m]
            if smallest < np.inf:
                distance[i] = np.sqrt(smallest) * unit
                window_of[s, window_count_of[s] % window_of.shape[1]] = distance[i]
                window_count_of[s] += 1

            added = accept(class_count_of, class_sum_of, class_square_of, class_bar_of, s, place[i], distance[i])
            at = place_for(
                z_of,
                c_of,
                label_of,
                order_of,
                depth_of,
                mark_of,
                margin_of,
                crowd_of,
                shown_of,
                total_of,
                weighed_of,
                run_of,
                held_of,
                stored_of,
                s,
                seed[s],
                ring,
            )
            for k in range(coordinates):
                z_of[s, k, at] = z[i, k]
            for j in range(sampled):
                c_of[s, at, j] = c[i, j]
            label_of[s, at] = label[i]
            order_of[s, at] = stored_of[s]
            depth_of[s, at] = depth
            mark_of[s, at] = ACCEPTED if added else 0
            margin_of[s, at] = NO_MARGIN if np.isnan(margin) else np.int16(min(np.rint(margin * MARGIN_LEVELS), 32767.0))
            crowd_of[s, at] = crowd
            shown_of[s, at] = shown
            if summed:
                total_of[s, at] = sums[i, 0]
                weighed_of[s, at] = sums[i, 1]
                run_of[s, at] = run
            newest_of[s] = at
            stored_of[s] += 1
            held_of[s] = max(held, at + 1, np.int64(held_of[s]))
        if look_row[i] >= 0:
            describe_distances(
                stored_of,
                window_of,
                window_count_of,
                near_of,
                repeats_of,
                step_mean_of,
                structure_of,
                structure_count_of,
                s,
                coefficients,
                ordered,
                scratch,
                out,
                look_row[i],
                column,
            )
