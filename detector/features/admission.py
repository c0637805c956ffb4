"""Admission: which events count, and when a client is looked at.

A repeated delivery must change nothing, and events may come out of order. So the ids of recent events are kept in a ledger,
for as long as a repeat of them could be accepted: until the client is past their event time by the allowed lateness, or by
more than 3,072 of its own queries. An event from before that horizon cannot be told from a repeat and is refused as late; any
other counts once. Memory is bounded by what arrives within the lateness.

Looks (the moments at which models are paid for) come at 8, 16, 24, 32, 48 and 64 queries and then whenever the count has
grown by a tenth.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.kernels import kernel

BLOCKS = 4
BLOCK = 1024  # queries of a client between two marks of its horizon
FRESH, REPEATED, LATE = 0, 1, 2
FIRST_LOOKS = np.array([8, 16, 24, 32, 48, 64], dtype=np.int64)
SMALLEST_LEDGER = 1024

LAYOUT = {
    "queries": ("u4", ()),
    "next_look": ("u4", ()),
    "first_ms": ("i8", ()),
    "latest_ms": ("i8", ()),
    "last_sequence": ("i8", ()),
    "block_ms": ("i8", (BLOCKS,)),
    "horizon_ms": ("i8", ()),
}


class Admission(NamedTuple):
    """Per client: how many queries, the event time reached, and the horizon before which nothing is accepted.

    `block_ms` are the event times reached when each of the latest blocks of 1,024 queries began.
    """

    queries: npt.NDArray[np.uint32]
    next_look: npt.NDArray[np.uint32]
    first_ms: npt.NDArray[np.int64]
    latest_ms: npt.NDArray[np.int64]
    last_sequence: npt.NDArray[np.int64]
    block_ms: npt.NDArray[np.int64]
    horizon_ms: npt.NDArray[np.int64]


class Entries(NamedTuple):
    """The ledger's table (open addressing): `key` 0 marks a free place; `slot` is the client's row."""

    key: npt.NDArray[np.uint64]
    time_ms: npt.NDArray[np.int64]
    slot: npt.NDArray[np.int32]


@kernel
def look_after(queries):
    """Return the first look that comes after `queries` queries.

    >>> [look_after(n) for n in (0, 8, 31, 64, 100)]
    [8, 16, 32, 71, 110]
    """
    for look in FIRST_LOOKS:
        if look > queries:
            return look
    return (queries * 11 + 9) // 10


def looks_by(queries: int) -> int:
    """Return how many looks a client with so many queries has had.

    >>> looks_by(7), looks_by(8), looks_by(100)
    (0, 1, 10)
    """
    looks = 0
    reached = int(look_after(0))
    while reached <= queries:
        looks += 1
        reached = int(look_after(reached))
    return looks


@kernel
def digest(text, ends, owner, keys):
    """Hash each id, a stretch of `text` up to its end in `ends`, with 64 bits that belong to its owner (FNV-1a, mixed)."""
    start = 0
    for i in range(ends.shape[0]):
        h = np.uint64(0xCBF29CE484222325) ^ owner[i]
        for k in range(start, ends[i]):
            h = (h ^ np.uint64(text[k])) * np.uint64(0x100000001B3)
        h = (h ^ (h >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
        h ^= h >> np.uint64(32)
        keys[i] = h if h != 0 else np.uint64(1)
        start = ends[i]


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
    """Enter into `new` what is still needed of `old`; return how many entries that is."""
    kept = 0
    for at in range(old.key.shape[0]):
        s = old.slot[at]
        if old.key[at] != 0 and keep_slot[s] and old.time_ms[at] >= horizon_ms[s]:
            to = find(new, old.key[at])
            new.key[to] = old.key[at]
            new.time_ms[to] = old.time_ms[at]
            new.slot[to] = s
            kept += 1
    return kept


@kernel
def admit(state, entries, slot, time_ms, keys, sequence, lateness_ms, verdict, position, look):
    """Decide for each event, in stream order, whether it is fresh, a repeat or late; return how many ids were entered.

    Fills `verdict`; for fresh events `position`, the client's count of queries, and `look`, whether models look now. The
    table must have room for all events.
    """
    entered = 0
    for i in range(slot.shape[0]):
        s = slot[i]
        t = time_ms[i]
        look[i] = False
        if state.queries[s] == 0:
            state.first_ms[s] = t
            state.latest_ms[s] = t
            state.horizon_ms[s] = t - lateness_ms
            state.block_ms[s, :] = t - lateness_ms
            state.next_look[s] = look_after(0)
        elif t < state.horizon_ms[s]:
            verdict[i] = LATE
            continue
        at = find(entries, keys[i])
        if entries.key[at] != 0:
            # What lies before the horizon counts as forgotten, whether or not the table was swept since.
            if entries.time_ms[at] >= state.horizon_ms[s]:
                verdict[i] = REPEATED
                continue
        else:
            entered += 1
        entries.key[at] = keys[i]
        entries.time_ms[at] = t
        entries.slot[at] = s
        state.latest_ms[s] = max(state.latest_ms[s], t)
        if state.queries[s] % BLOCK == 0:
            b = (state.queries[s] // BLOCK) % BLOCKS
            state.block_ms[s, b] = state.latest_ms[s]
            state.horizon_ms[s] = max(state.horizon_ms[s], state.block_ms[s, (b + 1) % BLOCKS])
        state.horizon_ms[s] = max(state.horizon_ms[s], state.latest_ms[s] - lateness_ms)
        state.queries[s] += 1
        state.last_sequence[s] = sequence[i]
        verdict[i] = FRESH
        position[i] = state.queries[s]
        if state.queries[s] >= state.next_look[s]:
            look[i] = True
            state.next_look[s] = look_after(state.queries[s])
    return entered


@kernel
def tally(entries, horizon_ms, wanted, counts):
    """Count, one place behind each wanted slot, its ids that count."""
    for at in range(entries.key.shape[0]):
        s = entries.slot[at]
        if entries.key[at] != 0 and wanted[s] and entries.time_ms[at] >= horizon_ms[s]:
            counts[s + 1] += 1


@kernel
def collect(entries, horizon_ms, wanted, starts, pairs):
    """Fill `pairs` (ids, 2) with keys and times, those of a slot from its place in `starts` on, by key."""
    filled = starts.copy()
    for at in range(entries.key.shape[0]):
        s = entries.slot[at]
        if entries.key[at] != 0 and wanted[s] and entries.time_ms[at] >= horizon_ms[s]:
            pairs[filled[s], 0] = entries.key[at]
            pairs[filled[s], 1] = np.uint64(entries.time_ms[at])
            filled[s] += 1
    for s in range(wanted.shape[0]):
        if filled[s] > starts[s] + 1:
            own = pairs[starts[s] : filled[s]]
            own[:] = own[np.argsort(own[:, 0])]


@kernel
def enter(entries, slot, keys, time_ms):
    """Enter ids, of which some may be there already, whatever their time; return how many are new."""
    entered = 0
    for i in range(keys.shape[0]):
        at = find(entries, keys[i])
        entered += entries.key[at] == 0
        entries.key[at] = keys[i]
        entries.time_ms[at] = time_ms[i]
        entries.slot[at] = slot[i]
    return entered


class Ledger:
    """The ids that a repeat could still bring, of all clients of a cohort."""

    def __init__(self) -> None:
        self.entries = _empty(SMALLEST_LEDGER)
        self._used = 0

    @property
    def nbytes(self) -> int:
        """Memory of the table."""
        return sum(column.nbytes for column in self.entries)

    def keys(self, ids: Sequence[str], owner: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """Return the key of each id under its client, whose own 64 bits are `owner`."""
        joined = "".join(ids)
        text = joined.encode()
        if len(text) == len(joined):
            lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        else:
            lengths = np.fromiter((len(event_id.encode()) for event_id in ids), np.int64, len(ids))
        keys = np.empty(len(ids), np.uint64)
        digest(np.frombuffer(text, np.uint8), np.cumsum(lengths), owner, keys)
        return keys

    def reserve(self, events: int, state: Admission, keep_slot: npt.NDArray[np.bool_]) -> None:
        """Make sure that `events` more ids fit: sweep out what is no longer needed, and grow if that is not enough."""
        if 2 * (self._used + events) <= len(self.entries.key):
            return
        self.sweep(state, keep_slot, room=events)

    def sweep(self, state: Admission, keep_slot: npt.NDArray[np.bool_], room: int = 0) -> None:
        """Forget ids before their client's horizon and those of clients whose `keep_slot` is False."""
        old = self.entries
        needed = int(np.count_nonzero((old.key != 0) & keep_slot[old.slot] & (old.time_ms >= state.horizon_ms[old.slot])))
        size = SMALLEST_LEDGER
        while size < 3 * (needed + room):
            size *= 2
        self.entries = _empty(size)
        self._used = int(move(old, self.entries, state.horizon_ms, keep_slot))

    def entered(self, count: int) -> None:
        """Note that `admit` entered `count` ids."""
        self._used += count

    def of(self, state: Admission, wanted: npt.NDArray[np.bool_]) -> dict[int, npt.NDArray[np.uint64]]:
        """Return what counts of the `wanted` slots, as (ids, 2) keys and times by slot.

        Sorted by key, so that equal states give equal bytes. One pass over the table, and a sort of what is wanted.
        """
        ends = np.zeros(len(wanted) + 1, np.int64)
        tally(self.entries, state.horizon_ms, wanted, ends)
        np.cumsum(ends, out=ends)
        pairs = np.empty((int(ends[-1]), 2), np.uint64)
        collect(self.entries, state.horizon_ms, wanted, ends, pairs)
        slots = np.flatnonzero(np.diff(ends, prepend=0))
        return {slot - 1: pairs[ends[slot - 1] : ends[slot]] for slot in slots.tolist()}

    def enter(
        self,
        slots: npt.NDArray[np.integer],
        pairs: npt.NDArray[np.uint64],
        state: Admission,
        keep_slot: npt.NDArray[np.bool_],
    ) -> None:
        """Enter pairs from snapshots, (ids, 2) as `of` gives them; `slots` (ids,) are their clients."""
        self.reserve(len(pairs), state, keep_slot)
        self._used += int(enter(self.entries, slots.astype(np.int32), pairs[:, 0].copy(), pairs[:, 1].copy().view(np.int64)))


def _empty(size: int) -> Entries:
    return Entries(np.zeros(size, np.uint64), np.zeros(size, np.int64), np.zeros(size, np.int32))
