"""Look: how a picture is drawn, whatever it shows. The channel `foreign` uses it for pictures.

Photographs, scans and drawings of one kind have edges, plain areas and grain in proportions of their own. Pictures of another
kind may be as smooth and as bright, and lie as near to the population as its own ones do; but their slopes are spread in
another way. A picture is described by `VIEWS` numbers: the mean, the contrast and the shape of its histogram; at two scales the
size of the slopes, how much of it lies in few places, how fast slopes change, and whether they have one direction; how much is
plain or at an end of the range; and whether the middle has more contrast than the border.

The logarithm of the likelihood ratio is a quadratic form of these numbers. It was fitted on the queries of benign clients, also
as other devices would send them, against pictures that were drawn by formula or put together from pieces of the benign ones.

It knows kinds of drawing, not things: pictures of the same make (another alphabet, photographs among photographs) look alike.
A picture that repeats values of an earlier query is a version of it, and says nothing new.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.evidence.foreign import LEAST, MOST
from detector.engine.kernels import kernel, part

TEXTURE = 8  # views of each scale
VIEWS = 4 + 2 * TEXTURE + 3
TERMS = 1 + VIEWS + VIEWS * (VIEWS + 1) // 2  # of a quadratic form: a constant, the views, and their products
LEAST_SIDE = 8
MOST_SIDE = 24  # pixels of a side that is looked at: larger pictures are averaged in blocks first
LEVEL = 1.0 / 255.0  # in value ranges: what differs by less differs by rounding
ROUNDING = LEVEL * LEVEL / 12.0  # variance of a rounded value
FARTHEST = 4.0  # deviations from the middle of all views beyond which a view says no more
VERSION = 0.25  # share of the sampled values that a version has in common with what it was made from


class Look(NamedTuple):
    """How pictures are read, and what their views are compared with.

    `shape` are the side in pixels, the number of channels, and whether each channel is a plane of its own (else the channels
    of a pixel stand together). `low` is the lowest value and `scale` the reciprocal of the range. `norm` (2, VIEWS) are means
    and deviations of the views, `form` (TERMS,) the quadratic form of views in such deviations.
    """

    shape: tuple[int, int, int]
    low: float
    scale: float
    norm: npt.NDArray[np.float64]
    form: npt.NDArray[np.float64]


@part
def grey_plane(vector, shape, low, scale, plane):
    """Write a picture in grey and value ranges into `plane` (n, n), averaged in blocks if it is larger; return the side."""
    side, channels, planar = shape
    block = (side + MOST_SIDE - 1) // MOST_SIDE
    small = side // block
    weight = scale / (block * block * channels)
    pixel = 1 if planar else channels
    channel = side * side if planar else 1
    for y in range(small):
        for x in range(small):
            total = 0.0
            for v in range(block):
                at = ((y * block + v) * side + x * block) * pixel
                for u in range(block):
                    for k in range(channels):
                        total += np.float64(vector[at + u * pixel + k * channel]) - low
            plane[y, x] = total * weight
    return small


@part
def histogram_views(plane, side, views):
    """Write mean, contrast, skew and kurtosis into the first four views; those of ends and middle into the last two."""
    count = side * side
    mean = 0.0
    ends = 0
    for y in range(side):
        for x in range(side):
            mean += plane[y, x]
            ends += plane[y, x] <= LEVEL or plane[y, x] >= 1.0 - LEVEL
    mean /= count
    second = third = fourth = border = 0.0
    margin = max(side // 5, 1)
    for y in range(side):
        for x in range(side):
            d = plane[y, x] - mean
            square = d * d
            second += square
            third += square * d
            fourth += square * square
            if min(y, x) < margin or max(y, x) >= side - margin:
                border += square
    inside = (side - 2 * margin) * (side - 2 * margin)
    within = (second - border) / inside
    border /= count - inside
    second, third, fourth = second / count, third / count, fourth / count
    views[0] = mean
    views[1] = np.log(second + 4.0 * ROUNDING)
    views[2] = abs(third) / (second + ROUNDING) ** 1.5
    views[3] = np.log(fourth + ROUNDING * ROUNDING) - 2.0 * np.log(second + ROUNDING)
    views[VIEWS - 2] = ends / count
    views[VIEWS - 1] = np.log(within + ROUNDING) - np.log(border + ROUNDING)


@part
def texture_views(plane, side, views):
    """Write how slopes are spread over the plane into `views` (TEXTURE,); return the share of the slopes that are none."""
    sx = sy = fourth = size = 0.0
    bend = bend_fourth = twist = both = 0.0
    plain = 0
    for y in range(side):
        for x in range(side):
            value = plane[y, x]
            dx = dy = 0.0
            if x + 1 < side:
                dx = plane[y, x + 1] - value
                square = dx * dx
                sx += square
                fourth += square * square
                size += abs(dx)
                plain += abs(dx) < 1.5 * LEVEL
            if y + 1 < side:
                dy = plane[y + 1, x] - value
                square = dy * dy
                sy += square
                fourth += square * square
                size += abs(dy)
                plain += abs(dy) < 1.5 * LEVEL
                if x + 1 < side:
                    both += dx * dy
                    turn = plane[y + 1, x + 1] - plane[y + 1, x] - dx
                    twist += turn * turn
            if x + 2 < side:
                turn = plane[y, x + 2] - plane[y, x + 1] - dx
                bend += turn * turn
                bend_fourth += turn**4
            if y + 2 < side:
                turn = plane[y + 2, x] - plane[y + 1, x] - dy
                bend += turn * turn
                bend_fourth += turn**4
    slopes = side * (side - 1)
    bends = 2 * side * (side - 2)
    corners = (side - 1) * (side - 1)
    sx, sy = sx / slopes, sy / slopes
    slope = 0.5 * (sx + sy) + 2.0 * ROUNDING
    bend = bend / bends + 6.0 * ROUNDING
    both /= corners
    views[0] = np.log(slope)
    views[1] = np.log(fourth / (2 * slopes) + 12.0 * ROUNDING * ROUNDING) - 2.0 * np.log(slope)
    views[2] = 2.0 * np.log(size / (2 * slopes) + 0.25 * LEVEL) - np.log(slope)
    views[3] = abs(np.log((sx + 2.0 * ROUNDING) / (sy + 2.0 * ROUNDING)))
    views[4] = np.log(bend) - np.log(slope)
    views[5] = np.log(twist / corners + 4.0 * ROUNDING) - np.log(slope)
    views[6] = np.sqrt((sx - sy) ** 2 + 4.0 * both * both) / (2.0 * slope)
    views[7] = np.log(bend_fourth / bends + 108.0 * ROUNDING * ROUNDING) - 2.0 * np.log(bend)
    return plain / (2 * slopes)


@part
def look_of(vector, shape, low, scale, plane, views):
    """Write the views of one picture (dimension,) into `views` (VIEWS,); `plane` (MOST_SIDE, MOST_SIDE) is scratch."""
    side = grey_plane(vector, shape, low, scale, plane)
    histogram_views(plane, side, views)
    views[VIEWS - 3] = texture_views(plane, side, views[4 : 4 + TEXTURE])
    half = side // 2
    for y in range(half):
        for x in range(half):
            one, other = plane[2 * y, 2 * x] + plane[2 * y, 2 * x + 1], plane[2 * y + 1, 2 * x] + plane[2 * y + 1, 2 * x + 1]
            plane[y, x] = 0.25 * (one + other)
    texture_views(plane, half, views[4 + TEXTURE : 4 + 2 * TEXTURE])


@kernel
def look_views(vectors, shape, low, scale, views):
    """Write the views of pictures (n, dimension) into `views` (n, VIEWS); see `Look` for the others."""
    plane = np.empty((MOST_SIDE, MOST_SIDE))
    for i in range(vectors.shape[0]):
        look_of(vectors[i], shape, low, scale, plane, views[i])


@kernel
def look_ratios(vectors, look, ratio):
    """Write the likelihood ratio of a foreign look of pictures (n, dimension) into `ratio` (n,)."""
    plane = np.empty((MOST_SIDE, MOST_SIDE))
    views = np.empty(VIEWS)
    for i in range(vectors.shape[0]):
        look_of(vectors[i], look.shape, look.low, look.scale, plane, views)
        for k in range(VIEWS):
            views[k] = min(max((views[k] - look.norm[0, k]) / look.norm[1, k], -FARTHEST), FARTHEST)
        worth = look.form[0]
        at = 1 + VIEWS
        for k in range(VIEWS):
            along = look.form[1 + k]
            for m in range(k + 1):
                along += look.form[at + m] * views[m]
            at += k + 1
            worth += along * views[k]
        ratio[i] = np.exp(min(max(worth, LEAST), MOST)) if not np.isnan(worth) else np.exp(LEAST)


@part
def is_version_of(one, other, lowest, highest):
    """Tell whether two rows of sampled values share many that lie within the range from `lowest` to `highest`.

    Values at its ends are left out: black is black in every picture.
    """
    shared = 0
    for j in range(one.shape[0]):
        shared += one[j] == other[j] and lowest + 1 < one[j] < highest - 1
    return shared > VERSION * one.shape[0]
