"""Steer: on a line through earlier queries the client goes where the last answer tells it, cut after cut.

A search for the boundary need not halve. It may cut its bracket at the golden section, at random, near an end, or stop after
two cuts. What it cannot do without is the answer: the next cut lies between the latest one and its neighbour on the line that
has the other label. Somebody who fades one input into another, mixes pairs or moves a slider asks on such lines, too, but not
by what the model said: the next query goes on in the same direction, or anywhere. So each cut is a bet on a side. `FOLLOWS` is
how often a search keeps to it. The odds against it come from the client itself, by how often it turned back on such lines
before, and from the room: the larger the share of the line inside the bracket, the more of those who choose a place at random
meet it.

A cut counts where the latest query on its line is one of the nearest, and lies between two others. A change of intensity is no
such line (see `tone`): somebody may well seek how dark a picture can get. In tables at least `MANY` numbers must move.

The bets of a client are multiplied, however many other queries lie between them: cover neither adds to them nor takes away.
Once their product is as improbable as what stops a client, it is told to the channel `bisect` as a whole, and begins anew.

Blind to: cuts under noise, searches whose latest cut the memory has lost (many woven into each other), one column or two,
inputs on a sphere, and steps below rounding.
"""

import numpy as np

from detector.engine.evidence.bisect import CHANNEL, MANY, PICTURE, halves_contents, halves_faint, on_record_line
from detector.engine.evidence.interval import LEAST_LENGTH, MOST_BLUR, on_line
from detector.engine.evidence.opposite import differences
from detector.engine.kernels import kernel, part

FOLLOWS = 0.9  # share of a search's cuts that are inside the bracket: rounding and noisy answers lead some astray
STRAYS = np.log((1.0 - FOLLOWS) / 0.5)  # worth of a query that leaves the bracket
ENOUGH = CHANNEL.floor  # improbability of a client's bets, as a logarithm, that is told
UNIT = 1.0 / 2048.0  # of the bets' product as it is kept, a logarithm; 16 bits hold twice what is enough
TURNS_KEPT = 15  # latest moves, or so, that say how often a client turns back: beyond them both counts are halved
ROUNDED = np.float32(2.0)  # least level of a number: both ends of a step are rounded to whole integers of the memory
AMONG_RECORDS = 2  # nearest records that may be the latest cut; each one costs the comparison with all others


@kernel
def bet(went_on, moves, onward, share):
    """Return what a cut inside the bracket is worth, as a logarithm.

    Of the client's latest `moves` on lines, `went_on` went on in their direction; this one does if `onward`. `share` is the
    part of the line that lies in the bracket.
    """
    habit = (went_on + 1.5) / (moves + 3.0)
    return np.log(FOLLOWS / max(habit if onward else 1.0 - habit, share))


@kernel
def place_on_ray(start, query, point, numbers, level, tolerance, blur):
    """Return where `point` lies on the line from `start` (0) to the query (1); NaN if it lies off the line.

    All are (coordinates,), of pictures in units of one rounding. With `numbers` they are records; see `on_record_line`.
    """
    if numbers > 0:
        place, _, moved = on_record_line(point, start, query, numbers, level)
        return place if moved >= MANY else np.nan
    nowhere = np.zeros(0, np.float32)
    along = 0.0
    step = 0.0
    way = 0.0
    for k in range(query.shape[0]):
        there = np.float64(point[k]) - np.float64(start[k])
        here = np.float64(query[k]) - np.float64(start[k])
        along += here * there
        step += here * here
        way += there * there
    if step < LEAST_LENGTH * blur or way < LEAST_LENGTH * blur or step == 0.0:
        return np.nan
    if along < 0.0:
        found = on_line(point, query, start, nowhere, tolerance, blur)
    elif way > step:
        found = on_line(start, point, query, nowhere, tolerance, blur)
    else:
        found = on_line(start, query, point, nowhere, tolerance, blur)
    return along / step if 0.0 < found < 1.0 else np.nan


@kernel
def may_align(across, squares, start, other, tolerance, blur):
    """Return -1 or 1 where the query may lie on one line with two retained ones, 1 where it lies between them; else 0.

    `across` (few, places) are differences of retained queries from the new one in a few coordinates; 0 is certain.
    """
    own = 0.0
    there = 0.0
    both = 0.0
    for k in range(across.shape[0]):
        own += np.float64(across[k, start]) * across[k, start]
        there += np.float64(across[k, other]) * across[k, other]
        both += np.float64(across[k, start]) * across[k, other]
    length = own + there - 2.0 * both if both < 0.0 else max(own, there)
    closest = np.float64(min(squares[start], squares[other]))
    limit = 1.001 * tolerance * tolerance * closest + MOST_BLUR * blur + 1.0
    if own * there - both * both > limit * length:
        return 0
    return 1 if both < 0.0 else -1


@kernel
def may_cut(across, squares, held, start, tolerance, blur):
    """Tell whether the query may lie on a line through the retained query at `start`, with others both ways; False is certain.

    For the arguments see `may_align`.
    """
    before = False
    beyond = False
    for m in range(held):
        if m == start:
            continue
        side = may_align(across, squares, start, m, tolerance, blur)
        before = before or side < 0
        beyond = beyond or side > 0
        if before and beyond:
            return True
    return False


