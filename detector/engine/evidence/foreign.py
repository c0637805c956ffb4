"""Foreign: the queries of this client differ from each other in ways that the population's queries do not.

The channel takes two unrelated queries of one client. It measures how their difference spreads over the sampled input values,
each in units of its variance in the population. Benign pictures differ where pictures of this kind vary; noise, textures and
photographs of something else differ everywhere. A difference does not depend on an offset. Relative to its own length it does
not depend on gain and sign either, so a brighter, weaker or inverted camera does not count as foreign.

In tables the sampled values include categories. There the difference is also taken along the population's principal
directions: records put together from independent columns break correlations between columns.

Where all values vary alike (dense pictures, embeddings, standardised tables) only correlation tells. There the channel
measures how little of the difference lies in the leading directions of the population, those in which its differences are
largest. Noise fills all directions alike. The query must stray in itself, too, that is, in its distance from the population's
mean: versions of one picture with noise on each differ by noise alone, but each still is a picture. With much noise it is none,
so a query strays only if the client's earlier ones explain it hardly better than the population does.

Dense pictures of another kind are neither noise nor without correlation. They are remote (see `evidence.remote`), or drawn in
another way (see `evidence.look`). Embeddings
may have no correlation at all; how noise is told from them, see `evidence.noise`. Records whose columns are drawn one by one
have a view of their own: see `evidence.drawn`. The largest of the ratios counts.

The usual values and their spread come from the clients that taught the baseline. A cluster of near neighbours counts at most
twice; otherwise a video would collect evidence with every frame. Far from the population, where its own queries would be far
apart, clusters are wider: a query that is nearer to an earlier one than to the population is no new evidence. In tables it must
be nearer to it than to most of the client's own, too, since a record may be far in one column only.
"""

import numpy as np

from detector.engine.evidence.channel import Channel, Weighed
from detector.engine.evidence.counts import SHOWN, count_of
from detector.engine.kernels import kernel, part

MOST = 3.0  # logarithm of the largest likelihood ratio of one query
LEAST = -3.0
CHANNEL = Channel(
    name="foreign",
    kind="novelty",
    floor=24.0,
    opening_floor=16.0,
    ratio=Weighed(most=MOST, least=LEAST, carriers="foreign queries"),
    title="Queries of a foreign kind",
    description="Queries differ from each other where the population's hardly vary, or without its correlations.",
    meaning="queries differ from each other where the population's hardly vary, as noise and other kinds of pictures do",
    lookalike="a mirrored, filtered or dithered camera, an explainer and a robustness tester are as foreign",
    innocent="A mirrored or edge-filtered camera, an explainer and a robustness tester are as foreign, so this is novelty.",
    blind_to=(
        "Foreign data of the population's own kind (another set of digits, photographs among photographs), and records built "
        "from benign values where columns are nearly independent. Silent without a baseline."
    ),
)

APART = 1.6  # least distance between two unrelated queries, in median nearest-neighbour distances
CROWD = 1.3  # queries closer than this form one cluster, in median nearest-neighbour distances
KINDRED = 0.5  # share of a query's distance to the nearest landmark within which neighbours form a cluster, too
KINDRED_RECORDS = 0.25  # the same in tables, where most of the client's records must be as much farther away as landmarks
EXPLAINED = 0.7  # share of that distance within which a picture does not stray: two draws of pure noise are farther apart
MOST_PER_CROWD = 2
NEVER = 3  # stands for the count of an edited record
PAIRS = 4
ROUNDING = 1.0 / 6.0  # variance of the difference of two rounded values, in squared steps
EDITED = 4  # sampled values: a record that differs from an earlier one in at most so many is an edited copy and is not scored


