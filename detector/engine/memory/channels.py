"""Channels: the likelihood ratio of one query in each channel, from its comparison with the client's retained queries.

Each function here belongs to one channel. It calls the channel's own tests and writes the likelihood ratio into `ratio`
(channels,). Where the query looks constructed, it marks the retained queries that the query was made from; these stay longer.

Arguments mean the same everywhere: `asked` is the new query, `past` are the client's retained queries, `step` is the step from
the nearest of them (see `evidence.step`), `scales` and `population` are the model's yardsticks.
"""

import numpy as np

from detector.engine.evidence.accumulate import CONSTRUCTED, NOTHING, ORDINARY, weighted
from detector.engine.evidence.aim import aims, may_aim
from detector.engine.evidence.bisect import (
    LOOSE,
    PICTURE,
    RECORD_WEIGHTS,
    centred_bonus,
    deepest_halving,
    is_rare_middle,
    weight_of,
    weight_of_middle,
)
from detector.engine.evidence.blocks import probed_in_block
from detector.engine.evidence.bracket import ELSEWHERE, find_bracket, halving_depth, is_judged
from detector.engine.evidence.children import MANY, MOST, NUMBERS, Kin, find_twin, keep_step, sides_recur
from detector.engine.evidence.circle import LEAST as LEAST_AROUND
from detector.engine.evidence.circle import NUMBERS as ROUND
from detector.engine.evidence.circle import circle_centre
from detector.engine.evidence.coarse import (
    LEAST_STEP,
    drawn_worth,
    explain,
    is_mixed,
    learn_sides,
    middle_worth,
    read_levels,
    step_worth,
)
from detector.engine.evidence.counts import DWELT, SHOWN, STEEP, count_of, most_counted, set_count
from detector.engine.evidence.crossing import note_crossing
from detector.engine.evidence.dwell import UNDECIDED, dwells
from detector.engine.evidence.foreign import (
    KINDRED_RECORDS,
    MOST_PER_CROWD,
    crowd_of,
    foreign_ratio,
    is_version,
    times_counted,
)
from detector.engine.evidence.halved import bits_of, halving_weight, weight_within_label
from detector.engine.evidence.interval import DEEPEST, TIGHT
from detector.engine.evidence.lattice import steps_on_lattice
from detector.engine.evidence.look import is_version_of
from detector.engine.evidence.offset import CLOSEST, NEAREST, flattened, is_flat_offset
from detector.engine.evidence.probe import SIZES, is_sparse, is_sparse_probe, largest_move, only_move
from detector.engine.evidence.record_probe import is_record_probe
from detector.engine.evidence.registry import AIM, BISECT, CHILDREN, DWELL, FOREIGN, OFFSET, PROBE, SELECT, SENS, TURNS
from detector.engine.evidence.remote import ALONE, LEAST_OF_ALL
from detector.engine.evidence.select import apart, judge_selection, weigh
from detector.engine.evidence.sens import MOST_PER_PLACE, PLACE, compares, is_steep
from detector.engine.evidence.steer import ENOUGH, STRAYS, TURNS_KEPT, UNIT, bet, habit_after, is_content, read_cut
from detector.engine.evidence.step import step_between
from detector.engine.evidence.succession import FEW, find_successor
from detector.engine.evidence.tone import is_toned
from detector.engine.evidence.turns import (
    DISTANCES,
    MOST_TURNS,
    distance_class,
    margin_class,
    moves_one,
    note_comparison,
    note_turn,
    turn_ratio,
)
from detector.engine.kernels import part
from detector.engine.memory.checksums import Sums, remember_change
from detector.engine.memory.reservoir import LED, MARGIN_LEVELS, NO_MARGIN, USED, rounded_margin
from detector.engine.memory.single import find_single
from detector.engine.memory.structure import compare_remote, compare_stray, continues

NEAR = 0.3  # distance below which a query is a near duplicate, in median nearest-neighbour distances


