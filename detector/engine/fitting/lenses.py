"""Lenses: what other devices of innocent clients would make of a population's pictures.

A client with a new camera, scanner or filter sends pictures that differ from all known ones, and is no thief for that. So
whatever tells foreign pictures is shown such pictures as innocent ones. A lens does one to three things in any order: it
mirrors or turns, darkens, fades, bends the tones, inverts, softens, sharpens, adds noise, changes the focal length, has few
levels, dead rows or lost pixels, or sends edges.

Pictures are squares (n, side, side) in value ranges, 0 to 1; a lens cuts off what is beyond.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Planes: TypeAlias = npt.NDArray[np.float64]
Rng: TypeAlias = np.random.Generator
Step: TypeAlias = Callable[[Planes], Planes]

MOST_STEPS = 3


def lens(rng: Rng) -> Step:
    """Return a device at random: the same for all pictures that it is given."""
    chosen = rng.permutation(len(_STEPS))[: int(rng.integers(1, MOST_STEPS + 1))]
    steps = [_STEPS[k](rng) for k in chosen]

    def through(pictures: Planes) -> Planes:
        seen = np.clip(pictures, 0.0, 1.0)
        for step in steps:
            seen = np.clip(step(seen), 0.0, 1.0)
        return seen

    return through


def _mirrored(_rng: Rng) -> Step:
    return lambda pictures: pictures[:, :, ::-1]


def _turned(rng: Rng) -> Step:
    turns = int(rng.integers(1, 4))
    return lambda pictures: np.rot90(pictures, turns, (1, 2))


def _dark(rng: Rng) -> Step:
    gain = rng.uniform(0.3, 0.9)
    return lambda pictures: gain * pictures


def _pale(rng: Rng) -> Step:
    veil = rng.uniform(0.05, 0.4)
    return lambda pictures: veil + (1.0 - veil) * pictures


def _bent(rng: Rng) -> Step:
    power = np.exp(rng.uniform(-0.7, 0.7))
    return lambda pictures: np.asarray(pictures**power)


def _inverted(_rng: Rng) -> Step:
    return lambda pictures: 1.0 - pictures


def _softened(pictures: Planes, width: float) -> Planes:
    return np.asarray(ndimage.gaussian_filter(pictures, (0.0, width, width), mode="nearest"))


def _soft(rng: Rng) -> Step:
    width = rng.uniform(0.4, 1.2)
    return lambda pictures: _softened(pictures, width)


def _sharp(rng: Rng) -> Step:
    amount, width = rng.uniform(0.3, 1.2), rng.uniform(0.6, 1.2)
    return lambda pictures: pictures + amount * (pictures - _softened(pictures, width))


def _noisy(rng: Rng) -> Step:
    noise = rng.uniform(0.005, 0.06)
    return lambda pictures: pictures + noise * rng.standard_normal(pictures.shape)


def _zoomed(rng: Rng) -> Step:
    factor = np.exp(rng.uniform(-0.5, 0.5))

    def step(pictures: Planes) -> Planes:
        side = pictures.shape[1]
        middle = (side - 1) / 2.0
        place = (np.arange(side) - middle) / factor + middle
        at = np.meshgrid(place, place, indexing="ij")
        return np.stack([ndimage.map_coordinates(one, at, order=1, mode="nearest") for one in pictures])

    return step


def _few_levels(rng: Rng) -> Step:
    levels = int(rng.integers(3, 17))
    return lambda pictures: np.rint(pictures * levels) / levels


def _dead_rows(rng: Rng) -> Step:
    count, across, stuck, key = int(rng.integers(1, 3)), rng.random() < 0.5, float(rng.integers(2)), rng.random(64)

    def step(pictures: Planes) -> Planes:
        seen = pictures.copy()
        dead = np.argsort(key[: pictures.shape[1]])[:count]
        if across:
            seen[:, dead] = stuck
        else:
            seen[:, :, dead] = stuck
        return seen

    return step


def _lost_pixels(rng: Rng) -> Step:
    share = rng.uniform(0.005, 0.08)
    return lambda pictures: np.where(rng.random(pictures.shape) < share, rng.integers(0, 2, pictures.shape), pictures)


def _edges(rng: Rng) -> Step:
    gain = rng.uniform(0.15, 0.7)

    def step(pictures: Planes) -> Planes:
        down, across = (ndimage.sobel(pictures, axis, mode="nearest") for axis in (1, 2))
        return np.asarray(gain * np.hypot(down, across))

    return step


_STEPS: tuple[Callable[[Rng], Step], ...] = (
    _mirrored,
    _turned,
    _dark,
    _pale,
    _bent,
    _inverted,
    _soft,
    _sharp,
    _noisy,
    _zoomed,
    _few_levels,
    _dead_rows,
    _lost_pixels,
    _edges,
)
