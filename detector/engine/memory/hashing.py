"""Hashing: the 64 bits that stand for an id or a content.

An id is hashed together with its client, and a content with keys from the operator's secret. So nobody can choose ids or
contents that collide.
"""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from detector.engine.kernels import kernel


@kernel
def digest(text, ends, owner, keys):
    """Hash each id, a stretch of `text` up to its end in `ends`, with the 64 bits of its owner (FNV-1a, mixed)."""
    start = 0
    for i in range(ends.shape[0]):
        h = np.uint64(0xCBF29CE484222325) ^ owner[i]
        for k in range(start, ends[i]):
            h = (h ^ np.uint64(text[k])) * np.uint64(0x100000001B3)
        h = (h ^ (h >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
        h ^= h >> np.uint64(32)
        keys[i] = h if h != 0 else np.uint64(1)
        start = ends[i]


def joined(ids: Sequence[str], ends: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Return the bytes of all ids on end, and write the end of each into `ends` (n,)."""
    together = "".join(ids)
    text = together.encode()
    ends[:] = list(accumulate(map(len, ids if len(text) == len(together) else [event_id.encode() for event_id in ids])))
    return np.frombuffer(text, np.uint8)


@kernel
def hash_contents(words, keys, label, confidence, runner_up, contents):
    """Hash input and answer of each event with secret keys (multilinear hashing: Lemire and Kaser, 2014, section 2).

    `words` (n, d) are the 32 bits of each input value, `keys` (d + 4,) are secret odd 64-bit numbers. The upper 32 bits count:
    those of two contents that were chosen without the keys agree with a probability of 2^-32.
    """
    width = words.shape[1]
    for i in range(words.shape[0]):
        h = keys[width]
        for d in range(width):
            h += keys[d] * np.uint64(words[i, d])
        h += keys[width + 1] * np.uint64(np.uint32(label[i]))
        h += keys[width + 2] * np.uint64(confidence[i])
        h += keys[width + 3] * np.uint64(runner_up[i])
        contents[i] = h


class Contents:
    """Hashes inputs of one length together with their answers, with `keys` (dimension + 4,) from a secret."""

    def __init__(self, secret: int, dimension: int) -> None:
        # numpy guarantees the stream of this generator, so every worker gets the same hashes.
        drawn = np.random.Generator(np.random.PCG64(secret)).integers(0, 2**64, dimension + 4, np.uint64)
        self.keys = drawn | np.uint64(1)

    def of(
        self,
        vector: npt.NDArray[np.float32],
        label: npt.NDArray[np.int32],
        confidence: npt.NDArray[np.float32],
        runner_up: npt.NDArray[np.float32],
    ) -> npt.NDArray[np.uint64]:
        """Return the hash of each of n events; `vector` is (n, dimension), the others (n,)."""
        contents = np.empty(len(vector), np.uint64)
        words = np.ascontiguousarray(vector, np.float32).view(np.uint32)
        hash_contents(words, self.keys, label, confidence.view(np.uint32), runner_up.view(np.uint32), contents)
        return contents
