"""Offset: the query is an earlier query plus a flat step.

Jacobian-based augmentation and its relatives (JbDA: Papernot et al., AsiaCCS 2017; T-RND: Juuti et al., EuroS&P 2019) move
every input value of a seed by the same amount, up or down. Innocent traffic does not: the difference between two frames of a
camera, or between two records, is uneven. So a query counts when its step from the nearest retained query moves several values
by one size, in both directions, and is neither tiny nor huge. A thief may add noise to the steps or draw their sizes. Their
kurtosis is then still near 1, while that of a sensor's noise is 3.

Embeddings are often vectors of one length, so a thief scales the moved query to that length again, and the step is flat no
longer. There a query also counts if a multiple of it lies a flat step away from one of the nearest retained queries.
"""

import numpy as np

from detector.engine.evidence.channel import Channel, Counted
from detector.engine.evidence.step import is_own_level
from detector.engine.evidence.tone import von_neumann_ratio
from detector.engine.kernels import kernel

CHANNEL = Channel(
    name="offset",
    kind="construction",
    floor=16.0,
    ratio=Counted(attack=0.4, innocent=0.002),
    title="Queries made by flat steps",
    description="Queries are earlier queries moved by one flat step.",
    meaning="queries are earlier queries moved by one flat step, as data augmentation along the model's gradient does",
    lookalike="a tester who adds random noise of one size to every input value asks the very same queries",
    innocent=(
        "A tester who adds random noise of one size to every value asks the attack's own queries and is taken for a thief. "
        "Guards keep others out. Changes of brightness, contrast or gamma move values by a smooth function of themselves, "
        "which has a low von Neumann ratio. A steady camera flickers by single levels of its sensor, so a step must exceed "
        "the grain of the population's values. Readings that differ by less than the memory can resolve look flat once they "
        "are rounded, so a step must exceed that by far. Dithered, binary and posterised pictures move to values that they "
        "have elsewhere."
    ),
    blind_to=(
        "Steps below 2% of the value range, heavy-tailed step sizes, a random shift added to the whole query, inputs with "
        "fewer than eight sampled values, and steps in tables that move all columns to the same sides as an earlier one did."
    ),
)

MOVED = 1e-3  # least move of a value that counts as moved, in value ranges
LARGEST = 0.4  # largest flat step, in value ranges
CLOSEST = 0.144  # least length of the step, in median nearest-neighbour distances
GRAINS = 1.5  # least flat step in levels of the population's values: rounding alone makes flat steps of one level
EVEN = 16  # minimum number of unclipped values for the kurtosis test; fewer have similar sizes by accident
FLATTEST = 1.28  # largest kurtosis of a flat step: steps of one size have 1, uniformly drawn sizes 1.8, a sensor's noise 3
FLATTEST_MORE = 0.00375  # added to it for each value, since chance varies less among many values
UNCLIPPED_EQUAL = 0.65  # least share of equal steps among those not clipped by the range; a fade moves greys by uneven amounts
KNOWN = 0.8  # largest share of the steps that end on a value which the retained query has elsewhere
ROUNDINGS = 4.5  # least flat step in roundings of the memory, which turn small noise into steps of few sizes
ROUNDINGS_FEW = 10.0  # the same where fewer than `EVEN` values moved, since few values agree sooner by accident
NEAREST = 4  # retained queries that a query on a sphere is compared with: the one it was made from need not be the nearest
ROUNDS = 4  # of fitting the multiple and the size of the step in turn; the signs settle in two or three


