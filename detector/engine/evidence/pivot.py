"""Pivot: the one grey level that a change of a picture's contrast leaves as it is.

Where one picture is a straight function of another, a person or a device may have changed the intensity: a lamp that is dimmed
keeps black, more exposure keeps white, and contrast keeps the middle of the range or a level of the picture itself, such as
its mean or its background. A search for the boundary that ends at a nearly plain natural picture, such as sky, goes along
a straight function of the brightness, too, and keeps the level of that picture, which is any.

So a halving towards such a level counts, if the level is known well enough, and the query is the very middle (see `opposite`).
"""

import numpy as np

from detector.engine.kernels import kernel

USUAL = 0.1  # distance from black, white and middle grey within which changes of intensity keep a level, in ranges
OWN = 0.05  # the same from the mean, the median, the darkest and the brightest values of the picture that has more contents
FLATTER = 0.6  # largest slope: what hardly changes the contrast has no pivot that is known, and a second halving has a half
INVERTED = -0.2  # least slope, that of a plain picture with a faint pattern of its own
CONTENTS = 16.0  # least variance of contents, in those of rounding: of fainter ones rounding makes others
CERTAIN = 3.0  # standard errors within which the pivot must be known
EDGE = 20  # one value of so many is darker than the darkest that are looked at, and one brighter than the brightest


@kernel
def keeps_usual_level(pivot, values, mean, lowest, highest):
    """Tell whether a grey level is one that changes of intensity keep, of a picture with these values (n,) and their mean."""
    extent = highest - lowest
    if min(pivot - lowest, highest - pivot, abs(pivot - 0.5 * (lowest + highest))) < USUAL * extent:
        return True
    ranked = np.sort(values)
    last = values.shape[0] - 1
    darkest, middle, brightest = ranked[last // EDGE], ranked[last // 2], ranked[last - last // EDGE]
    own = min(abs(pivot - mean), abs(pivot - darkest), abs(pivot - middle), abs(pivot - brightest))
    return own < OWN * extent


@kernel
def keeps_odd_level(first, second, noise, lowest, highest):
    """Tell whether the straight function from one picture to another keeps a level that no usual change of intensity keeps.

    `first` and `second` (n,) are values of two pictures, from `lowest` to `highest`; the difference of two has a square of
    `noise` from rounding. False where most values are clipped, or the contents are too faint to tell.
    """
    n = first.shape[0]
    spread_first, spread_second = np.var(first.astype(np.float64)), np.var(second.astype(np.float64))
    own, other = (second, first) if spread_second > spread_first else (first, second)
    free = 0
    mean, mean_other = 0.0, 0.0
    for j in range(n):
        if lowest + 1.0 < min(first[j], second[j]) and max(first[j], second[j]) < highest - 1.0:
            free += 1
            mean += np.float64(own[j])
            mean_other += np.float64(other[j])
    if 2 * free < n:
        return False
    mean /= free
    mean_other /= free
    square, shared = 0.0, 0.0
    for j in range(n):
        if lowest + 1.0 < min(first[j], second[j]) and max(first[j], second[j]) < highest - 1.0:
            square += (np.float64(own[j]) - mean) ** 2
            shared += (np.float64(own[j]) - mean) * (np.float64(other[j]) - mean_other)
    variance = 0.5 * noise
    if square < CONTENTS * variance * free:
        return False
    slope = shared / (square - variance * free)
    if not INVERTED <= slope <= FLATTER:
        return False
    pivot = mean + (mean_other - mean) / (1.0 - slope)
    error = np.sqrt(noise / square) * abs(mean_other - mean) / (1.0 - slope) ** 2
    error += np.sqrt(2.0 * variance / free) / (1.0 - slope)
    if CERTAIN * error > USUAL * (highest - lowest):
        return False
    return not keeps_usual_level(pivot, own, mean, lowest, highest)
