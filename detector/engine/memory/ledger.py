"""Ledger: the ids of recent queries, of all clients of a model, in one hash table.

An id is kept for as long as a repeat of it could be accepted (see `admission`). The table is open-addressed, and it grows with
the number of events within the lateness. An id from before its client's horizon counts as forgotten, whether or not the table
was swept since.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.kernels import kernel

SMALLEST_LEDGER = 1024


class Entries(NamedTuple):
    """The ledger's table (open addressing): `key` 0 marks a free place; `slot` is the client's row.

    `content` are the upper 16 bits of the hash of input and answer under the id. So 1 in 65,536 different contents is taken for
    the same.
    """

    key: npt.NDArray[np.uint64]
    time_ms: npt.NDArray[np.int64]
    slot: npt.NDArray[np.int32]
    content: npt.NDArray[np.uint16]


@kernel
def mixed(key, content):
    """Return the key of an id together with its content."""
    h = (key ^ content) * np.uint64(0xD6E8FEB86659FD93)
    h ^= h >> np.uint64(32)
    return h if h != 0 else np.uint64(1)


@kernel
def find(entries, key):
    """Return the place of `key`, or the free place where it belongs."""
    mask = entries.key.shape[0] - 1
    at = np.int64(key & np.uint64(mask))
    while entries.key[at] != 0 and entries.key[at] != key:
        at = (at + 1) & mask
    return at


@kernel
def move(old, new, horizon_ms, keep_slot):
    """Copy the entries of `old` that are still needed into `new`; return how many they are."""
    kept = 0
    for at in range(old.key.shape[0]):
        s = old.slot[at]
        if old.key[at] != 0 and keep_slot[s] and old.time_ms[at] >= horizon_ms[s]:
            to = find(new, old.key[at])
            new.key[to] = old.key[at]
            new.time_ms[to] = old.time_ms[at]
            new.slot[to] = s
            new.content[to] = old.content[at]
            kept += 1
    return kept


@kernel
def write(entries, at, key, time_ms, slot, content):
    """Write an entry at a place that `find` gave; return 1 where the place was free, else 0."""
    entered = 1 if entries.key[at] == 0 else 0
    entries.key[at] = key
    entries.time_ms[at] = time_ms
    entries.slot[at] = slot
    entries.content[at] = content
    return entered


@kernel
def tally(entries, horizon_ms, wanted, counts):
    """Count the ids in force of each wanted slot, at the place after the slot in `counts`."""
    for at in range(entries.key.shape[0]):
        s = entries.slot[at]
        if entries.key[at] != 0 and wanted[s] and entries.time_ms[at] >= horizon_ms[s]:
            counts[s + 1] += 1


@kernel
def collect(entries, horizon_ms, wanted, starts, ids):
    """Fill `ids` (ids, 2), those of a slot from its place in `starts` on: keys, and times with contents in their low bits."""
    filled = starts.copy()
    for at in range(entries.key.shape[0]):
        s = entries.slot[at]
        if entries.key[at] != 0 and wanted[s] and entries.time_ms[at] >= horizon_ms[s]:
            ids[filled[s], 0] = entries.key[at]
            ids[filled[s], 1] = np.uint64(entries.time_ms[at]) << np.uint64(16) | np.uint64(entries.content[at])
            filled[s] += 1
    for s in range(wanted.shape[0]):
        if filled[s] > starts[s] + 1:
            own = ids[starts[s] : filled[s]]
            own[:] = own[np.argsort(own[:, 0])]


@kernel
def enter(entries, slot, ids):
    """Enter `ids` (ids, 2) as `collect` gives them; return how many were not there yet."""
    entered = 0
    for i in range(ids.shape[0]):
        at = find(entries, ids[i, 0])
        time_ms = np.int64(ids[i, 1] >> np.uint64(16))
        entered += write(entries, at, ids[i, 0], time_ms, slot[i], np.uint16(ids[i, 1] & np.uint64(0xFFFF)))
    return entered


class Ledger:
    """The ids of all clients of a model for which a repeat could still be accepted.

    `horizon_ms` (slots,) is the event time of each client before which no event is accepted; ids from before it can be
    forgotten. `keep_slot` (slots,) is False where a slot has no client now; its ids are forgotten as well.
    """

    def __init__(self) -> None:
        self.entries = _empty(SMALLEST_LEDGER)
        self._used = 0

    @property
    def nbytes(self) -> int:
        """Memory of the table."""
        return sum(column.nbytes for column in self.entries)

    def reserve(self, events: int, horizon_ms: npt.NDArray[np.int64], keep_slot: npt.NDArray[np.bool_]) -> None:
        """Make room for `events` more ids: sweep out those no longer needed, and grow if that is not enough."""
        if 2 * (self._used + events) <= len(self.entries.key):
            return
        self.sweep(horizon_ms, keep_slot, room=events)

    def sweep(self, horizon_ms: npt.NDArray[np.int64], keep_slot: npt.NDArray[np.bool_], room: int = 0) -> None:
        """Forget ids before their client's horizon, and those of slots without a client."""
        old = self.entries
        needed = int(np.count_nonzero((old.key != 0) & keep_slot[old.slot] & (old.time_ms >= horizon_ms[old.slot])))
        size = SMALLEST_LEDGER
        while size < 3 * (needed + room):
            size *= 2
        self.entries = _empty(size)
        self._used = int(move(old, self.entries, horizon_ms, keep_slot))

    def entered(self, count: int) -> None:
        """Note that `admit` entered `count` ids."""
        self._used += count

    def of(self, horizon_ms: npt.NDArray[np.int64], wanted: npt.NDArray[np.bool_]) -> dict[int, npt.NDArray[np.uint64]]:
        """Return the ids in force of the `wanted` slots, by slot, as `collect` fills them in (ids, 2).

        They are sorted by key, so that equal states give equal bytes. The cost is one pass over the table and one sort.
        """
        ends = np.zeros(len(wanted) + 1, np.int64)
        tally(self.entries, horizon_ms, wanted, ends)
        np.cumsum(ends, out=ends)
        ids = np.empty((int(ends[-1]), 2), np.uint64)
        collect(self.entries, horizon_ms, wanted, ends, ids)
        slots = np.flatnonzero(np.diff(ends, prepend=0))
        return {slot - 1: ids[ends[slot - 1] : ends[slot]] for slot in slots.tolist()}

    def enter(
        self,
        slots: npt.NDArray[np.integer],
        ids: npt.NDArray[np.uint64],
        horizon_ms: npt.NDArray[np.int64],
        keep_slot: npt.NDArray[np.bool_],
    ) -> None:
        """Enter ids from snapshots, (ids, 2) as `of` gives them; `slots` (ids,) are their clients."""
        self.reserve(len(ids), horizon_ms, keep_slot)
        self._used += int(enter(self.entries, slots.astype(np.int32), ids))


def _empty(size: int) -> Entries:
    return Entries(np.zeros(size, np.uint64), np.zeros(size, np.int64), np.zeros(size, np.int32), np.zeros(size, np.uint16))
