"""Remote: how far a query lies from all that the population asks about, in three views at once. The channel `foreign` uses it.

Pictures of another kind are smooth or rough, bright or dark. What they share is that nothing in them is as usual, and that this
holds for each of them. The three views are these:

* the distance to the nearest landmark of the population;
* the energy in the principal directions that matter less: noise on a benign picture leaves these alone;
* the typical deviation of a sampled value, once the direction in which the population varies most is fitted and taken off. It
  is a low quantile and the fit is one of least absolute deviations. So a benign picture with something foreign in a part of it,
  such as a label, deviates no more than usual.

Each view is measured in the deviations of the clients with the largest usual values. The least of the three counts, so a client
that is odd in one view only is not remote.

Only a query is scored that the client's earlier queries explain hardly better than the population does. The frames of a video
of one strange thing are one observation; thieves' pictures have nothing to do with each other.
"""

import numpy as np

from detector.engine.kernels import kernel

VIEWS = 4  # the three views, and the least of them
LANDMARK, MINOR, DEVIATION, LEAST_OF_ALL = range(VIEWS)
LEAST_SAMPLES = 16  # least number of sampled values that the third view needs
MAIN = 4  # principal directions that matter most
TYPICAL = 0.3  # the quantile of the deviations: half as much again may be hidden under something foreign
WORTH = -2.0  # in deviations: where the first two views are nearer, the third is not looked at
ALONE = 0.85  # least distance of a scored query to the client's earlier ones, as a share of that to the nearest landmark
FAINT = 1e-3  # least weight of a sampled value in the direction of most variance, so that nothing is divided by 0
HALF_STEP = 0.5  # deviations below half a step of rounding say nothing
LEAST_ENERGY = 1e-6


@kernel
def minor_energy(z, variance, principal):
    """Return the logarithm of the energy in the minor principal directions, relative to the population's.

    `z` (coordinates,) is a projected query and `variance` the population's variance, both in integer steps.
    """
    energy = 0.0
    usual = 0.0
    for k in range(MAIN, principal):
        energy += np.float64(z[k]) * z[k]
        usual += variance[k]
    return np.log(energy / max(usual, 1e-30) + LEAST_ENERGY)


@kernel
def typical_deviation(c, middle, leading, ratios, weights):
    """Return the logarithm of the typical deviation of the sampled values `c` from their fit, in integer steps.

    The fit is the population's `middle` plus a multiple of the first of the `leading` directions (samples, directions): the
    weighted median of the values' own multiples has the least absolute deviations. `ratios` (measured,) and `weights` are
    scratch, and say how many values are measured.
    """
    count = ratios.shape[0]
    whole = np.float32(0.0)
    for j in range(count):
        direction = leading[j, 0]
        weight = max(abs(direction), np.float32(FAINT))
        ratio = (np.float32(c[j]) - middle[j]) / (weight if direction >= 0 else -weight)
        whole += weight
        k = j
        while k > 0 and ratios[k - 1] > ratio:
            ratios[k] = ratios[k - 1]
            weights[k] = weights[k - 1]
            k -= 1
        ratios[k] = ratio
        weights[k] = weight
    at = 0
    passed = weights[0]
    while 2 * passed < whole and at < count - 1:
        at += 1
        passed += weights[at]
    multiple = ratios[at]
    for j in range(count):
        deviation = abs(np.float32(c[j]) - middle[j] - multiple * leading[j, 0])
        k = j
        while k > 0 and ratios[k - 1] > deviation:
            ratios[k] = ratios[k - 1]
            k -= 1
        ratios[k] = deviation
    return np.log(np.float64(ratios[np.int64(TYPICAL * (count - 1))]) + HALF_STEP)


@kernel
def remoteness(z, c, landmark, variance, principal, middle, leading, remote, ratios, weights):
    """Return how remote a query is: the least of the three views, each in deviations above its usual value.

    `landmark` is the logarithm of its distance to the nearest landmark. `remote` (VIEWS, 2) holds usual values and deviations.
    For the others see `minor_energy` and `typical_deviation`.
    """
    near = (landmark - remote[LANDMARK, 0]) / remote[LANDMARK, 1]
    minor = (minor_energy(z, variance, principal) - remote[MINOR, 0]) / remote[MINOR, 1]
    least = np.float64(min(near, minor))
    if least < WORTH:
        return least
    deviation = typical_deviation(c, middle, leading, ratios, weights)
    return min(least, (deviation - remote[DEVIATION, 0]) / remote[DEVIATION, 1])