@part
def presume(ratio, margin, scales):
    """Write the ratios that a query starts with: ordinary in the channels that can judge it, 1 in the others."""
    ratio[:] = NOTHING
    ratio[OFFSET] = ORDINARY[OFFSET]
    ratio[BISECT] = ORDINARY[BISECT]
    ratio[PROBE] = ORDINARY[PROBE]
    if scales.numbers >= FEW:
        ratio[CHILDREN] = ORDINARY[CHILDREN]
    if scales.tolerance >= TIGHT and not scales.table:
        ratio[AIM] = ORDINARY[AIM]
    if not np.isnan(margin):
        ratio[DWELL] = ORDINARY[DWELL]


@part
def convict(channel, place, past, ratio):
    """Note that the new query looks constructed from the retained query at `place`."""
    ratio[channel] = CONSTRUCTED[channel]
    past.mark[place] |= USED


@part
def repeats_sides(asked, past, step, family, s, scales):
    """Tell whether the step of client `s` moves the numbers of a record to the same sides as an earlier step did."""
    numbers = min(scales.numbers, NUMBERS)
    if numbers < MANY:  # `family` may have no rows
        return False
    kin = Kin(family.child[s], family.parent[s], family.origin[s])
    return sides_recur(asked.query, past.z, step.place, kin, numbers)


@part
def judge_lattice(asked, past, scales, ratio):
    """Channel `offset`, in pictures, from steps of several sizes; what they start from need not be the nearest query."""
    if scales.table or scales.measured < PICTURE:
        return
    for place in past.near:
        start = past.c[place, : scales.measured]
        if np.sqrt(past.squares[place]) * scales.unit < CLOSEST:
            continue
        if steps_on_lattice(start, asked.c[: scales.measured], scales.rounding, scales.c_lowest, scales.c_highest):
            convict(OFFSET, place, past, ratio)
            return


@part
def judge_offset(asked, past, step, family, s, scales, delta, ratio):
    """Channel `offset`, with the kept steps `family` of client `s`; `delta` (measured,) is scratch.

    In tables people move all columns of their records at once, for a best and a worst case. They move each column to one side.
    """
    if is_flat_offset(step.delta, step.start, step.distance, scales.c_unit, scales.grain, scales.c_lowest, scales.c_highest):
        if not repeats_sides(asked, past, step, family, s, scales):
            convict(OFFSET, step.place, past, ratio)
        return
    if np.isnan(scales.c_zero):
        judge_lattice(asked, past, scales, ratio)
        return
    for place in past.near[:NEAREST]:
        start = past.c[place, : scales.measured]
        distance = np.sqrt(past.squares[place]) * scales.unit
        if distance < CLOSEST or not flattened(start, asked.c, scales.c_zero, scales.c_unit, delta):
            continue
        if is_flat_offset(delta, start, distance, scales.c_unit, scales.grain, scales.c_lowest, scales.c_highest):
            convict(OFFSET, place, past, ratio)
            return


@part
def is_edited_picture(asked, past, scales):
    """Tell whether a picture shares many values with one of the nearest retained queries; never in tables, nor on a sphere."""
    found = False
    if not scales.table and np.isnan(scales.c_zero):
        for k in range(past.near.shape[0]):
            found = found or is_version_of(asked.c, past.c[past.near[k]], scales.c_lowest, scales.c_highest)
    return found


