"""Crossing: a client turns one record into another, column by column, until the label turns.

Lowd and Meek (KDD 2005) begin so: of two records with different labels, the columns of one take the values of the other, one
after the other. The column that turned the label is then halved, and others are after it. An explainer that adds the features
of a record to a background record goes such a way, too, and on to its end (permutation SHAP), so the way alone says nothing.
Nor does it halve the step that turned the label, between two records that are neither of the two: such halvings count from
the first one on. An explainer that goes back to one of the two, to say how much is needed in one column, halves another step,
so elsewhere the way counts from the second column on. A person who edits a form does not know the values of a record that was
asked about before.

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
def is_crossing(query, values, z, c, labels, order, held, here, columns, level):
    """Tell whether the step from the record at `here` to the query lies on the way between two earlier records.

    `query` (coordinates,) and `values` (samples,) are the new record; `z`, `c`, `labels` and `order` are the client's retained
    records, and the first `held` places are filled. The way begins with the label of the record at `here` and ends with
    another one, which need not be that of the query: a third label may lie between.
    """
    needed = CHANCE + np.log(np.float64(held))
    for first in range(held):
        if labels[first] != labels[here] or order[first] > order[here]:
            continue
        for last in range(held):
            if labels[last] == labels[here] or order[last] > order[here]:
                continue
            if not lies_on_way(query, values, z, c, here, first, last, columns):
                continue
            if worth_of_way(query, z, order, held, here, first, last, columns, level) >= needed:
                return True
    return False


@part
def note_crossing(asked, past, halved, s, columns, level):
    """Return where the step began that turns the label on such a way, -1 for another; the mask `halved` of client `s` notes it.

    The step starts at the latest retained record that differs from the query in one column only. What a column without a
    coordinate of its own becomes says nothing, since two of its values may look equal, but the label may turn in it.
    """
    here = -1
    for m in range(past.held):
        if here >= 0 and past.order[m] < past.order[here]:
            continue
        if only_move(asked.query, past.z, m, columns) >= 0:
            here = m
    if here < 0 or past.label[here] == asked.label:
        return -1
    if not is_crossing(asked.query, asked.c, past.z, past.c, past.label, past.order, past.held, here, columns, level):
        return -1
    halved[s] |= WALKED
    return here
