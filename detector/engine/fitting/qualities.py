"""Qualities: how pictures were compressed where clients send JPEGs of different qualities.

The rounding of a JPEG differs from client to client, or from picture to picture, so no coefficient has one step in all of them
(see `jpeg`). But nearly all writers take the table of the standard (ITU-T T.81, table K.1), scaled by the quality as the
Independent JPEG Group does, so a hundred tables are all there are. Each picture is compared with each of them: how likely are
its coefficients if they were rounded to these steps, and then the pixels to whole levels? What share of the pictures has which
quality follows from all pictures together (expectation maximisation for mixture weights). A picture that never was a JPEG is
one more kind.

Steps of most coefficients are told by one table together, so qualities are told whose steps are mostly one level.

Not found: tables that are not those of the standard, and blocks that begin at another pixel in each picture.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.fitting.jpeg import BLOCK, COSINES, MIDDLES, Array, Jpeg, before_jpeg, grey_level, spreads_of

STANDARD_TABLE = np.array(
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
FINEST = 98  # of a higher quality nearly all steps are one level, as are those of no JPEG
QUALITIES = np.arange(20, FINEST + 1)
PICTURES = 1500  # pictures that are compared
GLIMPSED = 150  # the same while it is not known where the blocks begin
SLOW = 4  # frequencies that are looked at until then, each way
NOISE = 1.0 / 12.0 + 0.02  # variance of a coefficient around its step: that of rounded pixels, and what decoders differ by
STRAY = 0.02  # share of the coefficients that lie anywhere, since a pixel of their block was clipped
LEAST_VARIANCE = 2.0  # of a block, in squared grey levels: of less the rounding of pixels is no noise
LEAST_BLOCKS = 200  # of the finest qualities, from which the sizes of coefficients are learned
ROUNDS = 60  # of expectation maximisation
LEAST_SHARE = 0.01  # qualities that fewer pictures have are taken for mistakes
LEAST_SENT = 0.5  # least share of the pictures that are JPEGs
LEAST_WORTH = 0.7  # nats a picture by which qualities must explain pictures better than none; of no JPEG it is a third at most


def table_of(quality: int) -> Array:
    """Return the steps (8, 8) of the standard's table for grey pictures at a quality.

    >>> table_of(50)[0, :3].tolist(), table_of(90)[0, :3].tolist()
    ([16.0, 11.0, 10.0], [3.0, 2.0, 2.0])
    """
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.asarray(np.clip((STANDARD_TABLE * scale + 50) // 100, 1, 255), np.float64)


class Sent(NamedTuple):
    """How pictures were sent at one quality: the `share` of all that these are, and how they were compressed."""

    share: float
    jpeg: Jpeg


def qualities_of(vectors: npt.NDArray[np.float32], seed: int) -> tuple[list[Sent], Array]:
    """Return the qualities at which pictures (n, dimension) were sent, finest first; none if most are no JPEGs.

    Return also pictures (2 * n, dimension), in grey levels, as they may have been before. The values lie on one grid, whose
    step is a grey level. Pictures that occur several times count once.
    """
    nothing: tuple[list[Sent], Array] = ([], np.zeros((0, vectors.shape[1])))
    side = math.isqrt(vectors.shape[1])
    if side * side != vectors.shape[1] or side < BLOCK:
        return nothing
    rng = np.random.default_rng([len(vectors), seed])
    distinct = rng.permutation(np.unique(vectors[rng.permutation(len(vectors))[: 2 * PICTURES]], axis=0))[:PICTURES]
    level = grey_level(distinct.astype(np.float64))
    if level == 0.0:
        return nothing
    pictures = (distinct / level).astype(np.float64).reshape(-1, side, side)
    ends = float(pictures.min()), float(pictures.max())
    place = _place_of(pictures[:GLIMPSED], ends)
    if place is None:
        return nothing
    coefficients, owner = _coefficients_of(pictures, ends, place, BLOCK)
    worths = _worths_of(coefficients, owner, len(pictures), BLOCK)
    shares = _weights_of(worths)
    kinds = np.flatnonzero(shares >= LEAST_SHARE)
    kinds = kinds[kinds > 0][::-1]
    sent = float(shares[kinds].sum())
    if sent < LEAST_SENT:
        return nothing
    kind = kinds[(worths + np.log(np.maximum(shares, 1e-300)))[:, kinds].argmax(axis=1)]
    tables = [table_of(int(QUALITIES[q - 1])) for q in kinds]
    spreads = _finest_spreads(coefficients, kind[owner], kinds, tables)
    jpegs = [Jpeg(side, level, *place, steps, 0.0, spreads) for steps in tables]
    drawn = rng.permutation(len(pictures))[: 2 * min(len(pictures) // 2, MIDDLES)]
    before = np.empty((len(drawn), side * side))
    for q, jpeg in zip(kinds, jpegs, strict=True):
        own = kind[drawn] == q
        if own.any():
            before[own] = before_jpeg(pictures[drawn[own]].reshape(-1, side * side), jpeg, rng)
    return [Sent(float(shares[q]) / sent, jpeg) for q, jpeg in zip(kinds, jpegs, strict=True)], before


def _finest_spreads(coefficients: Array, kind: npt.NDArray[np.intp], kinds: npt.NDArray[np.intp], tables: list[Array]) -> Array:
    """Return the mean sizes (8, 8) of coefficients (n, 63) before the JPEG, from as few of the finest kinds as tell them.

    A coarse one rounds most of them to 0. `kind` (n,) says of which of the `kinds` each block is; `tables` are theirs.
    """
    blocks = np.cumsum([np.count_nonzero(kind == q) for q in kinds])
    last = min(int(np.searchsorted(blocks, LEAST_BLOCKS)), len(kinds) - 1)
    finer = np.isin(kind, kinds[: last + 1])
    with_mean = np.concatenate([np.zeros((np.count_nonzero(finer), 1)), coefficients[finer]], axis=1)
    return spreads_of(with_mean.reshape(-1, BLOCK, BLOCK), tables[last])


def _place_of(pictures: Array, ends: tuple[float, float]) -> tuple[int, int] | None:
    """Return the pixel (row, column) at which the first whole block of pictures (n, side, side) begins, None without any."""
    side = pictures.shape[1]
    best, place = LEAST_WORTH, None
    for top in range(min(BLOCK, side - BLOCK + 1)):
        for left in range(min(BLOCK, side - BLOCK + 1)):
            coefficients, owner = _coefficients_of(pictures, ends, (top, left), SLOW)
            told = np.unique(owner)
            if len(told) == 0:
                continue
            worth = float(_worths_of(coefficients, owner, len(pictures), SLOW)[told].max(axis=1).mean())
            if worth > best:
                best, place = worth, (top, left)
    return place


def _coefficients_of(
    pictures: Array, ends: tuple[float, float], place: tuple[int, int], slow: int
) -> tuple[Array, npt.NDArray[np.intp]]:
    """Return the slowest coefficients (n, slow * slow - 1) of whole blocks that touch neither end, and whose each is.

    A plain block is left out: rounding moves its pixels together. The mean is left out, since its steps may begin anywhere.
    """
    top, left = place
    side = pictures.shape[1]
    down, across = (side - top) // BLOCK, (side - left) // BLOCK
    inside = pictures[:, top : top + BLOCK * down, left : left + BLOCK * across]
    blocks = inside.reshape(-1, down, BLOCK, across, BLOCK).transpose(0, 1, 3, 2, 4).reshape(-1, BLOCK, BLOCK)
    owner = np.repeat(np.arange(len(pictures)), down * across)
    free = (blocks.min(axis=(1, 2)) > ends[0]) & (blocks.max(axis=(1, 2)) < ends[1])
    free &= blocks.var(axis=(1, 2)) >= LEAST_VARIANCE
    waves = COSINES[:slow]
    return (waves @ blocks[free] @ waves.T).reshape(-1, slow * slow)[:, 1:], owner[free]


def _worths_of(coefficients: Array, owner: npt.NDArray[np.intp], n: int, slow: int) -> Array:
    """Return the log-likelihood ratios (n, 1 + qualities) of each quality to no JPEG, whose own are 0, for n pictures.

    Coefficients are taken to be exponential before the JPEG, with the mean size that arrived. Those that became 0 say nothing
    for a quality, since plain pictures have no others; they speak against it if they lie beside 0.
    """
    size = np.abs(coefficients)
    spread = np.maximum(size.mean(axis=0), 0.5)
    plain = -size / spread - np.log(2.0 * spread)
    highest = (1.0 - STRAY) / math.sqrt(2.0 * math.pi * NOISE)
    worths = np.zeros((n, 1 + len(QUALITIES)))
    for q, quality in enumerate(QUALITIES.tolist()):
        steps = table_of(quality)[:slow, :slow].ravel()[1:]
        multiple = np.rint(size / steps)
        near = np.log(highest * np.exp(-0.5 * np.square(size - multiple * steps) / NOISE) + STRAY / steps)
        mass = np.log(np.sinh(0.5 * steps / spread)) - multiple * steps / spread
        worth = np.where(multiple > 0.0, mass + near - plain, near - np.log(highest + STRAY / steps))
        worths[:, 1 + q] = np.bincount(owner, worth.sum(axis=1), n)
    return worths


def _weights_of(worths: Array) -> Array:
    """Return the shares (kinds,) of the kinds of pictures under which their log-likelihoods (n, kinds) are likeliest."""
    likely = np.exp(worths - worths.max(axis=1, keepdims=True))
    shares = np.full(worths.shape[1], 1.0 / worths.shape[1])
    for _ in range(ROUNDS):
        belongs = likely * shares
        shares = (belongs / belongs.sum(axis=1, keepdims=True)).mean(axis=0)
    return shares