@kernel
def spreads_of_differences(one, others, variance, total):
    """Return how the difference of one row of sampled values from each of four others spreads.

    1 is as in the population, more where that varies little. `variance` (samples,) is the population's variance, 0 where there
    is no sample, and `total` its sum, both in squared units of the rows. `others` is a tuple of rows. The four sums wait for
    themselves alone, not for each other, so four take little longer than one.
    """
    first, second, third, fourth = others
    scaled = (0.0, 0.0, 0.0, 0.0)
    length = (0.0, 0.0, 0.0, 0.0)
    count = 0
    for j in range(one.shape[0]):
        spread = np.float64(variance[j])
        if spread > 0.0:
            value = np.float64(one[j])
            a = value - np.float64(first[j])
            b = value - np.float64(second[j])
            c = value - np.float64(third[j])
            d = value - np.float64(fourth[j])
            a, b, c, d = a * a, b * b, c * c, d * d
            length = (length[0] + a, length[1] + b, length[2] + c, length[3] + d)
            scaled = (scaled[0] + a / spread, scaled[1] + b / spread, scaled[2] + c / spread, scaled[3] + d / spread)
            count += 1
    return (
        scaled[0] / length[0] * total / count if length[0] > 0.0 else 1.0,
        scaled[1] / length[1] * total / count if length[1] > 0.0 else 1.0,
        scaled[2] / length[2] * total / count if length[2] > 0.0 else 1.0,
        scaled[3] / length[3] * total / count if length[3] > 0.0 else 1.0,
    )


@kernel
def spread_of_difference(one, other, variance, total):
    """Return how the difference of two rows of sampled values spreads; see `spreads_of_differences`."""
    return spreads_of_differences(one, (other, other, other, other), variance, total)[0]


@kernel
def square_apart(one, other):
    """Return the squared distance of two rows of sampled values."""
    total = 0.0
    for j in range(one.shape[0]):
        d = np.float32(one[j]) - np.float32(other[j])
        total += np.float64(d) * d
    return total


@kernel
def led_energy(one, other, leading, along):
    """Return the squared distance of two rows of sampled values in the leading directions, and in all directions.

    `leading` (samples, directions) are orthonormal directions. `along` (directions,) is scratch.
    """
    along[:] = 0.0
    whole = 0.0
    for j in range(one.shape[0]):
        d = np.float32(one[j]) - np.float32(other[j])
        whole += np.float64(d) * d
        for k in range(along.shape[0]):
            along[k] += d * leading[j, k]
    led = 0.0
    for k in range(along.shape[0]):
        led += np.float64(along[k]) * along[k]
    return led, whole


@kernel
def stray_of(led, whole, directions, samples):
    """Return how far an energy strays from the leading directions: minus the logarithm of their share in the whole.

    The variance of rounding is added to each direction, so that what is below it says nothing.
    """
    return -np.log((led + ROUNDING * directions) / (max(whole, led) + ROUNDING * samples))


@kernel
def foreign_ratio(found, usual, spread):
    """Return the likelihood ratio of a query whose structure or stray is `found`."""
    return np.float32(np.exp(min(max((found - usual) / spread, LEAST), MOST)))


@kernel
def crowd_of(landmark, table):
    """Return the distance below which queries form one cluster; `landmark` is the log of the distance to the nearest landmark.

    For tables see `is_version`.
    """
    return CROWD if table else max(CROWD, KINDRED * np.exp(np.float64(landmark)))


@part
def is_version(asked, past, step):
    """Tell whether a record is a version of the nearest one: landmarks and most of the client's own are much farther away."""
    if step.distance >= KINDRED_RECORDS * np.exp(np.float64(asked.landmark)):
        return False
    farther = 0
    for m in range(past.held):
        farther += past.squares[m] * KINDRED_RECORDS * KINDRED_RECORDS > past.squares[step.place]
    return 2 * farther >= past.held


@part
def times_counted(asked, past, step, crowd, scales):
    """Return how often the cluster of the new query, of size `crowd`, was counted as foreign, and whether it counts no more.

    An edited record gets `NEVER`, since it must not be scored; what its neighbours were counted is another matter.
    """
    if scales.table:
        edited = 0
        for j in range(asked.c.shape[0]):
            edited += asked.c[j] != past.c[step.place, j]
        if edited <= EDITED:
            return NEVER, False
    counted = 0
    crowded = False
    if step.distance < crowd:
        for m in range(past.held):
            if past.squares[m] * scales.unit * scales.unit < crowd * crowd:
                shown = count_of(past, m, SHOWN)
                counted = max(counted, shown)
                crowded = crowded or shown == MOST_PER_CROWD
    return counted, crowded
