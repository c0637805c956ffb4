"""The chain: one Merkle root (RFC 6962, section 2.1) for each hour of records, each over the one before it.

Whoever has a time stamp of a link can show later that a record was there, and that none was changed, added or taken away,
without showing anybody else's: of those the hash is enough.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

__all__ = ["HOUR_MS", "Leaf", "Link", "leaf_hash", "links_of", "merkle_root"]

HOUR_MS: Final = 3_600_000
START: Final = bytes(32)


class Leaf(NamedTuple):
    """A record in the chain: the hour it was told in, and its hash."""

    hour: int
    hash: bytes


class Link(NamedTuple):
    """An hour: how many records it has, their root, and the hash over the link before and this."""

    hour: int
    records: int
    root: bytes
    chained: bytes


def leaf_hash(record: bytes) -> bytes:
    """Return the hash of a record, as it stands in the log, without its line end."""
    return hashlib.sha256(b"\0" + record).digest()


def merkle_root(leaves: Iterable[bytes]) -> bytes:
    """Return the root of the tree over hashes of leaves, as RFC 6962 has it.

    >>> merkle_root([]) == hashlib.sha256(b"").digest()
    True
    """
    tree = _Tree()
    for leaf in leaves:
        tree.add(leaf)
    return tree.root()


class _Tree:
    """Keeps the roots of the whole trees that leaves so far make, the largest first: one for each bit of their count."""

    def __init__(self) -> None:
        self.leaves = 0
        self._roots: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        self._roots.append(leaf)
        self.leaves += 1
        whole = self.leaves
        while whole % 2 == 0:
            right = self._roots.pop()
            self._roots[-1] = _joined(self._roots[-1], right)
            whole //= 2

    def root(self) -> bytes:
        if not self._roots:
            return hashlib.sha256(b"").digest()
        *rest, root = self._roots
        for left in reversed(rest):
            root = _joined(left, root)
        return root


def _joined(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def links_of(leaves: Iterable[Leaf]) -> Iterator[Link]:
    """Yield the links over records in their order; a record of an hour that is over counts for the hour that is open.

    Holds no records, however many there are.
    """
    hour, tree, before = -1, _Tree(), START
    for leaf in leaves:
        if leaf.hour > hour:
            if tree.leaves:
                link = _link(hour, tree, before)
                before = link.chained
                yield link
            hour, tree = leaf.hour, _Tree()
        tree.add(leaf.hash)
    if tree.leaves:
        yield _link(hour, tree, before)


def _link(hour: int, tree: _Tree, before: bytes) -> Link:
    root = tree.root()
    sealed = before + hour.to_bytes(8) + tree.leaves.to_bytes(8) + root
    return Link(hour, tree.leaves, root, hashlib.sha256(sealed).digest())