@part
def judge_foreign(asked, past, step, structure, noise, seed, population, scratch, scales, ratio):
    """Channel `foreign`; return how often the query's cluster was counted so far, and whether it counts no more.

    The first is to be retained with the query. It counts no more where versions of it were counted often enough.

    `noise` is the query's likelihood ratio of noise; it counts where the client's earlier queries hardly explain the query. For
    `seed` see `compare_stray`.
    """
    crowd = crowd_of(asked.landmark, scales.table)
    if scales.table and step.distance >= crowd and is_version(asked, past, step):
        crowd = KINDRED_RECORDS * np.exp(np.float64(asked.landmark))
    counted, crowded = times_counted(asked, past, step, crowd, scales)
    if counted < MOST_PER_CROWD and population.neighbours.shape[0] > 0 and not np.isnan(structure):
        before = continues(asked, past, seed, population.neighbours, scratch.weights, scales)
        if before >= 0:
            counted = max(counted, count_of(past, before, SHOWN))
            crowded = counted == MOST_PER_CROWD
    scored = counted < MOST_PER_CROWD
    if scored and not np.isnan(scales.usual) and not np.isnan(structure):
        ratio[FOREIGN] = foreign_ratio(structure, scales.usual, scales.spread)
        stray = compare_stray(asked, past, step, seed, population, scratch.along, scales)
        if not np.isnan(stray):
            ratio[FOREIGN] = max(ratio[FOREIGN], foreign_ratio(stray, scales.usual_stray, scales.stray_spread))
        remote = compare_remote(asked, step, population, scratch, scales)
        if not np.isnan(remote):
            usual = population.remote[LEAST_OF_ALL]
            ratio[FOREIGN] = max(ratio[FOREIGN], foreign_ratio(remote, usual[0], usual[1]))
        alone = step.distance >= ALONE * np.exp(np.float64(asked.landmark))
        if noise > ratio[FOREIGN] and alone and not is_edited_picture(asked, past, scales):
            ratio[FOREIGN] = noise
    if scored:
        counted += 1
        if step.distance < crowd:
            set_count(past, step.place, SHOWN, counted)
    return counted, crowded


@part
def judge_single(asked, past, checksums, s, query_sums, keys, scales, ratio):
    """Channel `probe`, from changes of a single value that the checksums of client `s` show; return that change.

    `query_sums` (2,) are the checksums of the new query; for `keys` see `find_single`.
    """
    sums = Sums(
        checksums.total[s],
        checksums.weighed[s],
        checksums.run[s],
        checksums.value[s],
        checksums.size[s],
        np.int64(checksums.singles[s]),
    )
    single = find_single(asked, past, sums, query_sums, keys, scales)
    if single.probes:
        convict(PROBE, single.place, past, ratio)
    if single.place >= 0 and not single.flickers:
        remember_change(checksums, s, single.value, single.size)
    return single


@part
def judge_bracket(asked, bracket, past, family, s, columns, ratio):
    """Channel `bisect`, from a record of client `s` inside a bracket of one column; return its depth, 0 if it halves none.

    Return also whether a way led to the bracket (see `crossing`). The first `columns` coordinates are numbers.
    """
    low, high = bracket.low, bracket.high
    turned = past.label[low] != past.label[high]
    led = turned and past.mark[low] & past.mark[high] & LED != 0
    depth = halving_depth(bracket, past)
    if depth == 0:
        if not bracket.close or bracket.middle:
            ratio[BISECT] = ELSEWHERE
        return 0, False
    bits = bits_of(bracket.column, past.z, low, high, columns, np.int64(family.halved[s]))
    if turned:
        weight = halving_weight(depth, bits, True, led, family.halved, family.alone, s)
    else:
        margin = rounded_margin(asked.margin)
        like_low = asked.label == past.label[low] and margin == past.margin[low]
        like_high = asked.label == past.label[high] and margin == past.margin[high]
        weight = weight_within_label(depth, bracket, bits, like_low or like_high, family.halved, family.alone, s)
    if not bracket.middle:
        weight *= LOOSE
    if depth > 1 and (turned or bracket.descends):
        ratio[BISECT] = NOTHING  # more halvings than count prove no innocence
    if weight > 0.0:
        ratio[BISECT] = weighted(BISECT, weight)
    if weight > 0.0 or turned:
        past.mark[low] |= USED
        past.mark[high] |= USED
    return depth, led


