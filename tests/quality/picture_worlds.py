"""Worlds of square pictures: sparse and dense, grey and in colour."""

import gzip
from dataclasses import replace

import numpy as np
from matplotlib import cbook
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from detector.redteam.conversation import Array
from tests.quality.examples import Examples

SIDE = 12  # pixels of a dense patch


def digits_8bit(_seed: int) -> Examples:
    """Sparse pictures of 8x8 pixels."""
    found = load_digits()
    return Examples(np.asarray(found.data, np.float64), np.asarray(found.target, np.int64), (0.0, 16.0), wire="uint8")


def patches(seed: int) -> Examples:
    """Dense grey patches of two photographs, 8 bits; the label is the photograph and its half."""
    grey = [np.asarray(picture, np.float64).mean(axis=2) for picture in load_sample_images().images]
    return _patches([half for picture in grey for half in np.array_split(picture, 2)], seed)


def photographs(seed: int) -> Examples:
    """The patches of `patches`, through a JPEG."""
    return replace(patches(seed), wire="jpeg")


def portrait(seed: int) -> Examples:
    """Dense grey patches of a photograph of another kind; the label is the place of the patch in a grid of 3x2."""
    with Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as picture:
        grey = np.asarray(picture.convert("L"), np.float64)
    return _patches([part for half in np.array_split(grey, 2) for part in np.array_split(half, 3, axis=1)], seed)


def colour(seed: int) -> Examples:
    """Colour patches of two photographs as a camera's sensor delivers them: a Bayer pattern of red, green, green and blue.

    Neighbouring values are of different colours, and jump as no grey picture does. By photograph and half, as in `patches`.
    """
    photographs = [_mosaic(np.asarray(picture, np.float64)) for picture in load_sample_images().images]
    return _patches([half for picture in photographs for half in np.array_split(picture, 2)], seed)


def colour_portrait(seed: int) -> Examples:
    """Such colour patches of a photograph of another kind; by place in a grid of 3x2."""
    with Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as picture:
        raw = _mosaic(np.asarray(picture.convert("RGB"), np.float64))
    parts = [part for half in np.array_split(raw, 2) for part in np.array_split(half, 3, axis=1)]
    return _patches(parts, seed)


def terrain(seed: int) -> Examples:
    """Patches of a map of elevations, smooth and without an edge, 8 bits; by place in a grid of 3x2."""
    heights = np.asarray(np.load(cbook.get_sample_data("jacksboro_fault_dem.npz", asfileobj=False))["elevation"], np.float64)
    levels = (heights - heights.min()) / np.ptp(heights) * 255.0
    return _patches([part for half in np.array_split(levels, 2) for part in np.array_split(half, 3, axis=1)], seed)


def scan(seed: int) -> Examples:
    """Patches of a scan of a head, dark around, through a JPEG; by place in a grid of 3x2."""
    with gzip.open(cbook.get_sample_data("s1045.ima.gz", asfileobj=False)) as file:
        levels = np.frombuffer(file.read(), np.uint16).reshape(256, 256).astype(np.float64)
    grey = np.minimum(levels / np.quantile(levels, 0.995), 1.0) * 255.0
    parts = [part for half in np.array_split(grey, 2) for part in np.array_split(half, 3, axis=1)]
    return replace(_patches(parts, seed), wire="jpeg")


def _mosaic(picture: Array) -> Array:
    """What a sensor behind a Bayer pattern sees of (rows, columns, 3)."""
    seen = picture[:, :, 1].copy()
    seen[::2, ::2], seen[1::2, 1::2] = picture[::2, ::2, 0], picture[1::2, 1::2, 2]
    return seen


def _patches(pictures: list[Array], seed: int) -> Examples:
    rng = np.random.default_rng([seed, 21])
    rows, labels = [], []
    for label, picture in enumerate(pictures):
        for _ in range(4000 // len(pictures)):
            top, left = (int(rng.integers(size - SIDE)) for size in picture.shape)
            rows.append(np.rint(picture[top : top + SIDE, left : left + SIDE]).ravel())
            labels.append(label)
    return Examples(np.stack(rows), np.array(labels, np.int64), (0.0, 255.0), wire="uint8")
