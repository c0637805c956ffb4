"""Circle: a record of a table of two numbers lies on one ellipse with earlier ones, about a record that was asked before.

Estimates of a gradient without the model ask at one distance about one place, in random directions (HopSkipJump: Chen et al.,
S&P 2020, section 3; the sphere of zeroth-order methods). In few columns the halvings before are two or three, which is no
evidence, so the probes themselves are. How the thief scales his columns is not known: about a centre, the squares of the moves
of both columns lie on one line for all his probes, whatever the scale.

Every retained record that is about as far from the centre makes such a line with the query. What counts is how many others lie
on the line of one of them, and how seldom that happens by accident, given the rounding of the grid.

What innocent clients do: a slider moves one column; a plan of experiments has its corners at equal moves, which make no line;
draws about a record lie at distances that vary. A plan on a lattice has the same moves again and again, and none of these
counts. A tester who moves records by a fixed length in random directions makes the attack's own queries.

Blind to: tables of more numbers, where halvings are more and are seen; probes on a grid so coarse that few moves differ; and
probes whose centre was never asked.
"""

import numpy as np

from detector.engine.kernels import kernel

NUMBERS = 2
WIDE = 2.56  # largest ratio of two squared distances from the centre, as ranges of different samples scale them
MOST = 12  # latest records about a centre that are looked at
LEAST = 5  # records about a centre, without which no line says anything
SIGMAS = 3.0  # deviations of rounding that are allowed
UNLIKELY = np.log(1e4)  # logarithm of the odds against an accident, from which a query lies on a circle
LEAST_MOVE = 3.0  # of a column, in roundings


@kernel
def blur_of(move, other, weight, grain, other_grain):
    """Return the deviation that rounding gives to ``move^2 + weight * other^2``, where each move is between two rounded values.

    `grain` and `other_grain` are the squared deviations of the two moves.
    """
    first = 2.0 * move
    second = 2.0 * weight * other
    return np.sqrt(first * first * grain + second * second * other_grain)


@kernel
def alike(x, y, other_x, other_y, level):
    """Tell whether two moves are of one size in either column, up to rounding."""
    near = abs(x - other_x) <= 1.0 + 0.5 * np.float64(level[0])
    return bool(near or abs(y - other_y) <= 1.0 + 0.5 * np.float64(level[1]))


@kernel
def about(query, z, order, held, centre, level, moves):
    """Write the moves (MOST, 2) of the latest records from `centre` that may be siblings of the query; return how many.

    Of moves with one size in a column, as records of a lattice have, one is kept, and none of the size of the query's.
    """
    first = np.float64(query[0]) - np.float64(z[0, centre])
    second = np.float64(query[1]) - np.float64(z[1, centre])
    least = LEAST_MOVE * (1.0 + np.float64(level[0]))
    other_least = LEAST_MOVE * (1.0 + np.float64(level[1]))
    if abs(first) < least or abs(second) < other_least:
        return 0
    reach = first * first + second * second
    oldest = np.empty(MOST, np.int64)
    found = 0
    for m in range(held):
        if order[m] <= order[centre]:
            continue
        x = np.float64(z[0, m]) - np.float64(z[0, centre])
        y = np.float64(z[1, m]) - np.float64(z[1, centre])
        square = x * x + y * y
        if square > WIDE * reach or reach > WIDE * square or abs(x) < least or abs(y) < other_least:
            continue
        like = True
        for k in range(NUMBERS, query.shape[0]):
            like = bool(like and abs(np.float64(z[k, m]) - np.float64(z[k, centre])) <= 1.0)
        if not like:
            continue
        at = found
        if found == MOST:
            at = 0
            for k in range(1, MOST):
                if oldest[k] < oldest[at]:
                    at = k
            if np.int64(order[m]) < oldest[at]:
                continue
        else:
            found += 1
        oldest[at] = np.int64(order[m])
        moves[at, 0] = abs(x)
        moves[at, 1] = abs(y)
    kept = 0
    for m in range(found):
        alone = not alike(moves[m, 0], moves[m, 1], abs(first), abs(second), level)
        for n in range(kept):
            alone = bool(alone and not alike(moves[m, 0], moves[m, 1], moves[n, 0], moves[n, 1], level))
        if alone:
            moves[kept, 0], moves[kept, 1] = moves[m, 0], moves[m, 1]
            kept += 1
    return kept


@kernel
def line_worth(first, second, moves, found, level):
    """Return the logarithm of the odds that the `moves` of records about a centre lie on one line with those of the query.

    `first` and `second` are the moves of the query. The record that makes the line is chosen among `found`.
    """
    grain = (np.float64(level[0]) * np.float64(level[0]) + 1.0) / 6.0
    other_grain = (np.float64(level[1]) * np.float64(level[1]) + 1.0) / 6.0
    best = 0.0
    for m in range(found):
        rise = first * first - moves[m, 0] * moves[m, 0]
        run = moves[m, 1] * moves[m, 1] - second * second
        # A longer ellipse, or none, passes through both about the centre.
        if rise * run <= 0.0 or not 1.0 < WIDE * WIDE * rise / run < WIDE**4:
            continue
        weight = rise / run
        whole = first * first + weight * second * second
        own = blur_of(first, second, weight, grain, other_grain)
        made = own + blur_of(moves[m, 0], moves[m, 1], weight, grain, other_grain)
        worth = 0.0
        for n in range(found):
            if n == m:
                continue
            off = abs(moves[n, 0] * moves[n, 0] + weight * moves[n, 1] * moves[n, 1] - whole)
            far = abs(moves[n, 1] * moves[n, 1] - second * second) / abs(run)
            spare = SIGMAS * (own + blur_of(moves[n, 0], moves[n, 1], weight, grain, other_grain) + far * made)
            if off <= spare < 0.25 * whole:
                worth += np.log(0.5 * whole / spare)
        best = max(best, worth)
    return best


@kernel
def circle_centre(query, z, order, held, near, level):
    """Return the place of the record about which the query lies on a circle with others, -1 if there is none.

    `query` (coordinates,) and `z` (coordinates, places) are in the memory's integers, the two numbers first, and `level`
    (coordinates,) is the distance between two values of each. `near` (n,) are the places of the nearest records.
    """
    moves = np.empty((MOST, NUMBERS))
    for centre in near:
        found = about(query, z, order, held, centre, level, moves)
        if found < LEAST:
            continue
        first = abs(np.float64(query[0]) - np.float64(z[0, centre]))
        second = abs(np.float64(query[1]) - np.float64(z[1, centre]))
        worth = line_worth(first, second, moves, found, level)
        if worth - np.log(np.float64(near.shape[0] * found)) >= UNLIKELY:
            return centre
    return np.int64(-1)
