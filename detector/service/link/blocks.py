"""A large value of the state in blocks, of which only those are written that changed.

The state of a linker is some 10 MB, most of it columns of which a few places change with each query. So a checkpoint writes
the blocks that differ from the ones before, and the number of blocks. That saves most where a model is asked little: a thousand
queries change nine blocks in ten. All records of a checkpoint are committed together, so the
blocks that are there always belong together.
"""

from collections.abc import Iterator, Mapping
from hashlib import blake2b

BLOCK_BYTES = 32 * 1024


class Blocks:
    """Remembers what of one value was saved; `part` begins the names of its blocks."""

    def __init__(self, part: str) -> None:
        self._part = part
        self._saved: list[bytes] = []

    def changed(self, value: bytes) -> dict[str, bytes]:
        """Return the blocks of `value` by name, less those that were saved last; empty bytes for those that are gone."""
        cut = list(_cut(value))
        digests = [blake2b(block, digest_size=16).digest() for block in cut]
        before, self._saved = self._saved, digests
        found = {
            self._name(number): block
            for number, (block, digest) in enumerate(zip(cut, digests, strict=True))
            if number >= len(before) or before[number] != digest
        }
        return found | {self._name(number): b"" for number in range(len(cut), len(before))}

    def whole(self, saved: Mapping[str, bytes], count: int) -> bytes | None:
        """Return the value of `count` saved blocks, which are then known as saved; None where one is missing."""
        blocks = [saved.get(self._name(number), b"") for number in range(count)]
        if not all(blocks):
            return None
        self._saved = [blake2b(block, digest_size=16).digest() for block in blocks]
        return b"".join(blocks)

    def forget(self) -> None:
        """Let the next call of `changed` return all blocks."""
        self._saved = []

    def _name(self, number: int) -> str:
        return f"{self._part}-{number}"


def _cut(value: bytes) -> Iterator[bytes]:
    for begin in range(0, len(value), BLOCK_BYTES):
        yield value[begin : begin + BLOCK_BYTES]
