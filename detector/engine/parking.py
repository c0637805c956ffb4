"""Parked clients: suspects that had to make room, kept outside memory until they ask again.

A client table hands over the whole snapshot of a suspect that leaves, and takes it back before that client's next query is
processed, so nothing of what is found depends on who was parked. The engine does no I/O: it is given a store. `InMemory` is
the default, which bounds the rows of a table but not the memory; `detector.spill` keeps the snapshots in a temporary file.
"""

from collections.abc import Iterator
from typing import Protocol


class Parked(Protocol):
    """Keeps the snapshots of clients by model and client; `len` is how many."""

    def put(self, model: str, client: str, snapshot: bytes) -> None:
        """Keep the snapshot of a client, instead of one that is kept already."""

    def take(self, model: str, client: str) -> bytes | None:
        """Return the snapshot of a client and keep it no longer; None where there is none."""

    def read(self, model: str, client: str) -> bytes:
        """Return the snapshot of a client that is kept; raises KeyError where there is none."""

    def clients(self, model: str) -> Iterator[str]:
        """Yield the clients of a model, in no particular order."""

    def __len__(self) -> int: ...


class InMemory:
    """Keeps snapshots in memory.

    >>> store = InMemory()
    >>> store.put("model", "client", b"snapshot")
    >>> store.take("model", "client"), store.take("model", "client"), len(store)
    (b'snapshot', None, 0)
    """

    def __init__(self) -> None:
        """Start with nothing."""
        self._kept: dict[tuple[str, str], bytes] = {}

    def put(self, model: str, client: str, snapshot: bytes) -> None:
        """Keep the snapshot of a client."""
        self._kept[model, client] = snapshot

    def take(self, model: str, client: str) -> bytes | None:
        """Return the snapshot of a client and keep it no longer."""
        return self._kept.pop((model, client), None)

    def read(self, model: str, client: str) -> bytes:
        """Return the snapshot of a client that is kept."""
        return self._kept[model, client]

    def clients(self, model: str) -> Iterator[str]:
        """Yield the clients of a model."""
        return (client for owner, client in self._kept if owner == model)

    def __len__(self) -> int:
        return len(self._kept)
