"""Pictures of another world, drawn by formula.

Stand-ins for a thief's own unrelated data set: no photograph is in them. They are smooth where photographs are
textured, have plain backgrounds, and come from four recipes only, so a detector that finds them has not been shown to
find a web crawl of real photographs. What they share with one: no relation to the victim's classes, and structure that
white noise lacks.
"""

import numpy as np
from scipy import ndimage

from detector.redteam.conversation import Array, ValueRange
from detector.redteam.pictures import side_of


def foreign_picture(dimension: int, rng: np.random.Generator, value_range: ValueRange) -> Array:
    """Draw one picture: a smooth field, a grating, a few blobs or the silhouette of a garment, (dimension,).

    Contrast and base brightness vary from picture to picture. Raises ValueError if `dimension` is not a square.
    """
    side = side_of(dimension)
    down, right = np.mgrid[0:side, 0:side] / max(side - 1, 1)
    recipe = (_field, _grating, _blobs, _garment)[int(rng.integers(4))]
    drawn = recipe(down, right, rng)
    drawn = (drawn - drawn.min()) / max(float(np.ptp(drawn)), 1e-12)
    dark, bright = rng.uniform(0.0, 0.35), rng.uniform(0.65, 1.0)
    lo, hi = value_range
    return np.asarray(lo + (hi - lo) * (dark + (bright - dark) * drawn)).ravel()


def _field(down: Array, right: Array, rng: np.random.Generator) -> Array:
    del right
    width = rng.uniform(0.06, 0.25) * len(down)
    return np.asarray(ndimage.gaussian_filter(rng.standard_normal(down.shape), width, mode="wrap"))


def _grating(down: Array, right: Array, rng: np.random.Generator) -> Array:
    angle, waves, phase = rng.uniform(0.0, np.pi), rng.uniform(0.7, 3.0), rng.uniform(0.0, 2.0 * np.pi)
    wave = np.sin(2.0 * np.pi * waves * (np.cos(angle) * down + np.sin(angle) * right) + phase)
    return np.asarray(wave * rng.uniform(0.5, 1.0) + rng.uniform(0.0, 1.0) * down)


def _blobs(down: Array, right: Array, rng: np.random.Generator) -> Array:
    total = np.zeros_like(down)
    for _ in range(int(rng.integers(2, 7))):
        y, x, width = rng.uniform(0.0, 1.0), rng.uniform(0.0, 1.0), rng.uniform(0.08, 0.3)
        total += rng.choice([-1.0, 1.0]) * np.exp(-((down - y) ** 2 + (right - x) ** 2) / (2.0 * width**2))
    return total


def _garment(down: Array, right: Array, rng: np.random.Generator) -> Array:
    """A shape with a vertical axis, as wide as a random profile says: a shirt, a bag, a bottle, trousers with a gap."""
    across = np.abs(right - 0.5)
    knots = rng.uniform(0.15, 0.5, 5)
    shape = (across < np.interp(down, np.linspace(0.0, 1.0, 5), knots)).astype(np.float64)
    if rng.random() < 0.3:
        shape[(down > rng.uniform(0.3, 0.6)) & (across < rng.uniform(0.05, 0.12))] = 0.0
    shade = ndimage.gaussian_filter(rng.standard_normal(down.shape), 1.0)
    return np.asarray(shape * (1.0 + 0.25 * shade))
