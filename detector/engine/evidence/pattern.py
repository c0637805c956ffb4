"""Pattern: whether a picture from a JPEG halves more of an interval than a change of intensity, told by the projection.

A JPEG moves each value by several grey levels, so that sampled values show strong textures only (see `tone`). It moves slow
waves far less, and the principal directions of pictures are slow. A change of brightness and contrast is a straight function of
the picture in any projection. Curves such as gamma are not; what these may leave is bounded by the contrast of the picture, and
beyond that they are fitted to the sampled values.
"""

import numpy as np

from detector.engine.evidence.tone import BLANK, halves_rest
from detector.engine.kernels import kernel

SEEN = 48.0  # least square of a pattern, in variances of rounding: then the query's place is known to a sixth
CLEAR = 6.0  # least of what a straight function leaves in sampled values, in roundings of two of them, to tell what it is
CURVED = 2.0  # what a gamma of 2 either way leaves in dark pictures, in squares of their contrast; all in value ranges
BENT = 0.3  # share of it that a bent function explains, where it is one
DEGREES = 4  # of a bent function: a constant, the brightness, its square and its cube


@kernel
def contents_of(projected, plain, contents):
    """Write what a projected picture has beside a plain one into `contents`; both (coordinates,), in sharpened coordinates.

    `plain` (2, coordinates) are the projections of a black picture, with the sign changed, and of a direction: that from it to
    brighter plain ones, of length 1.
    """
    along = 0.0
    for k in range(projected.shape[0]):
        along += (np.float64(projected[k]) + plain[0, k]) * plain[1, k]
    for k in range(projected.shape[0]):
        contents[k] = np.float64(projected[k]) + plain[0, k] - along * plain[1, k]


@kernel
def halves_pattern(first, second, query, way, position, tolerance, rounding):
    """Tell whether a picture also halves what a straight function of the brightness leaves of the way between two others.

    All three (coordinates,) are `contents_of` pictures, with a rounding of variance `rounding` in each coordinate. The query
    lies at the `position` on the way between the others, whose square is `way`. For `tolerance` see `tone.halves_texture`.
    Values that were clipped are not told from others.
    """
    aa, ab, aq, bb, bq, qq = 1e-9, 0.0, 0.0, 1e-9, 0.0, 0.0
    for k in range(first.shape[0]):
        aa += first[k] * first[k]
        ab += first[k] * second[k]
        aq += first[k] * query[k]
        bb += second[k] * second[k]
        bq += second[k] * query[k]
        qq += query[k] * query[k]
    n = first.shape[0] - 1
    if min(aa, bb) <= BLANK * rounding * n:
        return False
    return halves_rest(aa, ab, aq, bb, bq, qq, way, n, position, tolerance, rounding, SEEN)


@kernel
def pattern_left(first, second, sharpness, principal):
    """Return the square of what a straight function of the brightness leaves of the way between two pictures.

    Both (coordinates,) are `contents_of` pictures. The square is that of the first `principal` coordinates without their
    `sharpness`.
    """
    aa, ab, bb = 1e-9, 0.0, 1e-9
    for k in range(first.shape[0]):
        aa += first[k] * first[k]
        ab += first[k] * second[k]
        bb += second[k] * second[k]
    of_first, of_second = (1.0, -ab / bb) if bb > aa else (-ab / aa, 1.0)
    left = 0.0
    for k in range(principal):
        left += ((of_first * first[k] + of_second * second[k]) / sharpness[k]) ** 2
    return left


@kernel
def is_free(first, second, margin, lowest, highest):
    """Tell whether all values of two pictures (samples,) are at least `margin` from the ends of the range: none is clipped."""
    for j in range(first.shape[0]):
        if min(first[j], second[j]) < lowest + margin or max(first[j], second[j]) > highest - margin:
            return False
    return True


@kernel
def may_be_bent(first, second, noise, share, extent):
    """Tell whether what a straight function of the brightness leaves of the way between two pictures may be a bent one.

    `first` and `second` (samples,) are sampled values of a range of `extent`; the difference of two has a square of `noise`
    from rounding alone. `share` is what a straight function leaves in them without rounding, as a square. True also where too
    little is left to tell.
    """
    n = first.shape[0]
    mean_first = 0.0
    mean_second = 0.0
    for j in range(n):
        mean_first += np.float64(first[j]) / n
        mean_second += np.float64(second[j]) / n
    spread_first = 0.0
    spread_second = 0.0
    for j in range(n):
        spread_first += (np.float64(first[j]) - mean_first) ** 2
        spread_second += (np.float64(second[j]) - mean_second) ** 2
    contrast = max(max(spread_first, spread_second) / n - 0.5 * noise, 0.0) / extent
    if share > n * (CURVED * contrast) ** 2 + 0.5 * noise:
        return False
    if spread_second > spread_first:
        slope, bent = bent_part(second, first, mean_second, np.sqrt(spread_second / n))
    else:
        slope, bent = bent_part(first, second, mean_first, np.sqrt(spread_first / n))
    expected = noise * (1.0 + slope * slope)
    return share < CLEAR * expected or bent - expected > BENT * share


@kernel
def bent_part(own, other, mean, deviation):
    """Return (slope, square): of the straight function of `own` that is nearest to `other`, and of what a bent one adds to it.

    Both (samples,) are sampled values. `mean` and `deviation` are those of `own`.
    """
    n = own.shape[0]
    powers = np.ones((DEGREES, n))
    for p in range(1, DEGREES):
        for j in range(n):
            powers[p, j] = powers[p - 1, j] * (np.float64(own[j]) - mean) / (deviation + 1e-9)
    slope = 0.0
    bent = 0.0
    for p in range(DEGREES):
        for before in range(p):
            shared = 0.0
            for j in range(n):
                shared += powers[p, j] * powers[before, j]
            for j in range(n):
                powers[p, j] -= shared * powers[before, j]
        length = 1e-9
        for j in range(n):
            length += powers[p, j] * powers[p, j]
        length = np.sqrt(length)
        along = 0.0
        for j in range(n):
            powers[p, j] /= length
            along += powers[p, j] * np.float64(other[j])
        if p == 1:
            slope = along / (length * (deviation + 1e-9))
        elif p > 1:
            bent += along * along
    return slope, bent
