"""Texts -> vectors, without a model: hashed n-grams of characters and words, so that texts that share wording are near.

The vector is deterministic, of one length, and reveals no word. It knows nothing of meaning: a paraphrase is far.
Source: feature hashing with signs, K. Weinberger et al., "Feature Hashing for Large Scale Multitask Learning" (ICML 2009).
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final
from zlib import crc32

import numpy as np

__all__ = ["TEXT_DIMENSION", "text_vector"]

TEXT_DIMENSION: Final = 64
_LONGEST: Final = 20_000  # characters that are looked at
_WORD: Final = re.compile(r"\w+")


def text_vector(text: str) -> list[float]:
    """Return a text as `TEXT_DIMENSION` numbers of length 1 (Euclid); an empty text is the first unit vector.

    >>> a, b, c = map(np.array, map(text_vector, ("the red fox", "the red foxes", "quarterly revenue")))
    >>> bool(a @ b > 0.5 > a @ c)
    True
    """
    vector = np.zeros(TEXT_DIMENSION)
    for gram, weight in _grams(text[:_LONGEST].casefold()):
        code = crc32(gram.encode(errors="replace"))
        vector[code % TEXT_DIMENSION] += weight if code & 0x8000_0000 else -weight
    length = float(np.sqrt(vector @ vector))
    if length == 0.0:
        vector[0] = length = 1.0
    found: list[float] = (vector / length).tolist()
    return found


def _grams(text: str) -> Iterator[tuple[str, float]]:
    words = _WORD.findall(text)
    for word in words:
        yield "w" + word, 1.0
        padded = f"<{word}>"
        for at in range(len(padded) - 2):
            yield "c" + padded[at : at + 3], 0.5
    for first, second in pairwise(words):
        yield f"b{first} {second}", 1.0
