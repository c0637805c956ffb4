"""Slots: which row of the columns each client of a model has, and what a snapshot still has to say about it.

A row that a client leaves is given to the next one. What is drawn for a client follows from its name and the operator's secret,
so every worker draws the same, and nobody else can tell it.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt


class Slots:
    """The clients that are held, by name and by slot.

    `seed` (rows,) is drawn for each client. `kept` (rows,) tells which rows have a client. `dirty` (rows,) tells whose row
    changed since the last snapshot, and `saved` (rows,) whom that snapshot has. `forgotten` are those that it has and that have
    left for good.
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
        """Return the clients that are not held, and where each comes first, in that order."""
        missing: dict[str, int] = {}
        for i, client in enumerate(clients):
            if client not in self.of and client not in missing:
                missing[client] = i
        return missing

    def rows_for(self, clients: int) -> int:
        """Return how many rows there must be before so many new clients are admitted."""
        return len(self._names) + max(clients - len(self._free), 0)

    def admit(self, clients: Sequence[str]) -> npt.NDArray[np.int64]:
        """Give clients that are not held a slot each; there must be rows for them."""
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
        """Make room for more rows."""
        for name in ("seed", "kept", "dirty", "saved"):
            array = getattr(self, name)
            setattr(self, name, np.concatenate([array, np.zeros(capacity - len(array), array.dtype)]))

    def forget(self, slots: npt.NDArray[np.int64]) -> None:
        """Note clients that are about to leave for good: those that the last snapshot has must be left out of the next."""
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
        """Note that a snapshot was taken of everybody who is held, or who changed."""
        self.forgotten.clear()
        self.dirty[:] = False
        self.saved[:] = self.kept