@part
def judge_bisect(asked, past, single, family, s, population, scales, scratch, ratio):
    """Channel `bisect`; return the depth of the interval that the query halves, 0 if it halves none, and whether it is `LED`.

    The query may halve an interval in all values, or in the `single` value that moved; the deeper interval counts. A record
    that differs from others in one column is judged by those alone; client `s` has its masks in `family` (see `bracket`).
    """
    crossed = -1
    if scales.numbers > 0:
        crossed = note_crossing(asked, past, family.halved, s, scales.numbers, population.level)
        if crossed >= 0:
            past.mark[crossed] |= USED | LED
        bracket = find_bracket(asked.query, past.z, past.held, past.order, scales.numbers, population.level)
        if is_judged(bracket):
            depth, led = judge_bracket(asked, bracket, past, family, s, scales.numbers, ratio)
            if depth > 0:
                return depth, led or crossed >= 0
    depth, one, other, position = deepest_halving(asked, past, scales, population, scratch)
    alone = single.depth > 0 and single.depth >= depth  # a value that moves alone is no change of intensity
    if alone:
        depth, one, other = single.depth, single.place, single.end
    if not alone and scales.numbers == 0:
        weight = weight_of(depth, position)
    else:
        weight = RECORD_WEIGHTS[min(depth, RECORD_WEIGHTS.shape[0] - 1)]
    if depth > 0 and scales.numbers > 0:
        bonus = centred_bonus(asked.query, past.z[:, one], past.z[:, other], scales.numbers, population.level)
        if bonus == 0:
            bonus = int(is_rare_middle(asked.query, past.z, past.c, past.held, one, other, scales.numbers, population.level))
        if bonus > 0:
            weight = weight_of_middle(depth + min(bonus, depth), scales.numbers)
            if bonus > 1 and depth > 1:  # a search that was seen to be none by accident stays one
                depth = min(depth + bonus, DEEPEST)
        elif only_move(past.z[:, one], past.z, other, scales.numbers) >= 0:
            return 0, crossed >= 0  # `judge_bracket` has said it
    if weight > 0.0:
        ratio[BISECT] = weighted(BISECT, weight)
    if weight > 0.0 or depth > 0:  # the ends of an open interval stay, however much cover comes before the next halving
        past.mark[one] |= USED
        past.mark[other] |= USED
    return depth, crossed >= 0


@part
def judge_steer(asked, past, memory, s, population, scales, scratch, ratio):
    """Channel `bisect`, from the sides that client `s` chose on lines through its earlier queries (see `steer`)."""
    line, start = read_cut(asked, past, scales, population, scratch.across)
    kind, onward, share, behind, beyond, far_behind, far_beyond = line
    if kind == 0:
        return
    worth = STRAYS
    if kind > 0:
        one = np.sqrt(np.float64(past.squares[far_behind]))
        other = np.sqrt(np.float64(past.squares[far_beyond]))
        if not is_content(asked, past, scales, population, far_behind, far_beyond, one / (one + other)):
            return
        ways = np.int64(memory.ways[s])
        worth = bet(ways >> 4, ways & TURNS_KEPT, onward, share)
        past.mark[start] |= USED
        past.mark[behind] |= USED
        past.mark[beyond] |= USED
    memory.ways[s] = habit_after(memory.ways[s], onward)
    product = max(memory.bets[s] * UNIT + worth, 0.0)
    if product >= ENOUGH:
        ratio[BISECT] = max(ratio[BISECT], np.float32(np.exp(product)))
        product = 0.0
    memory.bets[s] = np.uint16(product / UNIT)


@part
def judge_aim(asked, past, step, scales, delta, ratio):
    """Channel `aim`: the step may start at the nearest retained query or at the latest one. `delta` is scratch."""
    if not may_aim(asked, past, step, scales):
        return
    for turn in range(1 if past.newest == step.place else 2):
        start = past.newest if turn else step.place
        if aims(asked, past, start, scales, delta):
            convict(AIM, start, past, ratio)


