"""Lattice: a step whose size differs from value to value by whole multiples of one length, up or down.

A thief who takes several sign steps before he asks once (T-RND; Juuti et al., EuroS&P 2019) moves each value by the size of one
step times how often its sign was plus less how often it was minus. Those are multiples of that size, all even or all odd. So
the moves lie on few points, one length apart, and about 0 on one of them or midway between two. The differences of other
pictures lie anywhere. That is the height of a periodogram (Schuster, 1898) whose phase is known. Rounding blurs the points, and
it is known by how much: the expected height follows from it.

Values of coarse grids differ by multiples as well, so the values of the picture that the step starts from must not lie on the
same lattice. A change of tone of few levels is a smooth function of them.

Blind to: pictures that went through a JPEG. It blurs the points so much that frames of a panning camera look as clear.
"""

import numpy as np

from detector.engine.evidence.tone import von_neumann_ratio
from detector.engine.kernels import kernel

LEAST_FREE = 16  # least number of values that are not clipped
TURNS = 1000  # frequencies are whole multiples of one in so many, in turns a step of the sampled values
COSINES = np.cos(2.0 * np.pi * np.arange(TURNS) / TURNS)
LONGEST = 0.25  # longest length of a lattice, in value ranges
SHORTEST = 9.0  # shortest one, in steps of the sampled values: shorter ones are noise of few levels
LEAST_HEIGHT = 0.5  # least height that rounding may leave; of lower ones a sample says too little
UNLIKELY = 5.3  # least height, in deviations of that of moves without a lattice; some 600 lengths, phases and places are tried
SPARE = 0.04  # what values that were clipped between two steps may take from the height
DEVIATIONS = 2.0  # deviations by which a height may fall short of the expected one
DISTINCT = 0.6  # largest share of different moves, of which rounding leaves at most three on a point
BLURRED = 1.0  # rounding from which it leaves more, as a square in steps of the sampled values
LEAST_POINTS = 3  # least number of points that hold several moves; two are those of a flat step or of a drawing
SEVERAL = 0.08  # share of the moves from which a point holds several
LATTICED = 0.7  # height from which the start lies on the lattice itself
SMOOTH = 0.3  # largest von Neumann ratio of a change of tone


@kernel
def height_of(moves, n, turns, middle):
    """Return (height, counted) of the periodogram of the first `n` moves at a frequency, with a phase of 0 or half a turn.

    With a phase of 0 the moves about 0 are not counted, since those of any two like pictures lie there. `middle` tells whether
    0 lies midway between two points.
    """
    height = 0.0
    counted = 0
    for j in range(n):
        if middle or 2 * abs(moves[j]) * turns >= TURNS:
            height += COSINES[moves[j] * turns % TURNS]
            counted += 1
    return (-height if middle else height) / max(counted, 1), counted


@kernel
def free_moves(start, values, lowest, highest, moves):
    """Write the moves from `start` to `values` (samples,) that were not clipped at an end into `moves`; return how many."""
    n = 0
    for j in range(start.shape[0]):
        if lowest + 1.0 < values[j] < highest - 1.0:
            moves[n] = np.int64(values[j]) - np.int64(start[j])
            n += 1
    return n


@kernel
def may_be_points(moves, n):
    """Tell whether the first `n` moves are far enough apart for a lattice, and few different ones."""
    least = moves[0]
    most = moves[0]
    for j in range(n):
        least = min(least, moves[j])
        most = max(most, moves[j])
    if most - least < (LEAST_POINTS - 1) * SHORTEST:
        return False
    seen = np.zeros(most - least + 1, np.bool_)
    distinct = 0
    for j in range(n):
        distinct += int(not seen[moves[j] - least])
        seen[moves[j] - least] = True
    return distinct <= DISTINCT * n


@kernel
def clearest_lattice(moves, n, rounding, extent):
    """Return (turns, middle) of the clearest lattice of the first `n` moves, turns being 0 where there is none.

    `rounding` is the expected square that rounding adds to a move and `extent` the value range, both in steps.
    """
    blur = 2.0 * np.pi * np.pi * rounding / TURNS / TURNS
    last = min(TURNS / SHORTEST, np.sqrt(-np.log(LEAST_HEIGHT) / blur))
    found = 0
    found_middle = False
    clearest = UNLIKELY
    for turns in range(int(np.ceil(TURNS / (LONGEST * extent))), int(last) + 1):
        expected = np.exp(-blur * turns * turns)
        deviation = np.sqrt(max(0.5 + 0.5 * expected**4 - expected * expected, 0.0))
        for phase in range(2):
            height, counted = height_of(moves, n, turns, phase == 1)
            if counted < LEAST_FREE or 2 * counted < n:
                continue
            clear = height * np.sqrt(2.0 * counted)
            if clear >= clearest and height >= expected - DEVIATIONS * deviation / np.sqrt(counted) - SPARE:
                clearest = clear
                found = turns
                found_middle = phase == 1
    return found, found_middle


@kernel
def points_of(moves, n, turns, middle):
    """Return how many points of a lattice hold several of the first `n` moves."""
    points = np.empty(n, np.int64)
    for j in range(n):
        points[j] = np.int64(np.rint(moves[j] * turns / TURNS - (0.5 if middle else 0.0)))
    found = 0
    for j in range(n):
        held = 0
        first = True
        for k in range(n):
            held += int(points[k] == points[j])
            first = first and not (k < j and points[k] == points[j])
        found += int(first and held >= SEVERAL * n)
    return found


@kernel
def lies_on_lattice(start, turns, lowest, highest):
    """Tell whether the values `start` (samples,) that do not lie at an end lie on a lattice themselves, of any phase."""
    along = 0.0
    aside = 0.0
    n = 0
    for value in start:
        if lowest + 1.0 < value < highest - 1.0:
            at = np.int64(value) * turns
            along += COSINES[at % TURNS]
            aside += COSINES[(at + 3 * TURNS // 4) % TURNS]
            n += 1
    return n > LEAST_POINTS and along * along + aside * aside >= (LATTICED * n) ** 2


@kernel
def steps_on_lattice(start, values, rounding, lowest, highest):
    """Tell whether the step between two pictures moves each value by a multiple of one length, up to rounding.

    `start` and `values` (samples,) are their sampled values, which run from `lowest` to `highest`. `rounding` is the expected
    square that it adds to a difference, in their steps; False where it is that of a JPEG.
    """
    if rounding >= BLURRED:
        return False
    moves = np.empty(start.shape[0], np.int64)
    n = free_moves(start, values, lowest, highest, moves)
    if n < LEAST_FREE or not may_be_points(moves, n):
        return False
    turns, middle = clearest_lattice(moves, n, rounding, highest - lowest)
    if turns == 0 or points_of(moves, n, turns, middle) < LEAST_POINTS or lies_on_lattice(start, turns, lowest, highest):
        return False
    begins = np.empty(n, start.dtype)
    k = 0
    for j in range(start.shape[0]):
        if lowest + 1.0 < values[j] < highest - 1.0:
            begins[k] = start[j]
            k += 1
    return von_neumann_ratio(moves[:n], begins) >= SMOOTH
