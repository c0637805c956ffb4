"""Admission: which events count, and when a client is looked at.

A repeated delivery must change nothing. Per client the codes of its latest queries are remembered in a ring of four blocks,
together with the event time that the client had reached when each block began. An event newer than everything seen is new by
that fact alone; an older one is looked up; one older than all that is still remembered cannot be told from a repeat and is
refused as late. So a repeat is not counted twice, with memory that does not grow. The one exception: more than 96 queries
with the very same time stamp (a large batch request) are all accepted, and so would be a second delivery of the first ones.

Looks (the moments at which models are paid for) come at 8, 16, 24, 32, 48 and 64 queries and then whenever the count has
grown by a tenth.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.kernels import kernel

BLOCKS = 4
FRESH, REPEATED, LATE = 0, 1, 2
FIRST_LOOKS = np.array([8, 16, 24, 32, 48, 64], dtype=np.int64)

LAYOUT = {
    "queries": ("u4", ()),
    "next_look": ("u4", ()),
    "first_ms": ("i8", ()),
    "latest_ms": ("i8", ()),
    "last_sequence": ("i8", ()),
    "ids": ("u4", (128,)),
    "id_count": ("u4", ()),
    "block_ms": ("i8", (BLOCKS,)),
    "horizon_ms": ("i8", ()),
}


class Admission(NamedTuple):
    """Per client: how many queries, the event time reached, and the codes of the latest queries."""

    queries: npt.NDArray[np.uint32]
    next_look: npt.NDArray[np.uint32]
    first_ms: npt.NDArray[np.int64]
    latest_ms: npt.NDArray[np.int64]
    last_sequence: npt.NDArray[np.int64]
    ids: npt.NDArray[np.uint32]
    id_count: npt.NDArray[np.uint32]
    block_ms: npt.NDArray[np.int64]
    horizon_ms: npt.NDArray[np.int64]


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


@kernel
def admit(state, slot, time_ms, id_code, sequence, lateness_ms, verdict, position, look):
    size = state.ids.shape[1]
    block = size // BLOCKS
    for i in range(slot.shape[0]):
        s = slot[i]
        t = time_ms[i]
        look[i] = False
        if state.queries[s] == 0:
            state.first_ms[s] = t
            state.latest_ms[s] = t
            state.horizon_ms[s] = -1
            state.next_look[s] = look_after(0)
        elif t <= state.latest_ms[s]:
            known = False
            held = min(state.id_count[s], size)
            for k in range(held):
                if state.ids[s, k] == id_code[i]:
                    known = True
            if known:
                verdict[i] = REPEATED
                continue
            if t < state.horizon_ms[s] or t < state.latest_ms[s] - lateness_ms:
                verdict[i] = LATE
                continue
        state.latest_ms[s] = max(state.latest_ms[s], t)
        count = state.id_count[s]
        at = count % size
        if at % block == 0:
            # A new block begins over the oldest one: what that one held was no newer than the start of its successor.
            b = at // block
            if count >= size:
                state.horizon_ms[s] = state.block_ms[s, (b + 1) % BLOCKS]
                for k in range(at, at + block):
                    state.ids[s, k] = id_code[i]
            state.block_ms[s, b] = state.latest_ms[s]
        state.ids[s, at] = id_code[i]
        state.id_count[s] = count + 1
        state.queries[s] += 1
        state.last_sequence[s] = sequence[i]
        verdict[i] = FRESH
        position[i] = state.queries[s]
        if state.queries[s] >= state.next_look[s]:
            look[i] = True
            state.next_look[s] = look_after(state.queries[s])
