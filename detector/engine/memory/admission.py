"""Admission: which events count, and when a client is looked at.

A repeated delivery must change nothing, and events may come out of order. So the ids of recent events are kept in a ledger,
for as long as a repeat of them could be accepted: until the client is past their event time by the allowed lateness, or by
more than 3,072 of its own queries. An event from before that horizon cannot be told from a repeat and is refused as late; any
other counts once. Memory is bounded by what arrives within the lateness.

Callers often choose the ids, so an id alone does not make a repeat: the content must be the same, too. One id with other
content is another query; it counts, and it is reported as reused.

A client's time is moved by two successive events, not by one: a single event far ahead of the others says nothing, or one
wrong clock would make everything after it late.

Looks (the moments at which models are paid for) come at 8, 16, 24, 32, 48 and 64 queries and then whenever the count has
grown by a tenth.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.kernels import kernel

BLOCKS = 4
BLOCK = 1024  # queries of a client between two marks of its horizon
FRESH, REPEATED, LATE, REFUSED, REFUSED_AGAIN = 0, 1, 2, 3, 4
FIRST_LOOKS = np.array([8, 16, 24, 32, 48, 64], dtype=np.int64)
SMALLEST_LEDGER = 1024

LAYOUT = {
    "queries": ("u4", ()),
    "next_look": ("u4", ()),
    "first_ms": ("i8", ()),
    "latest_ms": ("i8", ()),
    "ahead_ms": ("i8", ()),
    "last_sequence": ("i8", ()),
    "block_ms": ("i8", (BLOCKS,)),
    "horizon_ms": ("i8", ()),
}


class Admission(NamedTuple):
    """Per client: how many queries, the event time reached, and the horizon before which nothing is accepted.

    `ahead_ms` is the time of the last event if that lay beyond the lateness after `latest_ms`, 0 otherwise. `block_ms` are the
    event times reached when each of the latest blocks of 1,024 queries began.
    """

    queries: npt.NDArray[np.uint32]
    next_look: npt.NDArray[np.uint32]
    first_ms: npt.NDArray[np.int64]
    latest_ms: npt.NDArray[np.int64]
    ahead_ms: npt.NDArray[np.int64]
    last_sequence: npt.NDArray[np.int64]
    block_ms: npt.NDArray[np.int64]
    horizon_ms: npt.NDArray[np.int64]


class Entries(NamedTuple):
    """The ledger's table (open addressing): `key` 0 marks a free place; `slot` is the client's row.

    `content` are the upper 16 bits of the hash of what was asked and answered under the id: once in 65,536 times another
    content is taken for the same.
    """

    key: npt.NDArray[np.uint64]
    time_ms: npt.NDArray[np.int64]
    slot: npt.NDArray[np.int32]
    content: npt.NDArray[np.uint16]


class Arrivals(NamedTuple):
    """Events as admission sees them, n of each, in stream order.

    `key` is the hash of the event's id, `content` that of what was asked and answered, or of the record where the query was
    refused, which `refused` says. `time_ms` is 0 where the time of a refused query is not known.
    """

    slot: npt.NDArray[np.int64]
    time_ms: npt.NDArray[np.int64]
    key: npt.NDArray[np.uint64]
    content: npt.NDArray[np.uint64]
    refused: npt.NDArray[np.uint8]
    sequence: npt.NDArray[np.int64]


class Admitted(NamedTuple):
    """What was decided of each of n events; `look` and `reused` are filled for fresh ones.

    `position` is the client's count of queries, of fresh and refused ones; `look` whether models look now, `reused` whether the
    id had another content before.
    """

    verdict: npt.NDArray[np.uint8]
    position: npt.NDArray[np.int64]
    look: npt.NDArray[np.bool_]
    reused: npt.NDArray[np.bool_]


def unadmitted(events: int) -> Admitted:
    """Return room for what is decided of so many events."""
    return Admitted(
        np.empty(events, np.uint8), np.zeros(events, np.int64), np.zeros(events, np.bool_), np.zeros(events, np.bool_)
    )


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
def mixed(key, content):
    """Return the key of an id together with its content."""
    h = (key ^ content) * np.uint64(0xD6E8FEB86659FD93)
    h ^= h >> np.uint64(32)
    return h if h != 0 else np.uint64(1)


@kernel
def hash_contents(words, keys, label, confidence, runner_up, contents):
    """Hash input and answer of each event with secret keys (multilinear hashing: Lemire and Kaser, 2014, section 2).

    `words` (n, d) are the 32 bits of each input value, `keys` (d + 4,) secret odd 64-bit numbers. Two contents chosen without
    the keys agree in the upper 32 bits, which are those that count, with a probability of 2^-32.
    """
    width = words.shape[1]
    for i in range(words.shape[0]):
        h = keys[width]
        for d in range(width):
            h += keys[d] * np.uint64(words[i, d])
        h += keys[width + 1] * np.uint64(np.uint32(label[i]))
        h += keys[width + 2] * np.uint64(confidence[i])
        h += keys[width + 3] * np.uint64(runner_up[i])
        contents[i] = h


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
def advance(state, s, t, lateness_ms):
    """Move a client's time; an event beyond the lateness moves it only when the one after it lies there as well."""
    if t > state.latest_ms[s] + lateness_ms:
        ahead = state.ahead_ms[s]
        if ahead == 0 or t < ahead - lateness_ms:
            state.ahead_ms[s] = t
            return
        state.latest_ms[s] = min(ahead, t)
        if t > state.latest_ms[s] + lateness_ms:
            state.ahead_ms[s] = t
            return
    state.ahead_ms[s] = 0
    state.latest_ms[s] = max(state.latest_ms[s], t)