@part
def judge_record_probe(asked, past, step, population, scales, ratio):
    """Channel `probe`, in tables with numbers."""
    hidden = scales.dimension - scales.numbers
    if is_record_probe(
        asked.query, past.z, past.held, step.place, scales.numbers, population.level, population.variance, hidden
    ):
        convict(PROBE, step.place, past, ratio)
    if scales.numbers == ROUND and past.held > LEAST_AROUND:
        centre = circle_centre(asked.query, past.z, past.order, past.held, past.near, population.level)
        if centre >= 0:
            convict(PROBE, centre, past, ratio)


@part
def judge_children(asked, past, step, family, s, level, scales, ratio):
    """Channel `children`; the step of client `s` is kept."""
    numbers = min(scales.numbers, NUMBERS)
    if numbers < FEW:
        return
    kin = Kin(family.child[s], family.parent[s], family.origin[s])
    worth, place = find_successor(asked.query, past, kin, level, numbers, scales.ring)
    if numbers >= MANY and worth < MOST:
        other, at = find_twin(asked.query, past.z, past.order, past.held, kin, level, numbers)
        if other > worth:
            worth, place = other, at
    if worth > 0.0:
        ratio[CHILDREN] = np.float32(np.exp(min(worth, MOST)))
        past.mark[place] |= USED
        keep_step(family, s, asked.query, past, place, True, numbers)
    else:
        keep_step(family, s, asked.query, past, step.place, False, numbers)


@part
def judge_coarse(asked, past, family, s, coarse, levels, scales, ratio):
    """Channels `bisect`, `children` and `foreign` in a coarse table, by how likely the record is; nothing in other tables.

    `levels` (2, columns) is scratch.
    """
    columns = coarse.count.shape[0]
    if columns == 0:
        return
    own = levels[0, :columns]
    read_levels(asked.c, coarse, own)
    found = explain(past, family, s, coarse, own, asked.c, levels[1, :columns], scales.ring, USED)
    middle = middle_worth(found)
    if middle > 0.0:
        ratio[BISECT] = max(ratio[BISECT], np.float32(np.exp(middle)))
        past.mark[found.low] |= USED
        past.mark[found.high] |= USED
    if is_mixed(coarse):  # other channels see steps and draws there
        return
    # Equal moves of records, which `judge_children` looks for, are no coincidence where all moves are a level or two.
    step = step_worth(found)
    ratio[CHILDREN] = np.float32(np.exp(max(step, LEAST_STEP)))
    if step > 0.0 and found.parent >= 0:
        past.mark[found.parent] |= USED
    if found.parent >= 0:
        learn_sides(family, s, past, found.parent, coarse, own)
    if found.least > 1:  # a record that differs from an earlier one in one column was edited, whatever else it is
        drawn = np.float32(np.exp(drawn_worth(found)))
        ratio[FOREIGN] = drawn if ratio[FOREIGN] == NOTHING else max(ratio[FOREIGN], drawn)


@part
def judge_sparse_probe(asked, past, step, memory, s, scales, ratio):
    """Channel `probe`, from steps that move few of the sampled values; the step of client `s` is remembered."""
    if not is_sparse(step, scales):
        return
    values, sizes = memory.values[s], memory.sizes[s]
    if is_sparse_probe(asked, past, step, values, sizes, scales):
        convict(PROBE, step.place, past, ratio)
    value, size = largest_move(step.delta)
    if size > 0.0:
        at = memory.sized[s] % SIZES
        sizes[at] = np.uint8(min(np.rint(size / scales.c_unit), 255.0))
        values[at] = value + 1
        memory.sized[s] += 1


@part
def judge_block_probe(asked, past, blocks, scales, ratio):
    """Channel `probe`, in pictures from a JPEG; `blocks` (samples,) are empty where its blocks are not told."""
    if blocks.shape[0] == 0:
        return
    middle = probed_in_block(asked.c, past.c, past.near, past.newest, blocks, scales.rounding)
    if middle >= 0:
        convict(PROBE, middle, past, ratio)


@part
def retained_margin(past, place):
    """Return the margin of a retained query's answer, NaN where that has no probabilities."""
    if past.margin[place] == NO_MARGIN:
        return np.float32(np.nan)
    return np.float32(past.margin[place]) / np.float32(MARGIN_LEVELS)


