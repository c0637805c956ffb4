"""Crossing: a client turns one record into another, column by column, until the label turns.

Lowd and Meek (KDD 2005) begin so: of two records with different labels, the columns of one take the values of the other, one
after the other. The column that turned the label is then halved, and others are after it. An explainer that goes such a way
halves nothing, or one column to say how much is needed, so the way counts from the second column on. A person who edits a form
does not know the values of a record that was asked about before.

Values agree by accident as well, the sooner the fewer levels a column has, or the more of the client's records share a value.
"""

import numpy as np

from detector.engine.evidence.halved import WALKED
from detector.engine.evidence.probe import only_move
from detector.engine.kernels import kernel, part

CHANCE = np.log(500.0)  # logarithm of the odds against an accident that are needed: those of a halving by accident


@kernel
def goes_on(one, other, first, last):
    """Tell whether a value that is first `one`, then `other`, is on its way from that of one record to that of another."""
    return (one == first and other in (first, last)) or (one == last and other == last)


@kernel
def lies_on_way(query, values, z, c, here, first, last, columns):
    """Tell whether the record at `here` and the query have the values of two records, and none goes back.

    Numbers with a coordinate of their own are compared exactly, the others as far as they are sampled, in 8 bits. Some number
    of `first` must be left: records with all numbers of `last` have not come to it on a way.
    """
    left = False
    for j in range(columns + values.shape[0]):
        if j < columns:
            one, other, begin, end = z[j, here], np.int16(query[j]), z[j, first], z[j, last]
            on = goes_on(one, other, begin, end)
            left = bool(left or (other == begin and begin != end))
        else:
            k = j - columns
            on = goes_on(c[here, k], values[k], c[first, k], c[last, k])
        if not on:
            return False
    return left


@kernel
def worth_of_way(query, z, order, held, here, first, last, columns, level):
    """Return the logarithm of the odds against an accident: that so many numbers of the query are those of `last`.

    Only numbers with a coordinate of their own say something, and one alone never enough. `level` (coordinates,) is how far
    two of their values are apart.
    """
    newest = max(order[first], order[last])
    worth = 0.0
    for k in range(columns):
        value = z[k, last]
        if np.int16(query[k]) != value or z[k, first] == value:
            continue
        like = 0
        earlier = 0
        for m in range(held):
            if m in (first, last, here) or order[m] > newest:
                continue
            earlier += 1
            like += z[k, m] == value
        levels = abs(np.float64(value) - np.float64(z[k, first])) / max(np.float64(level[k]), 1.0)
        worth += min(-np.log(min(max(1.0 / (levels + 1.0), like / max(earlier, 1)), 1.0)), CHANCE)
    return worth


@kernel
def is_crossing(query, values, label, z, c, labels, order, held, here, columns, level):
    """Tell whether the step from the record at `here` to the query lies on the way between two earlier records.

    `query` (coordinates,), `values` (samples,) and `label` are the new record; `z`, `c`, `labels` and `order` are the client's
    retained records, and the first `held` places are filled. The two records have the labels of the two ends of the step.
    """
    needed = CHANCE + np.log(np.float64(held))
    for first in range(held):
        if labels[first] != labels[here] or order[first] > order[here]:
            continue
        for last in range(held):
            if labels[last] != label or order[last] > order[here]:
                continue
            if not lies_on_way(query, values, z, c, here, first, last, columns):
                continue
            if worth_of_way(query, z, order, held, here, first, last, columns, level) >= needed:
                return True
    return False


@part
def note_crossing(asked, past, halved, s, columns, level):
    """Note in the mask `halved` of client `s` that it went such a way, where the label turns on it.

    The step starts at the latest retained record that differs from the query in one number only, which has a coordinate of its
    own: without one, two of its values may look equal.
    """
    if halved[s] & WALKED == WALKED:
        return
    here = -1
    for m in range(past.held):
        if here >= 0 and past.order[m] < past.order[here]:
            continue
        if 0 <= only_move(asked.query, past.z, m, columns) < columns:
            here = m
    if here < 0 or past.label[here] == asked.label:
        return
    if is_crossing(asked.query, asked.c, asked.label, past.z, past.c, past.label, past.order, past.held, here, columns, level):
        halved[s] |= WALKED