@kernel
def begin(state, s, t, lateness_ms):
    """Set a new client's clock."""
    state.first_ms[s] = t
    state.latest_ms[s] = t
    state.horizon_ms[s] = t - lateness_ms
    state.block_ms[s, :] = t - lateness_ms


@kernel
def admit_refused(state, entries, arrivals, i, lateness_ms):
    """Return whether a refused query is one of which no record came before, and how many entries that made.

    Its clock starts with the first time that is known. What is too old to be told from a repeat counts.
    """
    s = arrivals.slot[i]
    t = arrivals.time_ms[i]
    if t <= 0:
        return True, 0
    if state.latest_ms[s] == 0:
        begin(state, s, t, lateness_ms)
    elif t < state.horizon_ms[s]:
        return True, 0
    key = mixed(arrivals.key[i], arrivals.content[i])
    at = find(entries, key)
    content = np.uint16(arrivals.content[i] >> np.uint64(48))
    if entries.key[at] != 0 and entries.time_ms[at] >= state.horizon_ms[s] and entries.content[at] == content:
        return False, 0
    entered = write(entries, at, key, t, s, content)
    advance(state, s, t, lateness_ms)
    state.horizon_ms[s] = max(state.horizon_ms[s], state.latest_ms[s] - lateness_ms)
    return True, entered


