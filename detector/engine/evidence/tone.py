"""Tone: a step that changes the brightness, the contrast or the gamma of a picture, as a person at a slider does.

Such a step is a function of the values that it starts from. It is no construction, though its queries lie on a line.
"""

import numpy as np

from detector.engine.kernels import kernel

SMOOTH = 0.25  # largest von Neumann ratio of a step that follows the brightness of the picture
ROUGH = 0.4  # the same of what a straight function of the brightness leaves of the step
NOISE = 0.28  # squared roundings of a value that count as nothing: twice those of the memory and of 8 bits
LEAST_FREE = 8  # least number of values that are not clipped, for a function to be fitted to them


@kernel
def order_of(values):
    """Return the places of the values in ascending order; equal ones stay in theirs."""
    order = np.empty(values.shape[0], np.int64)
    for j in range(values.shape[0]):
        k = j
        while k > 0 and values[order[k - 1]] > values[j]:
            order[k] = order[k - 1]
            k -= 1
        order[k] = j
    return order


@kernel
def von_neumann_ratio(delta, retained):
    """Return the von Neumann ratio of `delta` once its entries are sorted by the retained query's values.

    It is the sum of squared successive differences over twice the sum of squares: near 1 for a step without relation to the
    picture, and near 0 where the step is a smooth function of brightness.
    """
    n = delta.shape[0]
    if n == 0:
        return 0.0
    order = order_of(retained)
    total = np.float64(delta[order[0]]) ** 2
    successive = 0.0
    for j in range(1, n):
        total += np.float64(delta[order[j]]) ** 2
        successive += (np.float64(delta[order[j]]) - np.float64(delta[order[j - 1]])) ** 2
    return successive / (2.0 * total) if total > 0.0 else 0.0


@kernel
def is_toned(delta, retained, rounding, lowest, highest):
    """Tell whether a step is a change of intensity: a straight or smooth function of the values that it starts from.

    `delta` (samples,) is the step in value ranges, exact to `rounding`. `retained` are the values that it starts from, in units
    of `rounding`; they run from `lowest` to `highest`, and what lies at an end tells nothing, since it is clipped. A blend of
    two pictures follows the brightness as well, since dark values become brighter and bright ones darker, but leaves a rough
    rest.
    """
    ratio = von_neumann_ratio(delta, retained)
    places = np.empty(delta.shape[0], np.int64)
    n = 0
    for j in order_of(retained):
        ends = np.float64(retained[j]) + np.float64(delta[j]) / rounding
        if lowest + 1.0 < min(np.float64(retained[j]), ends) and max(np.float64(retained[j]), ends) < highest - 1.0:
            places[n] = j
            n += 1
    if n < LEAST_FREE:
        return 0.0 < ratio <= SMOOTH
    mean = 0.0
    mean_step = 0.0
    for k in range(n):
        mean += np.float64(retained[places[k]]) / n
        mean_step += np.float64(delta[places[k]]) / rounding / n
    slope = 0.0
    own = 1e-9
    for k in range(n):
        way = np.float64(retained[places[k]]) - mean
        slope += way * (np.float64(delta[places[k]]) / rounding - mean_step)
        own += way * way
    slope /= own
    total = 1e-9
    rough = 0.0
    last = 0.0
    for k in range(n):
        way = np.float64(retained[places[k]]) - mean
        rest = np.float64(delta[places[k]]) / rounding - mean_step - slope * way
        total += rest * rest
        if k > 0:
            rough += (rest - last) ** 2
        last = rest
    # What the start was rounded by is stretched by the change; the query was rounded by itself.
    return total <= NOISE * (1.0 + (1.0 + slope) ** 2) * n or (rough <= ROUGH * 2.0 * total and ratio <= SMOOTH)