@part
def judge_sens(asked, past, step, scales, ratio):
    """Channel `sens`, silent where either answer has no probabilities; return the count to be retained with the query."""
    earlier = retained_margin(past, step.place)
    if np.isnan(earlier) or np.isnan(asked.margin) or not compares(step.distance, earlier, scales.moved):
        return 0
    if not is_steep(step.distance, earlier, asked.margin, not step.changed):
        ratio[SENS] = ORDINARY[SENS]
        return 0
    counted = most_counted(past, STEEP, PLACE, scales.unit)
    if counted >= MOST_PER_PLACE:
        return 0
    ratio[SENS] = CONSTRUCTED[SENS]
    set_count(past, step.place, STEEP, counted + 1)
    return counted + 1


@part
def fades(asked, past, scales, delta):
    """Tell whether the client changes the intensity of one picture: it has retained such versions, with different labels.

    Steps within a place are too short to tell. One version alone may be there to hide what follows. `delta` (measured,) is
    scratch.
    """
    if scales.table or not np.isnan(scales.c_zero) or scales.measured < PICTURE:
        return False
    faded = -1
    for place in past.near:
        if past.squares[place] * scales.unit * scales.unit < NEAR * NEAR:
            continue
        if faded >= 0 and past.label[place] == past.label[faded]:
            continue
        step_between(past.c[place], asked.c, scales.c_unit, delta)
        start = past.c[place, : scales.measured]
        if is_toned(delta, start, scales.c_unit, scales.rounding, scales.c_lowest, scales.c_highest):
            if faded >= 0:
                return True
            faded = place
    return False


@part
def judge_dwell(asked, past, step, scales, delta, ratio):
    """Channel `dwell`; return how often the query's cluster was counted so far, to be retained with the query.

    `delta` (measured,) is scratch.
    """
    if not (step.changed and step.distance < NEAR and asked.margin < UNDECIDED):
        return 0
    counted = most_counted(past, DWELT, NEAR, scales.unit)
    if dwells(step.distance, asked.margin, step.changed, counted) and not fades(asked, past, scales, delta):
        ratio[DWELL] = CONSTRUCTED[DWELL]
        counted += 1
        set_count(past, step.place, DWELT, counted)
    return counted


@part
def judge_turns(asked, past, step, turning, scales, ratio):
    """Channel `turns`; return how many turns the query's cluster has, to be retained with the query.

    `turning` (distances, margins) are the benign rates of turns.
    """
    place = step.place
    due = note_comparison(past, place)
    near = distance_class(step.distance)
    if step.distance == 0.0 or near == DISTANCES:
        return 0
    counted = note_turn(past, step, scales.unit) if step.changed else 0
    if due and counted <= MOST_TURNS:
        worth = turn_ratio(turning[near, margin_class(retained_margin(past, place))], step.changed)
        if worth != NOTHING and not (scales.table and moves_one(asked, past, place)):
            ratio[TURNS] = worth
    return counted


@part
def judge_select(asked, memory, selection, s, energy, population, scales, scratch, ratio):
    """Channel `select`: for the first queries of client `s`, while all are retained. `energy` is the query's squared length."""
    held = np.int64(memory.held[s])
    own = weigh(asked.z, asked.c, population.middle, population.kinship, scratch.weights)
    apart(
        memory.z,
        memory.c,
        memory.order,
        s,
        held,
        selection.energy,
        energy,
        population.middle,
        scratch.weights,
        scratch.rounded,
        scratch.products,
        scratch.gaps,
    )
    selected = judge_selection(
        selection.energy,
        selection.gap,
        selection.widest,
        selection.closest,
        selection.nearer,
        s,
        held,
        scratch.gaps,
        energy,
        abs(energy - own),
        scales.neighbour,
    )
    if selected != 0:
        ratio[SELECT] = CONSTRUCTED[SELECT] if selected > 0 else ORDINARY[SELECT]
