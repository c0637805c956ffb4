"""Packed numbers and cached texts of events, so that a batch of them is made with few objects.

Callers choose labels, descriptions and lengths, so every cache here is bounded.
"""

import struct
import sys
import zlib
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["BoundedCache", "Packers", "label_code", "size_of", "top_two"]

_CACHED_BYTES = 1 << 25
_ENTRY_BYTES = 64  # for each part of a description or label, beside its text
_CACHED_LENGTHS = 1 << 8

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def label_code(label: str | int) -> int:
    """Return the 32-bit code of a predicted label: CRC-32 of its text, as a signed integer.

    3 and ``"3"`` are the same class, so their codes are equal. In a model of a thousand labels, the probability that
    any two share a code is about one in ten thousand.

    >>> label_code(3) == label_code("3"), label_code("benign")
    (True, -1184549265)
    """
    code = zlib.crc32(str(label).encode(errors="surrogatepass"))
    return code - (1 << 32) if code >> 31 else code


class BoundedCache(dict[_Key, _Value]):
    """A dictionary that is emptied when its texts, which callers choose, have filled `_CACHED_BYTES`."""

    def __init__(self) -> None:
        super().__init__()
        self._held = 0

    def make_room(self, size: int) -> None:
        """Make room for entries of so many bytes."""
        if self._held + size > _CACHED_BYTES:
            self.clear()
            self._held = 0
        self._held += size


def size_of(part: str | int | None) -> int:
    """Return how many bytes a part of a description or a label takes in a cache."""
    return _ENTRY_BYTES + (sys.getsizeof(part) if isinstance(part, str) else 0)


class Packers(dict[int, Callable[..., bytes]]):
    """Per length, the function that packs so many numbers; what float32 cannot hold becomes infinite.

    Native byte order: the base64 form is little-endian, and so is every machine that this runs on.
    """

    def __init__(self, code: str) -> None:
        super().__init__()
        self._code = code

    def __missing__(self, length: int) -> Callable[..., bytes]:
        if len(self) >= _CACHED_LENGTHS:
            self.clear()
        pack = self[length] = struct.Struct(f"{length}{self._code}").pack
        return pack


def top_two(
    probabilities: Sequence[bytes],
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the index of the largest probability, and the two largest; each of shape (n,), 0 and NaN where unknown."""
    n = len(probabilities)
    size = len(probabilities[0]) if n else 0
    if size and all(len(row) == size for row in probabilities):  # nearly always
        return _two_largest(b"".join(probabilities), n)
    top_class = np.zeros(n, dtype=np.intp)
    largest = np.full((2, n), np.nan, dtype=np.float32)
    sizes = np.array([len(row) for row in probabilities])
    for size in set(sizes.tolist()) - {0}:
        here = np.flatnonzero(sizes == size)
        found = _two_largest(b"".join([probabilities[i] for i in here.tolist()]), len(here))
        top_class[here], largest[0, here], largest[1, here] = found
    return top_class, largest[0], largest[1]


def _two_largest(packed: bytes, n: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return what `top_two` does for `n` rows of one length."""
    values = np.frombuffer(packed, dtype=np.float64).reshape(n, -1)
    if values.shape[1] == 1:  # the probability of the first of two classes
        values = np.concatenate([values, 1 - values], axis=1)
    # In C order, since a compiled kernel takes columns with gaps for another type.
    second, first = np.partition(values, -2, axis=1)[:, -2:].T.astype(np.float32, order="C")
    return values.argmax(axis=1), first, second
