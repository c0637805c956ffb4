"""What simulated cameras do to a picture kept as a flat vector.

Pictures are square and grey: a vector of `dimension` values, row by row, in a value range (lo, hi).
"""

from math import isqrt

import numpy as np
from scipy import fft, ndimage

from detector.redteam.conversation import Array, Labels, ValueRange

_LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
"""Quantisation of luminance, ITU-T T.81 (1992), table K.1."""


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


def turned(picture: Array, degrees: float, background: float) -> Array:
    """Turn a flat square picture about its middle by `degrees`, with bilinear interpolation.

    >>> turned(np.array([1.0, 2.0, 3.0, 4.0]), 90.0, background=0.0).round(9).tolist()
    [2.0, 4.0, 1.0, 3.0]
    """
    angle = np.deg2rad(degrees)
    spin = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return _mapped(picture, spin, background)


def zoomed(picture: Array, factor: float, background: float) -> Array:
    """Enlarge (`factor` > 1) or shrink what a flat square picture shows, about its middle, with bilinear interpolation.

    >>> zoomed(np.array([0.0, 0.0, 0.0, 0.0, 8.0, 0.0, 0.0, 0.0, 0.0]), 2.0, background=0.0).tolist()
    [2.0, 4.0, 2.0, 4.0, 8.0, 4.0, 2.0, 4.0, 2.0]
    """
    return _mapped(picture, np.eye(2) / factor, background)


def sheared(picture: Array, slant: float, background: float) -> Array:
    """Slant a flat square picture: each row moves right by `slant` pixels more than the row below it.

    >>> sheared(np.array([1.0, 2.0, 0.0, 3.0, 4.0, 0.0, 5.0, 6.0, 0.0]), 1.0, background=0.0).tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 0.0, 6.0, 0.0, 0.0]
    """
    return _mapped(picture, np.array([[1.0, 0.0], [slant, 1.0]]), background)


def _mapped(picture: Array, back: Array, background: float) -> Array:
    """Draw each pixel from where `back` (2, 2), about the middle, says that it came from."""
    side = side_of(picture.size)
    middle = np.full(2, (side - 1) / 2.0)
    drawn = ndimage.affine_transform(
        picture.reshape(side, side),
        back,
        middle - back @ middle,
        order=1,
        mode="grid-constant",
        cval=background,
        prefilter=False,
    )
    return np.asarray(drawn, dtype=np.float64).ravel()


def blurred(picture: Array, width: float) -> Array:
    """Blur a flat square picture with a Gaussian of `width` pixels; its edge continues outside.

    >>> blurred(np.full(9, 5.0), 1.3).round(9).tolist() == [5.0] * 9
    True
    """
    side = side_of(picture.size)
    soft = ndimage.gaussian_filter(picture.reshape(side, side), width, mode="nearest")
    return np.asarray(soft, dtype=np.float64).ravel()


def toned(picture: Array, value_range: ValueRange, brightness: float = 0.0, contrast: float = 1.0) -> Array:
    """Brighten by a share of the value range and stretch by `contrast` about its middle; clipped to the range.

    >>> toned(np.array([0.0, 8.0, 16.0]), (0.0, 16.0), brightness=0.25, contrast=0.5).tolist()
    [8.0, 12.0, 16.0]
    """
    lo, hi = value_range
    middle = (lo + hi) / 2.0
    return np.asarray(np.clip(middle + contrast * (picture - middle) + brightness * (hi - lo), lo, hi))


def compressed(picture: Array, value_range: ValueRange, quality: float) -> Array:
    """A flat square picture after lossy compression as JPEG does it at `quality` 1 to 100, without its file.

    The cosine transform of blocks of 8x8 is quantised; the scaling of the quantisation by quality is the Independent JPEG
    Group's.

    >>> compressed(np.arange(64.0), (0.0, 255.0), 100.0).round().tolist() == np.arange(64.0).tolist()
    True
    """
    lo, hi = value_range
    side = side_of(picture.size)
    scale = 50.0 / quality if quality < 50.0 else 2.0 - quality / 50.0
    table = np.maximum(1.0, np.rint(_LUMINANCE * scale))
    levels = (picture.reshape(side, side) - lo) / (hi - lo) * 255.0 - 128.0
    padded = np.pad(levels, (0, -side % 8), mode="edge")
    count = len(padded) // 8
    blocks = padded.reshape(count, 8, count, 8).transpose(0, 2, 1, 3)
    coarse = table * np.rint(fft.dctn(blocks, axes=(2, 3), norm="ortho") / table)
    back = fft.idctn(coarse, axes=(2, 3), norm="ortho").transpose(0, 2, 1, 3).reshape(padded.shape)
    seen = np.clip(np.rint(back[:side, :side] + 128.0), 0.0, 255.0)
    return np.asarray(lo + (hi - lo) * seen / 255.0).ravel()


def cells_of(side: int, across: int) -> Labels:
    """Number the pixels of a square picture by the cell they lie in, of `across` times `across`, (side * side,).

    >>> cells_of(4, 2).reshape(4, 4).tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    """
    place = np.arange(side) * across // side
    return np.asarray(place[:, None] * across + place, dtype=np.int64).ravel()
