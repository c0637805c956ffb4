"""What simulated cameras do to a picture kept as a flat vector.

Pictures are square and grey: a vector of `dimension` values, row by row, in a value range (lo, hi).
"""

from math import isqrt

import numpy as np
from scipy import ndimage

from detector.redteam.conversation import Array, ValueRange


def side_of(dimension: int) -> int:
    """Side length of a square picture of `dimension` pixels; raises ValueError if it is not square.

    >>> side_of(64)
    8
    """
    side = isqrt(dimension)
    if side * side != dimension:
        raise ValueError(f"{dimension} values are not a square picture")
    return side


def shifted(picture: Array, offset: Array, background: float) -> Array:
    """Move a flat square picture by `offset` = (down, right) pixels, fractions included, with bilinear interpolation.

    >>> shifted(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.0, 1.0]), background=0.0).tolist()
    [0.0, 1.0, 0.0, 3.0]
    """
    side = side_of(picture.size)
    moved = ndimage.shift(picture.reshape(side, side), offset, order=1, mode="constant", cval=background, prefilter=False)
    return np.asarray(moved, dtype=np.float64).ravel()


def sensor_steps(pool: Array, value_range: ValueRange) -> int:
    """How many steps the sensor that took the pool divides the value range into; at most 255, as an 8-bit camera.

    Read off the smallest gap between two values of the pool.

    >>> sensor_steps(np.array([[0.0, 4.0, 16.0, 5.0]]), (0.0, 16.0))
    16
    """
    values = np.unique(pool)
    if values.size < 2:
        return 255
    gap = float(np.diff(values).min())
    return int(min(255, max(1, round((value_range[1] - value_range[0]) / gap))))


def digitised(picture: Array, value_range: ValueRange, steps: int) -> Array:
    """Clip to the value range and round to one of the sensor's ``steps + 1`` levels.

    >>> digitised(np.array([-3.0, 0.4, 2.6, 99.0]), (0.0, 16.0), 16).tolist()
    [0.0, 0.0, 3.0, 16.0]
    """
    lo, hi = value_range
    level = np.rint((np.clip(picture, lo, hi) - lo) / (hi - lo) * steps)
    return np.asarray(lo + level * (hi - lo) / steps, dtype=np.float64)
