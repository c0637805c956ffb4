"""How far to step along a gradient, and how evenly: the published sign step, and steps that hide it.

A sign step moves every pixel by the same amount, and that evenness is what gives it away. A thief who knows this can
spend accuracy on looking uneven. `size` is in the units of the picture; each law keeps the direction of the gradient.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from detector.redteam.conversation import Array
from detector.redteam.pictures import shifted

Step: TypeAlias = Callable[[Array, Array, float, np.random.Generator], Array]


def flat(picture: Array, gradient: Array, size: float, rng: np.random.Generator) -> Array:
    """The same amount in every pixel (Goodfellow, Shlens, Szegedy, ICLR 2015, section 4)."""
    del rng
    return picture + size * np.sign(gradient)


def uneven(picture: Array, gradient: Array, size: float, rng: np.random.Generator) -> Array:
    """Between 0.2 and 1.8 times `size`, drawn for each pixel: the mean stays."""
    return picture + size * rng.uniform(0.2, 1.8, gradient.size) * np.sign(gradient)


def heavy_tailed(picture: Array, gradient: Array, size: float, rng: np.random.Generator) -> Array:
    """Exponential with mean `size`, drawn for each pixel: many small steps and a few large ones."""
    return picture + rng.exponential(size, gradient.size) * np.sign(gradient)


def sparse(picture: Array, gradient: Array, size: float, rng: np.random.Generator) -> Array:
    """The flat step in a random 30% of the pixels."""
    return picture + size * np.sign(gradient) * (rng.random(gradient.size) < 0.3)


def along(picture: Array, gradient: Array, size: float, rng: np.random.Generator) -> Array:
    """Along the gradient itself, as long in the Euclidean norm as the flat step."""
    del rng
    length = size * float(np.sqrt(gradient.size))
    return picture + length * gradient / max(float(np.linalg.norm(gradient)), 1e-12)


def noisy(picture: Array, gradient: Array, size: float, rng: np.random.Generator) -> Array:
    """The flat step under Gaussian noise of 0.4 times its size."""
    return picture + size * (np.sign(gradient) + 0.4 * rng.standard_normal(gradient.size))


def moved(picture: Array, gradient: Array, size: float, rng: np.random.Generator) -> Array:
    """The flat step on the picture moved by up to a pixel, so that the difference to the seed is not flat.

    Square pictures only. The edge that comes in repeats the darkest value.
    """
    return np.asarray(shifted(picture, rng.uniform(-1.0, 1.0, 2), float(picture.min())) + size * np.sign(gradient))


STEPS: Mapping[str, Step] = MappingProxyType(
    {
        "flat": flat,
        "uneven": uneven,
        "heavy_tailed": heavy_tailed,
        "sparse": sparse,
        "along": along,
        "noisy": noisy,
        "moved": moved,
    }
)
"""Step laws by name."""
