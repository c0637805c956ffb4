"""Parked clients: suspects that had to make room, kept outside the client table until they ask again.

A client table stores the whole snapshot of a suspect that leaves, and restores it before that client's next query is processed.
So no result depends on which clients were parked. The engine does no I/O: it is given a store. The default `InMemory` bounds
the rows of a table but not the memory; `detector.spill` keeps the snapshots in a temporary file.
"""

from collections.abc import Iterator
from typing import Protocol


class Parked(Protocol):
    """Keeps the snapshots of clients by model and client; `len` is how many."""

    def put(self, model: str, client: str, snapshot: bytes) -> None:
        """Keep the snapshot of a client; it replaces an earlier one."""

    def take(self, model: str, client: str) -> bytes | None:
        """Remove and return the snapshot of a client; None where there is none."""

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
        """Start empty."""
        self._kept: dict[tuple[str, str], bytes] = {}

    def put(self, model: str, client: str, snapshot: bytes) -> None:
        """Keep the snapshot of a client."""
        self._kept[model, client] = snapshot

    def take(self, model: str, client: str) -> bytes | None:
        """Remove and return the snapshot of a client."""
        return self._kept.pop((model, client), None)

    def read(self, model: str, client: str) -> bytes:
        """Return the snapshot of a client that is kept."""
        return self._kept[model, client]

    def clients(self, model: str) -> Iterator[str]:
        """Yield the clients of a model."""
        return (client for owner, client in self._kept if owner == model)

    def __len__(self) -> int:
        return len(self._kept)