@kernel
def may_cut_records(query, z, held, start, numbers, level):
    """Tell whether the record may lie between the retained one at `start` and another one, in all numbers; False is certain."""
    for m in range(held):
        between = m != start
        for k in range(numbers):
            if not between:
                break
            one = np.float64(z[k, start]) - np.float64(query[k])
            other = np.float64(z[k, m]) - np.float64(query[k])
            blur = 0.5 * np.float64(level[k]) + 1.0
            between = not ((one > blur and other > blur) or (one < -blur and other < -blur))
        if between:
            return True
    return False


@kernel
def read_line(query, z, sharpness, across, squares, label, order, held, start, numbers, level, tolerance, blur):
    """Return (kind, onward, share, nearest ends, farthest ends) of the line from the retained query at `start` to the new one.

    `kind` is 1 for a query between `start` and its neighbour with another label, -1 for one that leaves the bracket of `start`,
    and 0 where the line tells nothing: no query on one side, one label only, no bracket at `start`, or a later query on the
    line. `onward` tells whether the client goes on in the direction of its move to `start`. `share` is the part of the line
    that lies in the bracket. The ends are places, first that behind `start`. `z` (coordinates, places) are the retained
    queries, which `sharpness` (coordinates,) brings to the unit of rounding where they are no records. For `across` and
    `squares`, which are not read for records, see `may_align`.
    """
    nothing = (0, False, 1.0, -1, -1, -1, -1)
    first, last = -np.inf, np.inf  # nearest places behind and beyond
    back, forth = 0.0, 0.0  # farthest ones
    behind, beyond, far_behind, far_beyond = -1, -1, -1, -1
    leaps = False
    latest = -1
    onward = False
    point = np.empty(query.shape[0], np.float32)
    here = np.empty(query.shape[0], np.float32)
    asked = np.empty(query.shape[0], np.float32)
    grain = np.empty(query.shape[0], np.float32)
    for k in range(query.shape[0]):
        grain[k] = max(np.float32(level[k]), ROUNDED)
        factor = np.float32(1.0) if numbers > 0 else sharpness[k]
        here[k] = np.float32(z[k, start]) * factor
        asked[k] = query[k] * factor
    one_label = True
    for m in range(held):
        if m == start or (numbers == 0 and may_align(across, squares, start, m, tolerance, blur) == 0):
            continue
        for k in range(query.shape[0]):
            point[k] = np.float32(z[k, m]) * (np.float32(1.0) if numbers > 0 else sharpness[k])
        place = place_on_ray(here, asked, point, numbers, grain, tolerance, blur)
        if np.isnan(place):
            continue
        if order[m] > order[start]:
            return nothing
        one_label = one_label and label[m] == label[start]
        if latest < 0 or order[m] > order[latest]:
            latest = m
            onward = place < 0.0
        if place < 0.0:
            if place > first:
                first, behind = place, m
            if place < back:
                back, far_behind = place, m
        elif place > 1.0:
            if place < last:
                last, beyond = place, m
            if place > forth:
                forth, far_beyond = place, m
        else:
            leaps = True
    if behind < 0 or beyond < 0 or one_label:
        return nothing
    if leaps:
        return -1, onward, 1.0, behind, beyond, far_behind, far_beyond
    turned_behind = label[behind] != label[start]
    turned_beyond = label[beyond] != label[start]
    if turned_behind == turned_beyond:
        return nothing
    share = last / (forth - back)
    return (1 if turned_beyond else -1), onward, share, behind, beyond, far_behind, far_beyond


@part
def is_content(asked, past, scales, population, one, other, place):
    """Tell whether the line between two retained queries is more than a change of intensity, where these are pictures."""
    if scales.table or scales.measured < PICTURE:
        return True
    if halves_contents(asked, past, one, other, place, scales):
        return True
    return population.plain.shape[0] > 0 and halves_faint(asked, past, one, other, place, population, scales)


@part
def read_cut(asked, past, scales, population, across):
    """Return what `read_line` does for the latest query of those that may be the cut before this one, and its place.

    `across` (few, places) is scratch.
    """
    found = (0, False, 1.0, -1, -1, -1, -1)
    start = -1
    if population.origin.shape[0] > 0 or (scales.table and scales.numbers < MANY):
        return found, start
    tried = past.near.shape[0]
    if scales.table:
        tried = min(tried, AMONG_RECORDS)
    else:
        differences(asked.query, past.z, past.held, population.sharpness, across)
    for turn in range(tried + 1):
        place = past.newest if turn == 0 else past.near[turn - 1]
        if turn > 0 and place == past.newest:
            continue
        if scales.table:
            if not may_cut_records(asked.query, past.z, past.held, place, scales.numbers, population.level):
                continue
        elif not may_cut(across, past.squares, past.held, place, scales.tolerance, scales.blur):
            continue
        found = read_line(
            asked.query,
            past.z,
            population.sharpness,
            across,
            past.squares,
            past.label,
            past.order,
            past.held,
            place,
            scales.numbers,
            population.level,
            scales.tolerance,
            scales.blur,
        )
        if found[0] != 0:
            start = place
            break
    return found, start


@kernel
def habit_after(ways, onward):
    """Return the byte that counts a client's moves on lines, and how many of them went on, after another one."""
    went_on = np.int64(ways) >> 4
    moves = np.int64(ways) & TURNS_KEPT
    if moves == TURNS_KEPT:
        went_on >>= 1
        moves >>= 1
    return np.uint8((went_on + np.int64(onward)) << 4 | (moves + 1))
