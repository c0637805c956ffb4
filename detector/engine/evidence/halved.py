"""Halved: which columns a client has searched by halving, and what a halving counts beside them.

A person halves one column or two, and two by hand only. So the first halvings of a client count little, those of a second
column count in full only beyond `BY_HAND` halvings, and from the third column on all count early. To have turned one record
into another, column by column, counts as one more column beside another that was halved (see `crossing`).

The columns are bits of one mask. Columns with a coordinate of their own have a bit each. Those without one share the other
coordinates, so two of them are told apart by the direction of their moves, as far as three coordinates show it.
"""

import numpy as np

from detector.engine.evidence.bisect import RECORD_WEIGHTS
from detector.engine.evidence.children import NUMBERS
from detector.engine.kernels import kernel, part

MOST_ALONE = 2  # halvings that count while a client has halved one column only; one more counts in the second column
BY_HAND = 6  # halvings of a column by hand: they find an amount to 1 part in 64
# By depth. Of the queries that sliders and grids set inside a bracket, up to 1 in 11 halves one between two labels.
BESIDE = np.array([0.0, 0.06, 0.2, 1.0, 1.0, 1.0])  # between two labels, where two other columns were halved before
# The same where a way from one record to another turned the label (see `crossing`): nobody else halves that very step.
LED_WEIGHTS = np.array([0.0, 1.0, 1.0, 4.0])
BACK = 0.2  # weight of a return to a bracket that a descent has left

# Bits of the mask `halved`, after those of the columns with a coordinate of their own.
HIDDEN = NUMBERS  # the first column without one; the bits of its direction follow, then those of the second one's
DIRECTION = 6  # bits of a direction: its largest coordinate, and the signs of the next three
SHARED = 8  # coordinates that a direction is told by, at most
SECOND = HIDDEN + 1 + 2 * DIRECTION
THIRD = SECOND + 1  # a second and a third such column
RETURNED = np.uint32(1 << 31)  # the client went back to a bracket of one label that it had left
WALKED = np.uint32(1 << THIRD)  # the client went from one record to another, column by column; a bit that a third one shares
COLUMNS = np.uint32((1 << HIDDEN + 1) - 1 | 1 << SECOND | 1 << THIRD)
ALIKE = 0.7  # least share of its largest coordinate that a direction has in the largest one of an equal direction
TELLING = 0.25  # the share from which the sign of a coordinate is more than rounding
LEAST_TOLD = 16.0  # least length, in the memory's integers, of a move whose direction is known


@part
def move_of(z, low, high, columns, j):
    """Return the move between two records in the coordinate `j` of those that columns share."""
    k = columns + j
    return np.float64(z[k, high]) - np.float64(z[k, low])


@kernel
def direction_of(z, low, high, columns):
    """Return the direction of the move between two records, as bits, and its largest coordinate."""
    shared = min(z.shape[0] - columns, SHARED)
    largest = 0
    for j in range(shared):
        if abs(move_of(z, low, high, columns, j)) > abs(move_of(z, low, high, columns, largest)):
            largest = j
    lead = move_of(z, low, high, columns, largest)
    bits = largest
    for j in range(3):
        same = move_of(z, low, high, columns, (largest + j + 1) % shared) * lead > 0.0
        bits |= int(same) << (3 + j)
    return bits, abs(lead)


@kernel
def goes_along(z, low, high, columns, direction, length):
    """Tell whether the move between two records, whose largest coordinate has this length, may go in a known direction."""
    shared = min(z.shape[0] - columns, SHARED)
    largest = direction & 7
    lead = move_of(z, low, high, columns, largest)
    if abs(lead) < ALIKE * length - 1.0:
        return False
    for j in range(3):
        move = move_of(z, low, high, columns, (largest + j + 1) % shared)
        if abs(move) > TELLING * length and (move * lead > 0.0) != bool(direction >> (3 + j) & 1):
            return False
    return True


@kernel
def bits_of(column, z, low, high, columns, halved):
    """Return the bits that the mask `halved` gets for a column which the records at `low` and `high` differ in.

    `columns` is how many numbers have a coordinate of their own. There are no bits for a first column whose direction is not
    known: no other could be told from it.
    """
    if column < columns or columns < NUMBERS:
        return np.int64(1) << min(np.int64(column), HIDDEN)  # type: ignore[operator]  # numba's min keeps the type
    direction, length = direction_of(z, low, high, columns)
    first = not halved >> HIDDEN & 1
    if length < LEAST_TOLD:
        return np.int64(0) if first else np.int64(1) << HIDDEN
    if first:
        return np.int64(1) << HIDDEN | np.int64(direction) << (HIDDEN + 1)
    known = halved >> (HIDDEN + 1)
    if goes_along(z, low, high, columns, known & ((1 << DIRECTION) - 1), length):
        return np.int64(1) << HIDDEN
    if not halved >> SECOND & 1:
        return np.int64(1) << SECOND | np.int64(direction) << (HIDDEN + 1 + DIRECTION)
    if goes_along(z, low, high, columns, known >> DIRECTION & ((1 << DIRECTION) - 1), length):
        return np.int64(1) << SECOND
    return np.int64(1) << THIRD


@kernel
def other_columns(halved, bits):
    """Return how many columns other than that of `bits` are in the mask `halved`."""
    rest = np.int64(halved) & COLUMNS & ~bits
    if rest == np.int64(WALKED):  # an explainer goes such a way, too, and may ask then how much is needed in one column
        return 0
    found = 0
    while rest:
        rest &= rest - 1
        found += 1
    return found


@kernel
def halving_weight(depth, bits, turned, led, halved, alone, s):
    """Return the weight of a halving of one column, between two labels if `turned`, and note it for client `s`.

    `bits` are those of the column. It is `led` where a way from one record to another led to the bracket. `halved` (clients,)
    are masks of the columns that were halved deeply, and `alone` (clients,) counts the halvings while there are at most two of
    them.
    """
    others = other_columns(halved[s], bits)
    weight = RECORD_WEIGHTS[min(depth, RECORD_WEIGHTS.shape[0] - 1)]
    if weight > 0.0 or led:
        halved[s] |= np.uint32(bits)
    if led:
        return LED_WEIGHTS[min(depth, LED_WEIGHTS.shape[0] - 1)]
    if others > 1:
        return BESIDE[min(depth, BESIDE.shape[0] - 1)] if turned else weight
    if others == 1 and depth > BY_HAND:
        return weight
    if weight == 0.0 or alone[s] >= MOST_ALONE + others:
        return 0.0
    alone[s] += 1
    return weight


@part
def weight_within_label(depth, bracket, bits, single, halved, alone, s):
    """Return the weight of a halving between two answers of one label; `single`: one end has the query's answer.

    A query that goes back to a bracket which was left counts where a descent in this column has counted since the last such
    query; what follows it counts anew. A curve that is refined from end to end goes back, too, and never descends.
    """
    if not bracket.descends:
        if not bracket.chained:
            return 0.0
        after_descent = alone[s] > 0 and np.int64(halved[s]) & bits != 0
        alone[s] = 0
        halved[s] |= RETURNED
        return BACK if after_descent and bracket.middle else 0.0
    if not single and halved[s] & RETURNED == 0:
        return 0.0
    return halving_weight(depth, bits, False, False, halved, alone, s)