@kernel
def admit(state, entries, arrivals, lateness_ms, admitted):
    """Decide for each event, in stream order, whether it is fresh, a repeat, late or refused; return how many ids were entered.

    Fills `admitted`, which is zero before. The table must have room for all events.
    """
    entered = 0
    for i in range(arrivals.slot.shape[0]):
        s = arrivals.slot[i]
        t = arrivals.time_ms[i]
        if arrivals.refused[i]:
            state.last_sequence[s] = arrivals.sequence[i]
            admitted.position[i] = state.queries[s]
            counts, more = admit_refused(state, entries, arrivals, i, lateness_ms)
            admitted.verdict[i] = REFUSED if counts else REFUSED_AGAIN
            entered += more
            continue
        if state.latest_ms[s] == 0:
            begin(state, s, t, lateness_ms)
        elif t < state.horizon_ms[s]:
            admitted.verdict[i] = LATE
            continue
        if state.queries[s] == 0:
            state.next_look[s] = look_after(0)
        key = arrivals.key[i]
        content = np.uint16(arrivals.content[i] >> np.uint64(48))
        at = find(entries, key)
        # What lies before the horizon counts as forgotten, whether or not the table was swept since.
        if entries.key[at] != 0 and entries.time_ms[at] >= state.horizon_ms[s]:
            if entries.content[at] == content:
                admitted.verdict[i] = REPEATED
                continue
            # The first content stands for the id: it is kept for as long as any other that came under it.
            entries.time_ms[at] = max(entries.time_ms[at], t)
            key = mixed(key, arrivals.content[i])
            at = find(entries, key)
            if entries.key[at] != 0 and entries.time_ms[at] >= state.horizon_ms[s] and entries.content[at] == content:
                admitted.verdict[i] = REPEATED
                continue
            admitted.reused[i] = True
        entered += write(entries, at, key, t, s, content)
        advance(state, s, t, lateness_ms)
        if state.queries[s] % BLOCK == 0:
            b = (state.queries[s] // BLOCK) % BLOCKS
            state.block_ms[s, b] = state.latest_ms[s]
            state.horizon_ms[s] = max(state.horizon_ms[s], state.block_ms[s, (b + 1) % BLOCKS])
        state.horizon_ms[s] = max(state.horizon_ms[s], state.latest_ms[s] - lateness_ms)
        state.queries[s] += 1
        state.last_sequence[s] = arrivals.sequence[i]
        admitted.verdict[i] = FRESH
        admitted.position[i] = state.queries[s]
        if state.queries[s] >= state.next_look[s]:
            admitted.look[i] = True
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
def collect(entries, horizon_ms, wanted, starts, ids):
    """Fill `ids` (ids, 2), those of a slot from its place in `starts` on, by key: keys, and times with contents below them."""
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
    """Enter `ids` (ids, 2) as `collect` gives them, of which some may be there already; return how many are new."""
    entered = 0
    for i in range(ids.shape[0]):
        at = find(entries, ids[i, 0])
        time_ms = np.int64(ids[i, 1] >> np.uint64(16))
        entered += write(entries, at, ids[i, 0], time_ms, slot[i], np.uint16(ids[i, 1] & np.uint64(0xFFFF)))
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
        """Return what counts of the `wanted` slots, by slot, as `collect` fills it in (ids, 2).

        Sorted by key, so that equal states give equal bytes. One pass over the table, and a sort of what is wanted.
        """
        ends = np.zeros(len(wanted) + 1, np.int64)
        tally(self.entries, state.horizon_ms, wanted, ends)
        np.cumsum(ends, out=ends)
        ids = np.empty((int(ends[-1]), 2), np.uint64)
        collect(self.entries, state.horizon_ms, wanted, ends, ids)
        slots = np.flatnonzero(np.diff(ends, prepend=0))
        return {slot - 1: ids[ends[slot - 1] : ends[slot]] for slot in slots.tolist()}

    def enter(
        self,
        slots: npt.NDArray[np.integer],
        ids: npt.NDArray[np.uint64],
        state: Admission,
        keep_slot: npt.NDArray[np.bool_],
    ) -> None:
        """Enter ids from snapshots, (ids, 2) as `of` gives them; `slots` (ids,) are their clients."""
        self.reserve(len(ids), state, keep_slot)
        self._used += int(enter(self.entries, slots.astype(np.int32), ids))


class Contents:
    """Hashes what is asked and answered, with keys from a secret, for inputs of one length."""

    def __init__(self, secret: int, dimension: int) -> None:
        # A generator whose stream is part of numpy's promise, so that every worker hashes alike.
        drawn = np.random.Generator(np.random.PCG64(secret)).integers(0, 2**64, dimension + 4, np.uint64)
        self._keys = drawn | np.uint64(1)

    def of(
        self,
        vector: npt.NDArray[np.float32],
        label: npt.NDArray[np.int32],
        confidence: npt.NDArray[np.float32],
        runner_up: npt.NDArray[np.float32],
    ) -> npt.NDArray[np.uint64]:
        """Return the hash of each of n events; `vector` is (n, dimension), the others (n,)."""
        contents = np.empty(len(vector), np.uint64)
        words = np.ascontiguousarray(vector, np.float32).view(np.uint32)
        hash_contents(words, self._keys, label, confidence.view(np.uint32), runner_up.view(np.uint32), contents)
        return contents


def _empty(size: int) -> Entries:
    return Entries(np.zeros(size, np.uint64), np.zeros(size, np.int64), np.zeros(size, np.int32), np.zeros(size, np.uint16))
