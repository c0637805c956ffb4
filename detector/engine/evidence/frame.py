"""Frame: a picture is an earlier one that moved sideways, up or down by less than two pixels, as a camera that pans sees it.

On a small picture such a move changes nearly every value, so the two are no near duplicates. Each value then lies between two
neighbours of the earlier picture, all at the same share of the way. That share is fitted by least squares. What it leaves is
compared with how much the picture differs from unrelated ones of the same client.

The memory samples 48 values, so in larger pictures fewer of them are neighbours. Moves by up to one pixel are seen nearly
always in pictures of up to 12 by 12 pixels, and seldom in those of 16 by 16. Moves of one to two pixels are seen in pictures of
up to 9 by 9.

Blind to: larger pictures, pictures that are not square or have several colours, and turned, zoomed or diagonally moved ones.
"""

import math

import numpy as np
import numpy.typing as npt

from detector.engine.kernels import kernel

WAYS = ((0, 1), (0, -1), (1, 0), (-1, 0))  # rows and columns from a pixel to its neighbour
PIXELS = 2  # pixels of one way that are looked at
LEAST_SEEN = 12  # least number of values that lie between two sampled neighbours
LEFT = 0.05  # largest share of a usual difference that a move leaves; unrelated pictures leave less once in 50 times


def neighbours_of(sampled: npt.NDArray[np.int32], dimension: int) -> npt.NDArray[np.int16]:
    """Return the places (ways, PIXELS, samples) among `sampled` of each one's first and second neighbour, -1 for none there.

    There are no ways where the values are not those of a square picture.

    >>> neighbours_of(np.arange(9, dtype=np.int32), 9)[0, :, :3].tolist(), neighbours_of(np.arange(8, dtype=np.int32), 8).shape
    ([[1, 2, -1], [2, -1, -1]], (0, 2, 8))
    """
    side = math.isqrt(dimension)
    if side == 0 or side * side != dimension:
        return np.zeros((0, PIXELS, len(sampled)), np.int16)
    place = np.full(dimension, -1, np.int16)
    place[sampled] = np.arange(len(sampled))
    rows, columns = np.divmod(sampled, side)
    found = np.full((len(WAYS), PIXELS, len(sampled)), -1, np.int16)
    for way, (down, right) in enumerate(WAYS):
        for k in range(PIXELS):
            row, column = rows + (k + 1) * down, columns + (k + 1) * right
            inside = (row >= 0) & (row < side) & (column >= 0) & (column < side)
            found[way, k, inside] = place[row[inside] * side + column[inside]]
    return found


@kernel
def is_next_frame(start, values, neighbours, unlike):
    """Tell whether the picture `values` (samples,) is `start` (samples,), moved along one of the ways.

    For `neighbours` (ways, PIXELS, samples) see `neighbours_of`. `unlike` (samples,) are the mean squares by which the values
    differ from those of unrelated pictures.
    """
    for way in range(neighbours.shape[0]):
        for far in range(PIXELS):
            seen = 0
            own = 0.0
            shared = 0.0
            whole = 0.0
            usual = 0.0
            for j in range(neighbours.shape[2]):
                one = np.int64(neighbours[way, 0, j]) if far else j
                two = np.int64(neighbours[way, far, j])
                if one < 0 or two < 0:
                    continue
                between = np.float64(start[two]) - np.float64(start[one])
                apart = np.float64(values[j]) - np.float64(start[one])
                seen += 1
                own += between * between
                shared += between * apart
                whole += apart * apart
                usual += unlike[j]
            share = min(max(shared / own, 0.0), 1.0) if own > 0.0 else 0.0
            if seen >= LEAST_SEEN and whole - 2.0 * share * shared + share * share * own <= LEFT * usual:
                return True
    return False
