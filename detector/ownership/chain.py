"""The chain: one Merkle root (RFC 6962, section 2.1) for each hour of records, each over the one before it.

Whoever has a time stamp of a link can show later that a record was there, and that none was changed, added or taken away,
without showing anybody else's: of those the hash is enough.
"""

import hashlib
from collections.abc import Iterable, Sequence
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


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root of the tree over hashes of leaves, as RFC 6962 has it.

    >>> merkle_root([]) == hashlib.sha256(b"").digest()
    True
    """
    if not leaves:
        return hashlib.sha256(b"").digest()
    level = list(leaves)
    while len(level) > 1:  # a last one without a partner goes up as it is
        paired = [hashlib.sha256(b"\1" + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)]
        level = paired + level[len(level) - len(level) % 2 :]
    return level[0]


def links_of(leaves: Iterable[Leaf]) -> list[Link]:
    """Return the links over records in their order; a record of an hour that is over counts for the hour that is open."""
    links: list[Link] = []
    hour, held = -1, list[bytes]()

    def close() -> None:
        if held:
            root = merkle_root(held)
            before = links[-1].chained if links else START
            sealed = before + hour.to_bytes(8) + len(held).to_bytes(8) + root
            links.append(Link(hour, len(held), root, hashlib.sha256(sealed).digest()))
            held.clear()

    for leaf in leaves:
        if leaf.hour > hour:
            close()
            hour = leaf.hour
        held.append(leaf.hash)
    close()
    return links
