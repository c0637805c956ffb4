"""Select: each query is about as far from all earlier ones as the next will be, far from all, and rarely the nearer one.

Greedy k-center (Gonzalez, 1985; core-set selection, Sener and Savarese, ICLR 2018; a strategy of ActiveThief, Pal et al., AAAI
2020) makes no query, it chooses: always the example that lies farthest from everything asked so far. Whatever it asks later was
there to be chosen and was nearer, but only just, for the radius shrinks by a fraction of a percent per query.

So take a query and the seven after it, and their distances to what had been asked before these eight. Of a selection the first
is the farthest, or nearly, and none is much nearer. Innocent queries in no particular order have neither: the first of them
comes anywhere in the order, each place as likely as the others, and their distances spread. Both are asked for, because a
picture that scrolls keeps its distances, too, but not the order. Neighbours say nothing: all must be far from what was there.
Where a population spreads over so many directions alike that its queries look selected in any order, the channel is silent.

Distances have to be nearly exact. The reduced query and its sampled values together tell more than each, the length of the
query tells the rest, and a query of which more than a quarter of the squared distance stays unknown is no evidence. All
earlier queries have to be remembered: the channel speaks while none has been displaced from the memory.
"""

from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.columns import Column
from detector.engine.evidence.channel import Channel, Counted
from detector.engine.kernels import kernel

RATE_INNOCENT = 0.12  # of innocent queries look selected
CHANNEL = Channel(
    name="select",
    kind="novelty",
    floor=24.0,
    ratio=Counted(attack=0.5, innocent=RATE_INNOCENT),
    title="Queries chosen to cover the inputs",
    description="Queries keep one distance from all earlier ones, too evenly for chance.",
    meaning="queries keep one large and slowly shrinking distance from all earlier ones, as examples selected to cover do",
    lookalike="a list that is sorted by how unusual its entries are, and a scrolling picture, come close",
    innocent=(
        "A list that is sorted by how unusual its entries are, and a picture that scrolls. Whoever orders queries like that "
        "may be innocent, so this is novelty."
    ),
    blind_to=(
        "Selections by the copy's answers (its outputs, its uncertainty, DFAL), which agree with the victim's too little to "
        "leave an order; examples that are foreign to the population; tables, whose distances depend on units that the thief "
        "chose; and selections in shuffled rounds, under cover, or after the first sixty-four queries."
    ),
)

FIRST = 64  # queries of a client, the only ones looked at
WAIT = 8  # a query and those it is compared with
WIDER = 1.05  # times its distance, that none of the others may be at
NARROWER = 0.85  # times its distance, that all of them must be at
LEAST_NEARER = 4  # of the seven others
APART = 1.2  # median nearest-neighbour distances that a selection keeps at least
INEXACT = 0.25  # of a squared distance


class Selection(NamedTuple):
    """Per client: its first queries, and in more detail the latest of them, each in its turn.

    `energy` is the squared length of each of the first. Of the latest, `gap` is the squared distance to all queries before it,
    `widest` and `closest` the largest and the smallest such distance of those that came after it (to the same queries), and
    `nearer` how many of them were nearer.
    """

    energy: Annotated[npt.NDArray[np.float32], Column(FIRST)]
    gap: Annotated[npt.NDArray[np.float32], Column(WAIT)]
    widest: Annotated[npt.NDArray[np.float32], Column(WAIT)]
    closest: Annotated[npt.NDArray[np.float32], Column(WAIT)]
    nearer: Annotated[npt.NDArray[np.uint8], Column(WAIT)]


@kernel
def weigh(z, c, middle, kinship, weights):
    """Write into `weights` what the product with another query gives each of its integers; return the product with itself.

    `z` and `c` are the query's integers, `middle` the population's mean of `c`, `kinship` as in the reference.
    """
    coordinates = z.shape[0]
    weights[:] = 0.0
    for k in range(weights.shape[0]):
        value = np.float32(z[k]) if k < coordinates else np.float32(c[k - coordinates]) - middle[k - coordinates]
        for j in range(weights.shape[0]):
            weights[j] += kinship[k, j] * value
    own = 0.0
    for k in range(weights.shape[0]):
        value = np.float32(z[k]) if k < coordinates else np.float32(c[k - coordinates]) - middle[k - coordinates]
        own += np.float64(weights[k]) * value
    return own


@kernel
def apart(z_of, c_of, order_of, s, held, energy_of, energy, middle, weights, rounded, products, gaps):
    """Write into `gaps` the squared distances of a query to the client's earlier ones, in the order of asking.

    `weights` are the query's (see `weigh`), `energy` its squared length; `rounded` and `products` are scratch.
    """
    coordinates = z_of.shape[1]
    largest = np.float32(1e-30)
    for j in range(rounded.shape[0]):
        largest = max(largest, abs(weights[coordinates + j]))
    step = largest / np.float32(32767.0)
    shift = 0.0
    for j in range(rounded.shape[0]):
        # Whole numbers, because sums of them may be taken in any order, several at a time.
        rounded[j] = np.int32(np.rint(weights[coordinates + j] / step))
        shift += np.float64(rounded[j]) * middle[j]
    products[:] = 0.0
    for k in range(coordinates):
        for m in range(held):
            products[m] += weights[k] * np.float32(z_of[s, k, m])
    for m in range(held):
        total = np.int32(0)
        for j in range(rounded.shape[0]):
            total += rounded[j] * np.int32(c_of[s, m, j])
        product = products[m] + (np.float64(total) - shift) * step
        gaps[order_of[s, m]] = energy + energy_of[s, order_of[s, m]] - 2.0 * product


@kernel
def judge_selection(energy_of, gap_of, widest_of, closest_of, nearer_of, s, asked, gaps, energy, unexplained, neighbour):
    """Take the client's next query; return 1 if the one seven before looks selected, -1 if not, 0 if there was none.

    `asked` counts the queries before, `gaps` are the squared distances to them in their order, `unexplained` how much of the
    query's squared length `energy` the reduction does not account for, `neighbour` the population's median nearest-neighbour
    distance.
    """
    nearest = np.inf
    judged = asked - WAIT + 1
    for earlier in range(asked):
        if earlier >= judged:
            place = earlier % WAIT
            # Nothing is nearer than nothing: a distance that is not known well enough is no evidence.
            gap = np.float32(nearest if unexplained <= INEXACT * nearest else 0.0)
            widest_of[s, place] = max(widest_of[s, place], gap)
            closest_of[s, place] = min(closest_of[s, place], gap)
            nearer_of[s, place] += gap < gap_of[s, place]
        nearest = min(nearest, gaps[earlier])
    found = 0
    if judged >= 1:
        place = judged % WAIT
        gap = gap_of[s, place]
        regular = widest_of[s, place] < WIDER * WIDER * gap and closest_of[s, place] > NARROWER * NARROWER * gap
        new = closest_of[s, place] > APART * APART * neighbour * neighbour
        found = 1 if regular and new and nearer_of[s, place] >= LEAST_NEARER else -1
    energy_of[s, asked] = energy
    gap_of[s, asked % WAIT] = nearest if unexplained <= INEXACT * nearest else 0.0
    widest_of[s, asked % WAIT] = 0.0
    closest_of[s, asked % WAIT] = np.inf
    nearer_of[s, asked % WAIT] = 0
    return found
