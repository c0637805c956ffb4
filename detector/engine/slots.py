"""Slots: the row of the columns that each client of a model has, and the clients that the next snapshot must include.

A row that a client leaves is given to a later client. A client's random number follows from its name and the operator's secret.
So every worker computes the same number, and nobody else can compute it.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt


class Slots:
    """The clients that are held, by name and by slot.

    `seed` (rows,) is the random number of each client. `kept` (rows,) tells which rows have a client. `dirty` (rows,) tells
    which rows changed since the last snapshot, and `saved` (rows,) which clients that snapshot has. `forgotten` are the clients
    in that snapshot that have left for good.
    """

    def __init__(self, key: str, secret: int, capacity: int) -> None:
        self.of: dict[str, int] = {}
        self.seed = np.zeros(capacity, np.uint64)
        self.kept = np.zeros(capacity, bool)
        self.dirty = np.zeros(capacity, bool)
        self.saved = np.zeros(capacity, bool)
        self.forgotten: set[str] = set()
        self._names: list[str | None] = []
        self._free: list[int] = []
        self._prefix = f"{key}\0"
        self._secret = secret.to_bytes(8, "little")

    def __len__(self) -> int:
        """Return the number of clients held."""
        return len(self.of)

    def __contains__(self, client: str) -> bool:
        return client in self.of

    def name(self, slot: int) -> str:
        """Return the name of the client at a slot."""
        name = self._names[slot]
        assert name is not None  # noqa: S101  # slots in use always have a name
        return name

    def places(self, clients: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the slots of clients that are held."""
        return np.fromiter(map(self.of.__getitem__, clients), np.int64, len(clients))

    def missing(self, clients: Sequence[str]) -> dict[str, int]:
        """Return the clients that are not held, each with the place of its first event, in that order."""
        missing: dict[str, int] = {}
        for i, client in enumerate(clients):
            if client not in self.of and client not in missing:
                missing[client] = i
        return missing

    def rows_for(self, clients: int) -> int:
        """Return how many rows are needed to admit so many new clients."""
        return len(self._names) + max(clients - len(self._free), 0)

    def admit(self, clients: Sequence[str]) -> npt.NDArray[np.int64]:
        """Give each new client a slot; there must be rows for them."""
        fresh = self.rows_for(len(clients)) - len(self._names)
        slots = list(range(len(self._names), len(self._names) + fresh))
        self._names += [None] * fresh
        slots += [self._free.pop() for _ in range(len(clients) - fresh)]
        for client, slot in zip(clients, slots, strict=True):
            self.of[client] = slot
            self._names[slot] = client
        chosen = np.array(slots, np.int64)
        self.seed[chosen] = np.frombuffer(b"".join(map(self._drawn, clients)), "<u8")
        self.kept[chosen] = True
        for client in self.forgotten.intersection(clients):
            self.forgotten.discard(client)
            self.saved[self.of[client]] = True
        return chosen

    def _drawn(self, client: str) -> bytes:
        return blake2b((self._prefix + client).encode(), digest_size=8, key=self._secret).digest()

    def grow(self, capacity: int) -> None:
        """Grow to this number of rows."""
        for name in ("seed", "kept", "dirty", "saved"):
            array = getattr(self, name)
            setattr(self, name, np.concatenate([array, np.zeros(capacity - len(array), array.dtype)]))

    def forget(self, slots: npt.NDArray[np.int64]) -> None:
        """Note clients that leave for good: the next snapshot must drop those that the last snapshot has."""
        for slot, saved in zip(slots.tolist(), self.saved[slots].tolist(), strict=True):
            if saved:
                self.forgotten.add(self.name(slot))

    def vacate(self, slots: Iterable[int]) -> None:
        """Take the slots away from their clients."""
        for slot in slots:
            del self.of[self.name(slot)]
            self._names[slot] = None
            self.dirty[slot] = self.saved[slot] = self.kept[slot] = False
            self._free.append(slot)

    def note_snapshot(self) -> None:
        """Note that a snapshot was taken of all clients that are held, or of those that changed."""
        self.forgotten.clear()
        self.dirty[:] = False
        self.saved[:] = self.kept