@kernel
def flattened(start, values, zero, unit, step):
    """Write into `step` (samples,), in value ranges, the flattest step from a retained query to a multiple of the new one.

    `start` and `values` (samples,) are their sampled values in steps of `unit`, in which `zero` is the raw value 0. The
    multiple and the size of the step are fitted by least squares to the signs of the step, which are found in turn. False where
    no positive multiple is found.
    """
    own = 0.0
    shared = 0.0
    for j in range(step.shape[0]):
        q = np.float64(values[j]) - zero
        own += q * q
        shared += q * (np.float64(start[j]) - zero)
    multiple = 1.0
    for _ in range(ROUNDS):
        along = 0.0  # of the query and the signs
        back = 0.0  # of the retained query and the signs
        for j in range(step.shape[0]):
            q = np.float64(values[j]) - zero
            x = np.float64(start[j]) - zero
            sign = 1.0 if multiple * q > x else -1.0
            along += sign * q
            back += sign * x
        rest = own - along * along / step.shape[0]
        if rest <= 0.0:
            return False
        multiple = (shared - along * back / step.shape[0]) / rest
        if multiple <= 0.0:
            return False
    for j in range(step.shape[0]):
        step[j] = np.float32((multiple * (np.float64(values[j]) - zero) - (np.float64(start[j]) - zero)) * unit)
    return True


@kernel
def ends_on_known(retained, delta, least, rounding):
    """Return how many values that moved by more than `least` end on one that the retained query has elsewhere."""
    known = 0
    for j in range(delta.shape[0]):
        if abs(delta[j]) > least:
            for k in range(delta.shape[0]):
                if abs(np.float32(retained[k]) - np.float32(retained[j]) - delta[j] / rounding) < 1.0:
                    known += 1
                    break
    return known


@kernel
def is_flat_offset(delta, retained, distance, rounding, grain, lowest, highest):
    """Tell whether the sampled values moved by one size.

    `delta` (samples,) is the query minus the nearest retained query, in value ranges, exact to `rounding`. `retained` are the
    values of the retained query in units of `rounding`, from `lowest` to `highest`. `distance` is the distance of the two in
    median nearest-neighbour distances. `grain` is the size of one level of the population's values in value ranges, 0 where
    they are continuous.
    """
    if distance < CLOSEST:
        return False
    # No branch depends on the data: one that the processor guesses wrong takes longer than all that it would have skipped.
    longest = np.float32(0.0)
    moved = 0
    up = 0
    for j in range(delta.shape[0]):
        longest = max(longest, abs(delta[j]))
        moved += int(abs(delta[j]) > MOVED)
        up += int(delta[j] > MOVED)
    largest = np.float64(longest)
    roundings = ROUNDINGS if moved >= EVEN else ROUNDINGS_FEW
    if moved < 6 or largest >= LARGEST or largest <= max(GRAINS * grain, roundings * rounding):
        return False
    room = np.float32(largest / rounding + 1.0)
    bottom = lowest + room
    top = highest - room
    least_full = 0.97 * largest - rounding
    equal = 0
    free = 0
    free_moved = 0
    free_up = 0
    unclipped = 0
    unclipped_equal = 0
    mean = 0.0
    for j in range(delta.shape[0]):
        full = int(abs(delta[j]) > least_full)
        far = int(abs(delta[j]) > MOVED)
        inside = int(bottom <= retained[j]) & int(retained[j] <= top)
        end = np.float32(retained[j]) + delta[j] / rounding
        whole = far & int(lowest + 1.0 < end) & int(end < highest - 1.0)
        free += inside
        free_moved += inside & far
        free_up += inside & int(delta[j] > MOVED)
        mean += np.float64(delta[j]) * inside
        unclipped += whole
        unclipped_equal += whole & full
        equal += full
    minority = min(up, moved - up) / moved
    one_size = equal > 0.5 * moved and minority > 0.04 and unclipped_equal >= UNCLIPPED_EQUAL * unclipped
    even = False
    if free >= EVEN and min(free_up, free_moved - free_up) > 0.2 * free:
        mean /= free
        second = 0.0
        fourth = 0.0
        for j in range(delta.shape[0]):
            if lowest + room <= retained[j] <= highest - room:
                square = (np.float64(delta[j]) - mean) ** 2
                second += square
                fourth += square * square
        even = free * fourth < (FLATTEST + FLATTEST_MORE * free) * second * second
    if not (one_size or even) or ends_on_known(retained, delta, least_full, rounding) > KNOWN * equal:
        return False
    if is_own_level(retained, delta, largest, rounding):
        return False
    ratio = von_neumann_ratio(delta, retained)
    return (one_size and ratio > 0.4) or (even and ratio > 0.6)
