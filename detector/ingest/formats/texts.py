"""Texts -> vectors, without a model: hashed n-grams of characters and words, so that texts that share wording are near.

The vector is deterministic, of one length, and reveals no word. It knows nothing of meaning: a paraphrase is far. This one is
for models without a baseline; a baseline learns a better one, see `reduction`.
Source: feature hashing with signs, K. Weinberger et al., "Feature Hashing for Large Scale Multitask Learning" (ICML 2009).
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final
from zlib import crc32

import numpy as np

__all__ = ["TEXT_DIMENSION", "grams_of_pair", "grams_of_word", "hashed", "text_vector", "words_of"]

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
    words = words_of(text)
    for word in words:
        for gram, weight in grams_of_word(word):
            bucket, signed = hashed(gram, weight, TEXT_DIMENSION)
            vector[bucket] += signed
    for gram, weight in grams_of_pair(words):
        bucket, signed = hashed(gram, weight, TEXT_DIMENSION)
        vector[bucket] += signed
    length = float(np.sqrt(vector @ vector))
    if length == 0.0:
        vector[0] = length = 1.0
    found: list[float] = (vector / length).tolist()
    return found


def words_of(text: str) -> list[str]:
    """Return the words of a text that are looked at, in small letters."""
    return _WORD.findall(text[:_LONGEST].casefold())


def grams_of_word(word: str) -> Iterator[tuple[str, float]]:
    """Yield a word and its trigrams of letters, with their weights."""
    yield "w" + word, 1.0
    padded = f"<{word}>"
    for at in range(len(padded) - 2):
        yield "c" + padded[at : at + 3], 0.5


def grams_of_pair(words: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Yield the pairs of neighbouring words, with their weights."""
    for first, second in pairwise(words):
        yield f"b{first} {second}", 1.0


def hashed(gram: str, weight: float, buckets: int) -> tuple[int, float]:
    """Return the bucket of a gram, and its weight with the sign that the hash gives it."""
    code = crc32(gram.encode(errors="replace"))
    return code % buckets, weight if code & 0x8000_0000 else -weight
