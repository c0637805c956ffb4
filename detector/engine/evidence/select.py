"""Select: queries were chosen to be far from all earlier ones, each at nearly the same, slowly shrinking distance.

Greedy k-center (Gonzalez, 1985; core-set selection, Sener and Savarese, ICLR 2018; a strategy of ActiveThief, Pal et al., AAAI
2020) chooses from a pool of examples: always the one farthest from everything asked so far. Every later query was in the pool
as well and was a little nearer, since the radius shrinks by a fraction of a percent per query.

The channel takes a query and the seven after it, and their distances to what was asked before these eight. In a selection the
first of the eight is the farthest, or nearly so, and none is much nearer. For innocent queries in no particular order neither
holds: the first takes each rank with equal probability, and the distances spread. Both conditions are needed, since a scrolling
picture also keeps its distances, but not the order. All eight must be far from the earlier queries; neighbours say nothing.
Some populations spread over so many directions alike that their queries look selected in any order. There the channel is
silent.

The distances must be nearly exact. The projection and the sampled values together determine most of them, and the length of
the query determines the rest. A query with more than a quarter of the squared distance unknown is no evidence. All earlier
queries must be retained, so the channel works until the first of them is displaced from the memory.
"""

from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.columns import Column
from detector.engine.evidence.channel import Channel, Counted
from detector.engine.kernels import kernel

RATE_INNOCENT = 0.12  # share of innocent queries that look selected
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

FIRST = 64  # first queries of a client, which alone are judged
WAIT = 8  # queries in a comparison: one and the seven after it
WIDER = 1.05  # none of the seven may be farther than this multiple of the first one's distance
NARROWER = 0.85  # all of the seven must be farther than this multiple of the first one's distance
LEAST_NEARER = 4  # so many of the seven must be nearer than the first one
APART = 1.2  # least distance of a selection, in median nearest-neighbour distances
INEXACT = 0.25  # largest unknown share of a squared distance


class Selection(NamedTuple):
    """Per client: the lengths of its first queries, and the comparisons of the latest of them.

    `energy` is the squared length of each of the first queries. For each of the latest, `gap` is its squared distance to the
    nearest query before it. `widest` and `closest` are the largest and the smallest such distance of the queries after it, to
    the same earlier queries. `nearer` is how many of them were nearer than it.
    """

    energy: Annotated[npt.NDArray[np.float32], Column(FIRST)]
    gap: Annotated[npt.NDArray[np.float32], Column(WAIT)]
    widest: Annotated[npt.NDArray[np.float32], Column(WAIT)]
    closest: Annotated[npt.NDArray[np.float32], Column(WAIT)]
    nearer: Annotated[npt.NDArray[np.uint8], Column(WAIT)]


@kernel
def weigh(z, c, middle, kinship, weights):
    """Write the weights of another query's integers in the scalar product with this one; return the product with itself.

    `z` and `c` are the query's integers, `middle` the population's mean of `c`, and `kinship` is that of the reference.
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
    """Write the squared distances of a query to the client's earlier ones into `gaps`, in stream order.

    `weights` are those of the query (see `weigh`), `energy` its squared length; `rounded` and `products` are scratch.
    """
    coordinates = z_of.shape[1]
    largest = np.float32(1e-30)
    for j in range(rounded.shape[0]):
        largest = max(largest, abs(weights[coordinates + j]))
    step = largest / np.float32(32767.0)
    shift = 0.0
    for j in range(rounded.shape[0]):
        # Sums of whole numbers are exact in any order, so the processor may take several at a time.
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
    """Take the client's next query; return 1 if the one seven before it looks selected, -1 if not, 0 if there was none.

    `asked` counts the queries before. `gaps` are the squared distances to them, in their order. `unexplained` is the part of
    the query's squared length `energy` that the reduction does not account for. `neighbour` is the population's median
    nearest-neighbour distance.
    """
    nearest = np.inf
    judged = asked - WAIT + 1
    for earlier in range(asked):
        if earlier >= judged:
            place = earlier % WAIT
            # A distance that is not known well enough is no evidence: with 0 here nothing counts as nearer.
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
