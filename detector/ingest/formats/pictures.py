"""Pictures -> vectors: a small grey raster, in which each number is the mean brightness of a block.

A query that differs from another in a few pixels only is near it then, and a vector stays small whatever the camera. What is
finer than a block is lost. Files of pictures need Pillow, the extra ``images``; arrays of pixels do not.
"""

import base64
import binascii
import io
import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detector.ingest.formats.event import UnusableError

__all__ = ["LARGEST_ARRAY", "SIDE", "file_in", "file_vector", "reduced"]

SIDE: Final = 16
"""Rows and columns of the raster."""

LARGEST_ARRAY: Final = 4096
"""Numbers of an array of pixels that is kept as it is, such as 28x28 and 32x32x3; larger ones are reduced."""

_MOST_PIXELS: Final = 4096 * 4096  # of a file
_CHANNELS: Final = frozenset({1, 3, 4})
_NUMBERS: Final = frozenset({int, float})
_DEEPEST: Final = 4  # with a first dimension of 1

_Floats = npt.NDArray[np.float64]


def file_in(instance: Any) -> str | None:
    """Return the base64 of a file in an input: ``{"b64": ...}``, alone or under one name, or a ``data:image/`` address.

    >>> file_in({"image_bytes": {"b64": "iVBO"}}), file_in("data:image/png;base64,iVBO"), file_in("red fox")
    ('iVBO', 'iVBO', None)
    """
    if isinstance(instance, dict) and len(instance) == 1:
        ((name, value),) = instance.items()
        if name == "b64":
            return value if isinstance(value, str) else None
        if isinstance(value, dict | str):
            return file_in(value)
    if isinstance(instance, str) and instance.startswith("data:image/"):
        head, _, content = instance.partition(",")
        return content if head.endswith(";base64") else None
    return None


def file_vector(content: str) -> list[float]:
    """Return the raster of a PNG or JPEG file in base64, row by row, with 0 for black and 1 for white.

    Raises `UnusableError` for anything else, a picture that is cut off, one of more than 16,777,216 pixels, and where Pillow is
    not installed.
    """
    try:
        from PIL import Image  # noqa: PLC0415  # an extra
    except ImportError:
        raise UnusableError("schema", "input: a picture cannot be read: install the extra `images` (Pillow)") from None
    try:
        data = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise UnusableError("encoding", "input: a picture that is not base64") from None
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            width, height = image.size
            # A small file may claim any size: only what is small enough is unpacked.
            grey = np.asarray(image.convert("L"), np.float64) if width * height <= _MOST_PIXELS else None
    except Exception as error:  # a damaged file raises whatever its bytes lead to
        raise UnusableError("schema", "input: neither a PNG nor a JPEG picture that can be read to its end") from error
    if grey is None:
        raise UnusableError("oversized", f"input: a picture of {width} x {height} pixels")
    return _raster(grey / 255.0)


def reduced(values: Any) -> list[float] | None:
    """Return the raster of an array of pixels with more than `LARGEST_ARRAY` numbers, None where it is no such array.

    Its shape is height and width, with 1, 3 or 4 channels first or last or without, all sides at least `SIDE`. Channels are
    averaged, and numbers keep their scale.

    >>> len(reduced(np.ones((64, 80, 3)))), reduced(np.ones((28, 28)))
    (256, None)
    """
    if not isinstance(values, np.ndarray) and not (isinstance(values, list) and values and isinstance(values[0], list)):
        return None
    if isinstance(values, list) and not _holds_numbers(values):  # an array of texts is as wide as the longest of them
        return None
    try:
        pixels = np.asarray(values)
    except ValueError:  # lists of different lengths
        return None
    if pixels.size <= LARGEST_ARRAY or pixels.dtype.kind not in "uif":
        return None
    if pixels.ndim == _DEEPEST and pixels.shape[0] == 1:
        pixels = pixels[0]
    if pixels.ndim == 3:  # with channels
        if pixels.shape[2] in _CHANNELS:
            pixels = pixels.mean(axis=2, dtype=np.float64)
        elif pixels.shape[0] in _CHANNELS:
            pixels = pixels.mean(axis=0, dtype=np.float64)
    if pixels.ndim != 2 or min(pixels.shape) < SIDE:  # height and width
        return None
    raster = _raster(pixels.astype(np.float64))
    return raster if all(map(math.isfinite, raster)) else None


def _holds_numbers(values: list[Any]) -> bool:
    """Tell whether nested lists hold numbers and nothing else."""
    return all(set(map(type, row)) <= _NUMBERS for row in _innermost(values))


def _innermost(values: list[Any]) -> Iterator[list[Any]]:
    """Yield the lists of nested ones that hold anything but lists, however deep."""
    waiting = [values]
    while waiting:
        entries = waiting.pop()
        lists = [entry for entry in entries if isinstance(entry, list)]
        if len(lists) < len(entries):
            yield entries
        waiting += lists


def _raster(grey: _Floats) -> list[float]:
    """Return, row by row, the means of `SIDE` by `SIDE` blocks; a side that is shorter is stretched, each pixel repeated."""
    for axis in (0, 1):
        length = grey.shape[axis]
        if length < SIDE:
            grey = grey.take(np.arange(SIDE) * length // SIDE, axis=axis)
            length = SIDE
        edges = np.arange(SIDE + 1) * length // SIDE
        sums: _Floats = np.add.reduceat(grey, edges[:-1], axis=axis)
        sizes = np.diff(edges).astype(np.float64)
        grey = sums / (sizes[:, None] if axis == 0 else sizes)
    found: list[float] = grey.ravel().tolist()
    return found
