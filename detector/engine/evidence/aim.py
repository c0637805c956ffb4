"""Aim: the query is a small step from an earlier one, straight towards an earlier query with a different answer.

Walks along the decision boundary do this. The Boundary attack (Brendel et al., ICLR 2018) contracts towards its target after
every step; HopSkipJump (Chen et al., S&P 2020) and line search go back and forth between two examples. The client has asked
about the place it heads for and got another answer there. The step starts at the nearest earlier query or at the latest one.
Innocent traffic rarely points from one input at another, least of all where the model is undecided or its label changes.
"""

import numpy as np

from detector.engine.evidence.channel import Channel, Counted
from detector.engine.evidence.interval import TIGHT
from detector.engine.evidence.step import step_between
from detector.engine.evidence.tone import von_neumann_ratio
from detector.engine.kernels import kernel, part

CHANNEL = Channel(
    name="aim",
    kind="construction",
    floor=20.0,
    ratio=Counted(attack=0.25, innocent=0.006),
    title="Queries that step towards other answers",
    description="Queries are short steps towards earlier ones with other answers.",
    meaning="queries are short steps from earlier ones towards others with other answers, as walks along the boundary are",
    lookalike="a slider that fades one input into another, and augmentation that mixes pairs, come close",
    innocent=(
        "A slider that fades one picture into another, where it crosses from one answer to the other, and augmentation that "
        "mixes pairs."
    ),
    blind_to=(
        "Steps with noise of their own; tables, where every field that is tried makes a line; and spaces of a few dimensions, "
        "where steps point at something by accident."
    ),
)

CLOSE = 0.36  # longest step from the nearest retained query, in median nearest-neighbour distances
FAR = 0.72  # longest step from the latest query, in the same unit: the nearest retained query may lie closer by accident
UNDECIDED = 0.5  # largest margin of an undecided answer, as a difference of logarithms
STRAIGHT = 0.97  # least squared cosine between the step and the direction of the target
FAR_OFF = 2.5  # least distance from the start to the target, in lengths of the step
MOST_ON_LINE = 3  # most earlier queries on the line of the step; a slider leaves more
APART = 3  # least number of queries between the target and the step
SMOOTH = 0.25  # largest von Neumann ratio of a step that follows the brightness of the picture


@kernel
def aims_at_other(query, z, squares, held, retained, label, order, stored):
    """Tell whether the step from `retained` to the query points at a retained query with another label than `retained` has.

    That target must be the first retained query in the direction of the step, and far off compared with the step. Few others
    may lie on the line: a slider that is set at random leaves queries all along its line.

    `query` (coordinates,) and `z` (coordinates, retained) are in one unit. `squares` (retained,) are the squared distances of
    the query. `label` and `order` are the client's columns, and `stored` is how many queries were ever retained.
    """
    step = np.float64(squares[retained])
    if step <= 0.0:
        return False
    nearest = np.inf
    aims = False
    on_line = 0
    for m in range(held):
        if m == retained:
            continue
        along = 0.0
        length = 0.0
        for k in range(query.shape[0]):
            from_anchor = np.float64(query[k]) - np.float64(z[k, retained])
            way = np.float64(z[k, m]) - np.float64(z[k, retained])
            along += from_anchor * way
            length += way * way
        if length > 0.0 and along * along > STRAIGHT * step * length:
            on_line += 1
            if along > 0.0 and length < nearest and squares[m] > squares[retained]:
                nearest = length
                aims = bool(label[m] != label[retained] and stored - order[m] >= APART and length >= FAR_OFF * FAR_OFF * step)
    return aims and on_line <= MOST_ON_LINE


@part
def aims(asked, past, start, scales, delta):
    """Tell whether the new query is a short step from the retained query at `start`, straight at a query with another answer.

    A step that follows the brightness of the picture does not count. `delta` (measured,) is overwritten.
    """
    if not np.sqrt(past.squares[start]) * scales.unit < FAR:
        return False
    if not aims_at_other(asked.query, past.z, past.squares, past.held, start, past.label, past.order, past.stored):
        return False
    step_between(past.c[start], asked.c, scales.c_unit, delta)
    return von_neumann_ratio(delta, past.c[start, : scales.measured]) > SMOOTH


@part
def may_aim(asked, past, step, scales):
    """Tell whether to search for the target of a step: it is short, and the label changed or the answer is undecided."""
    if scales.tolerance < TIGHT or scales.table or not step.distance < CLOSE:
        return False
    return step.changed or past.label[past.newest] != asked.label or asked.margin < UNDECIDED
