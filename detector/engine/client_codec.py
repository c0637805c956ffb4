"""Client codec: a client to a snapshot and back. It holds the client's row, its ids in force, and its examples."""

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.engine.examples import Examples
from detector.engine.memory.ledger import Ledger
from detector.engine.models.reference import Reference
from detector.engine.slots import Slots
from detector.engine.state import ID_BYTES, PLACES, SNAPSHOT_VERSION, ClientSnapshot, Columns, dump, load
from detector.errors import SnapshotError

ROWS_AT_ONCE = 4096  # clients packed or unpacked together


class ClientCodec:
    """Packs and unpacks the clients of one table, whose state has the name `key`.

    `sizes` are the arguments that the table's columns were made with.
    """

    def __init__(
        self,
        key: str,
        reference: Reference,
        sizes: dict[str, Any],
        columns: Columns,
        slots: Slots,
        examples: Examples,
        ledger: Ledger,
    ) -> None:
        self._key = key
        self._fingerprint = reference.fingerprint
        self._sizes = sizes
        self._columns = columns
        self._slots = slots
        self._examples = examples
        self._ledger = ledger

    def pack(self, slots: npt.NDArray[np.int64]) -> Iterator[tuple[str, bytes]]:
        """Yield the name and the snapshot of each of these clients."""
        wanted = np.zeros(self._columns.capacity, bool)
        wanted[slots] = True
        entered = self._ledger.of(self._columns.admission.horizon_ms, wanted)
        for at in range(0, len(slots), ROWS_AT_ONCE):
            some = slots[at : at + ROWS_AT_ONCE]
            for slot, row in zip(some.tolist(), self._columns.pack(some), strict=True):
                client = self._slots.name(slot)
                snapshot = ClientSnapshot(
                    version=SNAPSHOT_VERSION,
                    layout=self._columns.layout,
                    reference=self._fingerprint,
                    model=self._key,
                    client=client,
                    row=row,
                    ids=np.array(entered.get(slot, ()), np.uint64).tobytes(),
                    check=zlib.crc32(row),
                    examples={PLACES[place]: list(ids) for place, ids in self._examples.of(slot).items()},
                )
                yield client, dump(snapshot)

    def load(self, data: bytes) -> ClientSnapshot:
        """Decode a snapshot; raises `SnapshotError` when it does not belong to this table."""
        snapshot = load(data, self._columns.layout, self._fingerprint)
        if snapshot.model != self._key:
            raise SnapshotError(f"the snapshot is of model {snapshot.model!r}, not {self._key!r}")
        return snapshot

    def apart(self, snapshots: Sequence[ClientSnapshot]) -> Columns:
        """Return the rows of snapshots as columns of their own, in the same order."""
        columns = Columns(max(len(snapshots), 1), **self._sizes)
        columns.unpack(np.arange(len(snapshots)), [snapshot.row for snapshot in snapshots])
        return columns

    def unpack(self, slots: npt.NDArray[np.int64], snapshots: Sequence[ClientSnapshot]) -> None:
        """Restore the clients at `slots` from their snapshots."""
        for slot, snapshot in zip(slots.tolist(), snapshots, strict=True):
            self._examples.replace(slot, {PLACES.index(name): ids for name, ids in snapshot.examples.items()})
        self._columns.unpack(slots, [snapshot.row for snapshot in snapshots])
        ids = np.frombuffer(b"".join(snapshot.ids for snapshot in snapshots), np.uint64).reshape(-1, 2)
        owners = np.repeat(slots, [len(snapshot.ids) // ID_BYTES for snapshot in snapshots])
        self._ledger.enter(owners, ids, self._columns.admission.horizon_ms, self._slots.kept)
