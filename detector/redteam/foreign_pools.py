"""Foreign pools: what a thief without the victim's data may ask about, kind by kind.

Kinds differ in how foreign they look: a random field has no edges, a shape has nothing else, a photograph has both, and
statistics that no formula imitates.
"""

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from scipy import ndimage
from sklearn.datasets import load_sample_images

from detector.redteam.conversation import Array, ValueRange
from detector.redteam.foreign import foreign_picture
from detector.redteam.pictures import side_of

Draw: TypeAlias = Callable[[int, np.random.Generator, ValueRange], Array]


def field(dimension: int, rng: np.random.Generator, value_range: ValueRange) -> Array:
    """A smooth random field: what an untrained generator paints. 3x3 to 5x5 random values, interpolated."""
    side = side_of(dimension)
    coarse = rng.standard_normal((size := int(rng.integers(3, 6)), size))
    place = np.linspace(0.0, size - 1.0, side)
    drawn = ndimage.map_coordinates(coarse, np.meshgrid(place, place, indexing="ij"), order=3, mode="nearest")
    return _scaled(1.0 / (1.0 + np.exp(-2.0 * drawn)), value_range)


def texture(dimension: int, rng: np.random.Generator, value_range: ValueRange) -> Array:
    """A texture: noise with a direction, a grain and a contrast of its own."""
    side = side_of(dimension)
    along, across = rng.uniform(0.3, 0.25 * side), rng.uniform(0.2, 0.8)
    drawn = ndimage.gaussian_filter(rng.standard_normal((3 * side, 3 * side)), (along, across), mode="wrap")
    turned = ndimage.rotate(drawn, float(rng.uniform(0.0, 180.0)), reshape=False, order=1, mode="wrap")
    return _scaled(_stretched(turned[side : 2 * side, side : 2 * side], rng), value_range)


def shape(dimension: int, rng: np.random.Generator, value_range: ValueRange) -> Array:
    """One to three ellipses and rectangles of one shade each on a plain ground."""
    side = side_of(dimension)
    down, right = (np.mgrid[0:side, 0:side] + 0.5) / side
    drawn = np.full((side, side), rng.uniform(0.0, 1.0))
    for _ in range(int(rng.integers(1, 4))):
        angle = rng.uniform(0.0, np.pi)
        y, x = down - rng.uniform(0.2, 0.8), right - rng.uniform(0.2, 0.8)
        u = (np.cos(angle) * y + np.sin(angle) * x) / rng.uniform(0.1, 0.4)
        v = (np.cos(angle) * x - np.sin(angle) * y) / rng.uniform(0.1, 0.4)
        inside = u**2 + v**2 < 1.0 if rng.random() < 0.5 else np.maximum(np.abs(u), np.abs(v)) < 1.0
        drawn = np.where(inside, rng.uniform(0.0, 1.0), drawn)
    return _scaled(drawn, value_range)


def photograph(dimension: int, rng: np.random.Generator, value_range: ValueRange) -> Array:
    """A patch of one of scikit-learn's two photographs, in grey, scaled down by averaging, now and then mirrored.

    Two photographs are a small world: patches of one temple and one flower overlap once there are some hundreds.
    """
    side = side_of(dimension)
    whole = _photographs()[int(rng.integers(2))]
    zoom = int(rng.integers(1, max(2, min(whole.shape) // side) + 1))
    extent = min(zoom * side, min(whole.shape) // side * side)
    top, left = rng.integers(whole.shape[0] - extent + 1), rng.integers(whole.shape[1] - extent + 1)
    patch = whole[top : top + extent, left : left + extent]
    patch = patch.reshape(side, extent // side, side, extent // side).mean(axis=(1, 3))
    return _scaled(patch[:, ::-1] if rng.random() < 0.5 else patch, value_range)


FOREIGN: Mapping[str, Draw] = MappingProxyType(
    {"mixture": foreign_picture, "fields": field, "textures": texture, "shapes": shape, "photographs": photograph}
)
"""Kinds of foreign pictures by permanent id; each draws one, (dimension,). All raise ValueError if that is no square."""


def foreign_pool(count: int, dimension: int, rng: np.random.Generator, value_range: ValueRange) -> Array:
    """A pool of all kinds in turn, (count, dimension)."""
    kinds = tuple(FOREIGN.values())
    return np.stack([kinds[i % len(kinds)](dimension, rng, value_range) for i in range(count)])


@cache
def _photographs() -> tuple[Array, ...]:
    return tuple(np.asarray(image, dtype=np.float64).mean(axis=2) / 255.0 for image in load_sample_images().images)


def _stretched(drawn: Array, rng: np.random.Generator) -> Array:
    unit = (drawn - drawn.min()) / max(float(np.ptp(drawn)), 1e-12)
    dark, bright = rng.uniform(0.0, 0.35), rng.uniform(0.65, 1.0)
    return np.asarray(dark + (bright - dark) * unit)


def _scaled(unit: Array, value_range: ValueRange) -> Array:
    lo, hi = value_range
    return np.asarray(np.clip(lo + (hi - lo) * unit, lo, hi)).ravel()
