"""Tone: a step that changes the brightness, the contrast or the gamma of a picture, as a person at a slider does.

Such a step is a function of the values that it starts from. It is no construction, though its queries lie on a line.
"""

import numpy as np

from detector.engine.kernels import kernel

SMOOTH = 0.25  # largest von Neumann ratio of a step that follows the brightness of the picture
ROUGH = 0.4  # the same of what a straight function of the brightness leaves of the step
NOISE = 0.28  # square that rounding adds to the difference of two values of 8 bits: twice those of the memory and of 8 bits
BLANK = 4.0  # largest variance of a picture without contents, in variances of rounding
PLAIN = 2.0  # what a straight function leaves of an interval, in expected roundings, up to which it leaves nothing
SEEN = 96.0  # least square of what it leaves, in variances of rounding: then the query's place is known to an eighth
APART = 0.2  # largest distance between two places of a query on its interval: of its brightness and of what that leaves
UNLIKELY = 3.0  # deviations of a chi-squared sum that rounding does not explain
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
def is_toned(delta, retained, rounding, noise, lowest, highest):
    """Tell whether a step is a change of intensity: a straight or smooth function of the values that it starts from.

    `delta` (samples,) is the step in value ranges, exact to `rounding`. `retained` are the values that it starts from, in units
    of `rounding`; they run from `lowest` to `highest`. The difference of two values has a square of `noise` in that unit, from
    rounding alone. What lies at an end tells nothing, since it is clipped. A blend of
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
    return total <= noise * (1.0 + (1.0 + slope) ** 2) * n or (rough <= ROUGH * 2.0 * total and ratio <= SMOOTH)


@kernel
def halves_rest(aa, ab, aq, bb, bq, qq, way, n, position, tolerance, rounding, seen):
    """Tell whether a picture q halves what a straight function of the brightness leaves of the way between two others, a and b.

    Given are sums of squares and products of their n values less the mean, each with a rounding of variance `rounding`, and the
    whole squared `way` between the two. The least square that is seen is `seen` such variances. The other arguments are those
    of `halves_texture`.
    """
    at = position
    if bb > aa:
        aa, bb = bb, aa
        aq, bq = bq, aq
        at = 1.0 - position
    slope = ab / aa
    own = aq / aa
    rest = bb - slope * ab
    texture = rest - rounding * (1.0 + slope * slope) * n
    if rest <= PLAIN * rounding * (1.0 + slope * slope) * n or texture <= seen * rounding:
        return False
    if rest >= (2.0 * tolerance) ** 2 * way:
        return True
    shared = bq - slope * aq
    if abs((shared - rounding * slope * own * n) / texture - at) > APART:
        return False
    beside = qq - own * aq - 2.0 * at * shared + at * at * rest
    expected = rounding * (1.0 + (own - at * slope) ** 2 + at * at) * n
    return beside <= expected * (1.0 + UNLIKELY * np.sqrt(2.0 / n)) + (0.5 * tolerance) ** 2 * texture


@kernel
def halves_texture(first, second, values, position, tolerance, noise, lowest, highest):
    """Tell whether a picture also halves what a straight function of the brightness leaves of the way between two others.

    `values` (samples,) are the picture's, at the `position` on the way from `first` to `second`; all run from `lowest` to
    `highest` and are whole numbers; for `noise` see `is_toned`. False where that rest is too small to see, and where one end
    has no contents: whatever leads there fades. True where the rest is so large that a change of brightness would leave the
    line, by `tolerance` of its length, and where too few values are free to tell.
    """
    n = 0
    mean_first = 0.0
    mean_second = 0.0
    mean = 0.0
    for j in range(first.shape[0]):
        mean_first += np.float64(first[j]) / first.shape[0]
        mean_second += np.float64(second[j]) / first.shape[0]
    spread_first = 0.0
    spread_second = 0.0
    for j in range(first.shape[0]):
        spread_first += (np.float64(first[j]) - mean_first) ** 2
        spread_second += (np.float64(second[j]) - mean_second) ** 2
    if min(spread_first, spread_second) <= BLANK * 0.5 * noise * first.shape[0]:
        return False
    free = np.empty(first.shape[0], np.bool_)
    mean_first = 0.0
    mean_second = 0.0
    for j in range(first.shape[0]):
        free[j] = lowest + 1.0 < min(first[j], second[j]) and max(first[j], second[j]) < highest - 1.0
        if free[j]:
            n += 1
            mean_first += np.float64(first[j])
            mean_second += np.float64(second[j])
            mean += np.float64(values[j])
    if n < LEAST_FREE:
        return True
    mean_first /= n
    mean_second /= n
    mean /= n
    # Sums of squares and products of the two ends (a, b) and the query (q).
    aa, ab, aq, bb, bq, qq, way = 1e-9, 0.0, 0.0, 1e-9, 0.0, 0.0, 0.0
    for j in range(first.shape[0]):
        if free[j]:
            a = np.float64(first[j]) - mean_first
            b = np.float64(second[j]) - mean_second
            q = np.float64(values[j]) - mean
            aa += a * a
            ab += a * b
            aq += a * q
            bb += b * b
            bq += b * q
            qq += q * q
            way += (np.float64(first[j]) - np.float64(second[j])) ** 2
    return halves_rest(aa, ab, aq, bb, bq, qq, way, n, position, tolerance, 0.5 * noise, SEEN)
