"""Foreign: the queries of this client differ from each other in ways that the population's queries do not.

Take two unrelated queries of one client and look at how their difference spreads over the sampled input values, each in units
of its variance in the population. Benign pictures differ where pictures of this kind vary; noise, textures and photographs
of something else differ everywhere. A difference is blind to an offset and, relative to its own length, to gain and sign, so a
brighter, weaker or inverted camera does not show.

In tables the sampled values include categories, and the difference is taken along the population's principal directions as
well: records put together from independent columns break what belongs together.

The usual value and its spread come from the clients that taught the baseline. A crowd of neighbours counts twice at most, or a
video would convict itself.
"""

import numpy as np

from detector.engine.evidence.channel import Channel, Weighed
from detector.engine.kernels import kernel, part

MOST = 2.5  # logarithm of the largest likelihood ratio of one query
LEAST = -3.0
CHANNEL = Channel(
    name="foreign",
    kind="novelty",
    floor=24.0,
    ratio=Weighed(most=MOST, least=LEAST, carriers="foreign queries"),
    title="Queries of a foreign kind",
    description="Queries differ from each other where the population's hardly vary.",
    meaning="queries differ from each other where the population's hardly vary, as noise and other kinds of pictures do",
    lookalike="a mirrored, filtered or dithered camera, an explainer and a robustness tester are as foreign",
    innocent="A mirrored or edge-filtered camera, an explainer and a robustness tester are as foreign, so this is novelty.",
    blind_to=(
        "Foreign data of the population's own kind (another set of digits), and records built from benign values. Silent "
        "without a baseline."
    ),
)

APART = 1.6  # median nearest-neighbour distances between two queries that are unrelated
CROWD = 1.3  # likewise, below which one belongs to the crowd of the other
MOST_PER_CROWD = 2
PAIRS = 4
EDITED = 4  # sampled values; a record that differs from an earlier one in so few is that one, edited, and says nothing


@kernel
def spread_of_difference(one, other, variance, total):
    """Return how the difference of two rows of sampled values spreads: 1 as in the population, more where it varies little.

    `variance` (samples,) is the population's, 0 where there is no sample, `total` its sum, both in squared units of the rows.
    """
    scaled = 0.0
    length = 0.0
    count = 0
    for j in range(one.shape[0]):
        if variance[j] > 0.0:
            d = np.float64(one[j]) - np.float64(other[j])
            scaled += d * d / variance[j]
            length += d * d
            count += 1
    return scaled / length * total / count if length > 0.0 else 1.0


@kernel
def foreign_ratio(structure, usual, spread):
    """Return the likelihood ratio of a query whose differences spread like `structure`, a logarithm."""
    return np.float32(np.exp(min(max((structure - usual) / spread, LEAST), MOST)))


@part
def times_counted(asked, past, step, scales):
    """Return how often foreignness was counted for queries like the new one: the most of its cluster.

    An edited record says nothing, so it counts as if its cluster had been counted as often as it may be.
    """
    if scales.table:
        edited = 0
        for j in range(asked.c.shape[0]):
            edited += asked.c[j] != past.c[step.place, j]
        if edited <= EDITED:
            return MOST_PER_CROWD
    counted = 0
    if step.distance < CROWD:
        for m in range(past.held):
            if past.squares[m] * scales.unit * scales.unit < CROWD * CROWD:
                counted = max(counted, past.shown[m])
    return counted
