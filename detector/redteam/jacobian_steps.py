"""How far to step along a gradient, and how evenly: the published sign step, and steps that hide it.

A sign step moves every pixel by the same amount, and that evenness is what gives it away. A thief who knows this can
spend accuracy on looking uneven. `size` is in the units of the picture; each law keeps the direction of the gradient.

In a table each column has a step of its own, a share of its spread, as `Strides` says; `size` is then an array.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np
from scipy import ndimage

from detector.redteam.conversation import Array
from detector.redteam.pictures import cells_of, shifted, side_of, toned
from detector.redteam.setting import Setting
from detector.redteam.space import Space
from detector.redteam.wire import step_of

Size: TypeAlias = float | Array
Step: TypeAlias = Callable[[Array, Array, Size, np.random.Generator], Array]
Spread: TypeAlias = Literal["range", "deviation"]


@dataclass(frozen=True, slots=True, eq=False)
class Strides:
    """How far each value moves in one step, and what a substitute sees of a query; pictures and tables look alike through it.

    `size` is one number for pictures and texts. For tables it is (dimension,): 0 for codes, which a thief leaves alone, and
    at least one step of the column's grid, since a smaller one would arrive as no step.
    """

    space: Space
    size: Size
    encoded: bool

    @classmethod
    def of(cls, setting: Setting, step: float, spread: Spread = "range") -> "Strides":
        """Steps of `step` value ranges, or of `step` ranges or standard deviations of each column of a table.

        Whole steps of a column's grid are taken, which is read off the natural records that the client holds.
        """
        space = setting.space
        if setting.columns is None:
            low, high = setting.value_range
            return cls(space, abs(step) * (high - low), encoded=False)
        size = np.zeros(space.dimension)
        measure = space.width if spread == "range" else setting.pool.std(axis=0)
        for column in space.numeric.tolist():
            wanted, grid = abs(step) * float(measure[column]), step_of(setting.pool[:, column])
            size[column] = max(round(wanted / grid), 1) * grid if grid > 0.0 else wanted
        return cls(space, size, encoded=True)

    def features(self, queries: Array) -> Array:
        """What the substitute is trained on, (n, features)."""
        return self.space.encode(queries) if self.encoded else queries

    def slopes(self, gradients: Array) -> Array:
        """Gradients with respect to the features (n, features) as ones with respect to the values, (n, dimension)."""
        if not self.encoded:
            return gradients
        found = np.zeros((len(gradients), self.space.dimension))
        ordered = np.flatnonzero(~self.space.coded)
        found[:, ordered] = gradients[:, : len(ordered)]
        return found


def flat(picture: Array, gradient: Array, size: Size, rng: np.random.Generator) -> Array:
    """The same amount in every pixel (Goodfellow, Shlens, Szegedy, ICLR 2015, section 4)."""
    del rng
    return picture + size * np.sign(gradient)


def undirected(picture: Array, gradient: Array, size: Size, rng: np.random.Generator) -> Array:
    """The same amount in every value, up or down at random: what remains without a substitute."""
    return picture + size * rng.choice([-1.0, 1.0], gradient.size)


def uneven(picture: Array, gradient: Array, size: Size, rng: np.random.Generator) -> Array:
    """Between 0.2 and 1.8 times `size`, drawn for each pixel: the mean stays."""
    return picture + size * rng.uniform(0.2, 1.8, gradient.size) * np.sign(gradient)


def heavy_tailed(picture: Array, gradient: Array, size: Size, rng: np.random.Generator) -> Array:
    """Exponential with mean `size`, drawn for each pixel: many small steps and a few large ones."""
    return picture + rng.exponential(size, gradient.size) * np.sign(gradient)


def sparse(picture: Array, gradient: Array, size: Size, rng: np.random.Generator) -> Array:
    """The flat step in a random 30% of the pixels."""
    return picture + size * np.sign(gradient) * (rng.random(gradient.size) < 0.3)


def along(picture: Array, gradient: Array, size: Size, rng: np.random.Generator) -> Array:
    """Along the gradient itself, as long in the Euclidean norm as the flat step."""
    del rng
    length = size * float(np.sqrt(gradient.size))
    return picture + length * gradient / max(float(np.linalg.norm(gradient)), 1e-12)


def noisy(picture: Array, gradient: Array, size: Size, rng: np.random.Generator) -> Array:
    """The flat step under Gaussian noise of 0.4 times its size."""
    return picture + size * (np.sign(gradient) + 0.4 * rng.standard_normal(gradient.size))


def moved(picture: Array, gradient: Array, size: Size, rng: np.random.Generator) -> Array:
    """The flat step on the picture moved by up to a pixel, so that the difference to the seed is not flat.

    Square pictures only. The edge that comes in repeats the darkest value.
    """
    return np.asarray(shifted(picture, rng.uniform(-1.0, 1.0, 2), float(picture.min())) + size * np.sign(gradient))


def toned_and_moved(picture: Array, gradient: Array, size: Size, rng: np.random.Generator) -> Array:
    """The flat step on the picture moved by one whole pixel, in another contrast and brightness.

    What is left of the seed's values is neither in their places nor at their levels. Square pictures only.
    """
    ends = (float(picture.min()), max(float(picture.max()), float(picture.min()) + 1e-9))
    offset = rng.choice([-1.0, 1.0], 2) * (rng.permutation(2) if rng.random() < 0.5 else np.ones(2))
    other = toned(picture, ends, rng.uniform(-0.1, 0.1), rng.uniform(0.8, 1.2))
    return np.asarray(shifted(other, offset, ends[0]) + size * np.sign(gradient))


def smooth(picture: Array, gradient: Array, size: Size, rng: np.random.Generator) -> Array:
    """The flat step through a low-pass filter of one pixel, as long in the Euclidean norm: no two pixels move alike.

    Square pictures only.
    """
    del rng
    side = side_of(gradient.size)
    soft = ndimage.gaussian_filter(np.sign(gradient).reshape(side, side), 1.0, mode="nearest").ravel()
    return picture + size * float(np.sqrt(gradient.size)) * soft / max(float(np.linalg.norm(soft)), 1e-12)


def by_block(picture: Array, gradient: Array, size: Size, rng: np.random.Generator) -> Array:
    """One step for each of 3 by 3 to 5 by 5 blocks, along the block's mean gradient, as long in the Euclidean norm.

    Square pictures only.
    """
    side = side_of(gradient.size)
    block = cells_of(side, min(side, int(rng.integers(3, 6))))
    mean = np.bincount(block, gradient) / np.bincount(block)
    step = mean[block]
    return picture + size * float(np.sqrt(gradient.size)) * step / max(float(np.linalg.norm(step)), 1e-12)


def heavy_tailed_whole(picture: Array, gradient: Array, size: Size, rng: np.random.Generator) -> Array:
    """The flat step, its size drawn once a query from a Pareto law of index 1.5 with mean `size`: no variance is finite."""
    drawn = size / 3.0 * (1.0 + rng.pareto(1.5))
    return picture + drawn * np.sign(gradient)


STEPS: Mapping[str, Step] = MappingProxyType(
    {
        "flat": flat,
        "undirected": undirected,
        "uneven": uneven,
        "heavy_tailed": heavy_tailed,
        "sparse": sparse,
        "along": along,
        "noisy": noisy,
        "moved": moved,
        "toned_and_moved": toned_and_moved,
        "smooth": smooth,
        "by_block": by_block,
        "heavy_tailed_whole": heavy_tailed_whole,
    }
)
"""Step laws by name."""
