"""Admission: which events count, and when a client is evaluated.

A repeated delivery must change nothing, and events may come out of order. So a ledger keeps the ids of recent events for as
long as a repeat of them could be accepted: until the client is past their event time by the allowed lateness, or by more than
3,072 of its own queries. An event from before that horizon cannot be told from a repeat and is refused as late. Any other event
counts once. Memory is bounded by what arrives within the lateness.

Callers often choose the ids, so an equal id alone does not make a repeat: the content must be equal, too. One id with different
content is a new query; it counts, and it is reported as reused.

It takes two successive events to move a client's time far ahead. A single one is ignored, since otherwise one wrong clock would
make every later event late.

Scheduled evaluations come at 8, 16, 24, 32, 48 and 64 queries, and then whenever the count has grown by a tenth. Only there the
models score the client, since that costs far more than a query.
"""

from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.contracts.moment import LAST_MS
from detector.engine.columns import Column
from detector.engine.kernels import kernel
from detector.engine.memory.ledger import find, mixed, write

BLOCKS = 4
BLOCK = 1024  # queries of a client between two marks of its horizon
FRESH, REPEATED, LATE, REFUSED, REFUSED_AGAIN = 0, 1, 2, 3, 4
FIRST_LOOKS = np.array([8, 16, 24, 32, 48, 64], dtype=np.int64)
TIMES = (0, LAST_MS)
HORIZONS = (-LAST_MS, LAST_MS)  # a horizon lies before the first event


class Admission(NamedTuple):
    """Per client: how many queries, the event time reached, and the horizon before which nothing is accepted.

    `ahead_ms` is the time of the last event if it is later than `latest_ms` by more than the lateness, 0 otherwise. `block_ms`
    are the event times reached when each of the latest blocks of 1,024 queries began.
    """

    queries: Annotated[npt.NDArray[np.uint32], Column()]
    next_look: Annotated[npt.NDArray[np.uint32], Column()]
    first_ms: Annotated[npt.NDArray[np.int64], Column(within=TIMES)]
    latest_ms: Annotated[npt.NDArray[np.int64], Column(within=TIMES)]
    ahead_ms: Annotated[npt.NDArray[np.int64], Column(within=TIMES)]
    last_sequence: Annotated[npt.NDArray[np.int64], Column()]
    block_ms: Annotated[npt.NDArray[np.int64], Column(BLOCKS, within=HORIZONS)]
    horizon_ms: Annotated[npt.NDArray[np.int64], Column(within=HORIZONS)]


class Arrivals(NamedTuple):
    """Events as admission sees them, n of each, in stream order.

    `key` is the hash of the event's id. `content` is the hash of input and answer, or of the record where the query was
    refused. `refused` tells which queries were refused. `time_ms` is 0 where the time of a refused query is not known.
    """

    slot: npt.NDArray[np.int64]
    time_ms: npt.NDArray[np.int64]
    key: npt.NDArray[np.uint64]
    content: npt.NDArray[np.uint64]
    refused: npt.NDArray[np.uint8]
    sequence: npt.NDArray[np.int64]


class Admitted(NamedTuple):
    """The decision on each of n events; `evaluation` and `reused` are filled for fresh ones.

    `position` is the client's count of queries, of fresh and refused ones. `evaluation` tells whether the models score the
    client now, and `reused` whether the id came with other content before.
    """

    verdict: npt.NDArray[np.uint8]
    position: npt.NDArray[np.int64]
    evaluation: npt.NDArray[np.bool_]
    reused: npt.NDArray[np.bool_]


@kernel
def evaluation_after(queries):
    """Return the number of queries at the first scheduled evaluation after `queries` queries.

    >>> [evaluation_after(n) for n in (0, 8, 31, 64, 100)]
    [8, 16, 32, 71, 110]
    """
    for evaluation in FIRST_LOOKS:
        if evaluation > queries:
            return evaluation
    return (queries * 11 + 9) // 10


def evaluations_by(queries: int) -> int:
    """Return how many scheduled evaluations a client with so many queries has had.

    >>> evaluations_by(7), evaluations_by(8), evaluations_by(100)
    (0, 1, 10)
    """
    evaluations = 0
    reached = int(evaluation_after(0))
    while reached <= queries:
        evaluations += 1
        reached = int(evaluation_after(reached))
    return evaluations


@kernel
def advance(state, s, t, lateness_ms):
    """Move a client's time; an event ahead by more than the lateness moves it only if the next event is ahead as well."""
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
    """Set the time of a new client."""
    state.first_ms[s] = t
    state.latest_ms[s] = t
    state.horizon_ms[s] = t - lateness_ms
    state.block_ms[s, :] = t - lateness_ms


@kernel
def admit_refused(state, entries, arrivals, i, lateness_ms):
    """Return whether no record of this refused query came before, and how many entries were made for it.

    A client's time starts with the first known event time. A refused query that is too old to be told from a repeat counts.
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
    """Decide in stream order whether each event is fresh, a repeat, late or refused; return how many ids were entered.

    Fills `admitted`, which must be zero before. The table must have room for all events.
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
            state.next_look[s] = evaluation_after(0)
        key = arrivals.key[i]
        content = np.uint16(arrivals.content[i] >> np.uint64(48))
        at = find(entries, key)
        # Ids from before the horizon count as forgotten, whether or not the table was swept since.
        if entries.key[at] != 0 and entries.time_ms[at] >= state.horizon_ms[s]:
            if entries.content[at] == content:
                admitted.verdict[i] = REPEATED
                continue
            # The id is entered with its first content, which is kept for as long as any other content of this id.
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
            admitted.evaluation[i] = True
            state.next_look[s] = evaluation_after(state.queries[s])
    return entered
