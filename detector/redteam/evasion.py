"""What a thief does so as not to be seen: wrappers around a conversation, which is a conversation again.

None of them is an attack. Each takes the thief's own conversation and changes what the service gets to see of it, so
every attack can be played under every disguise, and disguises can be worn one over the other.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from detector.redteam.conversation import Answer, Array, AskedQuery, Conversation, ValueRange
from detector.redteam.pictures import shifted


def covered(thief: Conversation, innocent: Conversation, share: float, rng: np.random.Generator) -> Conversation:
    """Hide the thief's queries among those of an innocent habit, which make up `share` of the whole.

    Cover is bought: it counts towards the budget. Ends with the thief; an innocent that ends leaves him alone. Raises
    ValueError at the first query unless 0 <= share < 1.

    >>> from detector.redteam.conversation import converse
    >>> thief, other = ((AskedQuery(np.full(1, x), synthetic=x > 0) for _ in range(50)) for x in (1.0, 0.0))
    >>> vectors, _, made = converse(covered(thief, other, 0.75, np.random.default_rng(0)), lambda X: X, 40)
    >>> int(made.sum()) < 20, bool((vectors[made] == 1).all())
    (True, True)
    """
    if not 0.0 <= share < 1.0:
        raise ValueError(f"a share of cover is at least 0 and below 1, not {share:g}")
    try:
        mine, other = _next(thief), _next(innocent)
        while mine is not None:
            if other is not None and rng.random() < share:
                answer = yield replace(other, cover=True)
                other = _next(innocent, answer)
            else:
                answer = yield mine
                mine = _next(thief, answer)
    finally:
        thief.close()
        innocent.close()


def duplicated(thief: Conversation, share: float, rng: np.random.Generator, *, recent: int = 8) -> Conversation:
    """Cover made of exact repeats of one of the thief's last `recent` queries, as after time-outs: `share` of the whole.

    Cheap where the service does not charge for what its cache answers; teaches nothing. Raises ValueError at the first
    query unless 0 <= share < 1.
    """
    if not 0.0 <= share < 1.0:
        raise ValueError(f"a share of cover is at least 0 and below 1, not {share:g}")
    past: deque[AskedQuery] = deque(maxlen=recent)
    try:
        mine = _next(thief)
        while mine is not None:
            if past and rng.random() < share:
                yield replace(past[int(rng.integers(len(past)))], cover=True)
                continue
            answer = yield mine
            past.append(mine)
            mine = _next(thief, answer)
    finally:
        thief.close()


def blinded(
    thief: Conversation,
    rng: np.random.Generator,
    value_range: ValueRange,
    *,
    jitter: float = 0.0,
    shift: float = 0.0,
    stretch: float = 0.0,
) -> Conversation:
    """Query blinding (after Chen, Carlini, Wagner, SPAI 2020): ask about something near what was meant.

    Changes synthetic queries only. `jitter` is the standard deviation of noise and `shift` the largest movement in
    pixels of a square picture; `stretch` randomises the step: the offset from the nearest of the last 64 queries is
    multiplied by 1 plus or minus up to `stretch`. The thief takes the answer for that to what he meant, so blinding
    costs him precision: a bisection goes astray as soon as the blinding is longer than its bracket.
    """
    lo, hi = value_range
    past: deque[Array] = deque(maxlen=64)
    try:
        mine = _next(thief)
        while mine is not None:
            vector = mine.vector
            if mine.synthetic:
                if stretch and past:
                    nearest = min(past, key=lambda one: float(np.linalg.norm(vector - one)))
                    vector = nearest + (1.0 + stretch * rng.uniform(-1.0, 1.0)) * (vector - nearest)
                if shift:
                    vector = shifted(vector, rng.uniform(-shift, shift, 2), float(vector.min()))
                if jitter:
                    vector = vector + jitter * (hi - lo) * rng.standard_normal(vector.size)
                vector = np.clip(vector, lo, hi)
            past.append(mine.vector)
            answer = yield replace(mine, vector=vector)
            mine = _next(thief, answer)
    finally:
        thief.close()


def woven(thieves: Sequence[Conversation]) -> Conversation:
    """Interleave searches that know nothing of each other: each asks one query in turn.

    Two steps of one search then lie as many queries apart as there are searches, which costs nothing but patience. Ends when
    all have ended.
    """
    waiting: deque[tuple[Conversation, AskedQuery]] = deque()
    try:
        for one in thieves:
            first = _next(one)
            if first is not None:
                waiting.append((one, first))
        while waiting:
            one, query = waiting.popleft()
            answer = yield query
            following = _next(one, answer)
            if following is not None:
                waiting.append((one, following))
    finally:
        for one in thieves:
            one.close()


def flushed(thief: Conversation, innocent: Conversation, burst: int) -> Conversation:
    """Ask `burst` queries of an innocent habit before every query that was made, so that what it was made from is forgotten.

    Against a detector that retains few queries a client. Bought like any cover: with 30 between two steps, 30 of 31 queries
    teach the thief only what natural examples teach. An innocent that ends leaves him alone. Raises ValueError at the first
    query unless `burst` is positive.
    """
    if burst < 1:
        raise ValueError(f"a burst of cover has at least one query, not {burst}")
    try:
        mine, other = _next(thief), _next(innocent)
        while mine is not None:
            for _ in range(burst if mine.synthetic else 0):
                if other is not None:
                    answer = yield replace(other, cover=True)
                    other = _next(innocent, answer)
            answer = yield mine
            mine = _next(thief, answer)
    finally:
        thief.close()
        innocent.close()


def slow_drip(gaps: Iterator[float], per_day: float, rng: np.random.Generator) -> Iterator[float]:
    """Arrivals of at most about `per_day` queries, in the rhythm of another process: each gap in seconds, lengthened.

    A long gap of up to twice the mean is added to every gap, which leaves no burst to see and outlasts windows of hours.
    Raises ValueError at the first gap unless `per_day` is positive.
    """
    if per_day <= 0.0:
        raise ValueError("a drip needs a positive number of queries a day")
    for gap in gaps:
        yield gap + float(rng.uniform(0.0, 2.0 * 86_400.0 / per_day))


def _next(conversation: Conversation, answer: Answer | None = None) -> AskedQuery | None:
    """The next query, or None at the end."""
    try:
        return next(conversation) if answer is None else conversation.send(answer)
    except StopIteration:
        return None
