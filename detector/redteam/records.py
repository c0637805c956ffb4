"""Innocent clients with records of a table.

A bank's night job scores the same customers again, an analyst changes one attribute at a time to see what it does, a
sensor rounds. As with pictures (`detector.redteam.benign`, `detector.redteam.habits`) one profile is one habit, and what
tells its clients apart is drawn when the conversation begins.

Every profile takes a `pool` (m, dimension) of natural records, their `labels` (m,), a generator of random numbers and what
is known of the `columns`, and never ends. An empty pool raises ValueError at the first query. Sent records are ones the
table could hold: numbers in range, whole where the column is, codes that exist.
"""

from collections.abc import Callable

import numpy as np

from detector.redteam import benign
from detector.redteam.columns import Columns
from detector.redteam.conversation import Array, Conversation, Labels, Query, draws
from detector.redteam.habits import unsure

_NOT_USED = (0.0, 1.0)  # the value range of profiles that never look at one


def tab_steady(pool: Array, labels: Labels, rng: np.random.Generator, columns: Columns) -> Conversation:
    """Independent natural records, never the same twice in a row."""
    del columns
    return benign.steady(pool, labels, rng, _NOT_USED)


def tab_bursty(pool: Array, labels: Labels, rng: np.random.Generator, columns: Columns) -> Conversation:
    """The records of `tab_steady`; what differs is when they come (`detector.redteam.arrivals.bursty`)."""
    del columns
    return benign.bursty(pool, labels, rng, _NOT_USED)


def tab_retries(pool: Array, labels: Labels, rng: np.random.Generator, columns: Columns) -> Conversation:
    """10 to 50% of the records a second time, exactly, as `detector.redteam.benign.retries`."""
    del columns
    return benign.retries(pool, labels, rng, _NOT_USED)


def tab_skewed(pool: Array, labels: Labels, rng: np.random.Generator, columns: Columns) -> Conversation:
    """A branch with customers of its own: records weighted by a Dirichlet(0.25) over the codes of one column.

    Over the labels where the table has no codes.
    """
    coded = columns.categorical
    group = pool[:, coded[int(rng.integers(len(coded)))]] if coded else labels
    return benign.skewed(pool, np.unique(group, return_inverse=True)[1].astype(np.int64), rng, _NOT_USED)


def tab_what_if(pool: Array, labels: Labels, rng: np.random.Generator, columns: Columns) -> Conversation:
    """An analyst who asks "what if": a record, then 5 to 25 versions of it with one attribute changed each.

    Attributes are tried in random order, one to four new values each: codes at random, numbers from another record or up
    to one standard deviation away. Now and then a change is kept and the next ones start from it.
    """
    del labels
    questions, keeps = int(rng.integers(5, 26)), rng.uniform(0.0, 0.15)
    for index in draws(len(pool), rng):
        base = pool[index].copy()
        yield Query(base.copy())
        asked = 0
        for column in rng.permutation(columns.dimension).tolist():
            for _ in range(int(rng.integers(1, 5))):
                changed = base.copy()
                changed[column] = _other_value(base, column, pool, rng, columns)
                changed = columns.settled(changed)
                if asked == questions or np.array_equal(changed, base):
                    continue
                asked += 1
                yield Query(changed)
                if rng.random() < keeps:
                    base = changed


def tab_nightly(pool: Array, labels: Labels, rng: np.random.Generator, columns: Columns) -> Conversation:
    """A night job: the same 20 to 80 records every night, most of them a little changed since yesterday.

    One to three numbers move, by up to 2% of their standard deviation or by one where they are whole, in 10 to 60% of
    the records; one record in thirty is exchanged.
    """
    del labels
    order = draws(len(pool), rng)
    kept = [pool[next(order)].copy() for _ in range(int(rng.integers(20, 81)))]
    moving = rng.permutation(columns.numeric)[: int(rng.integers(1, 4))]
    share = rng.uniform(0.1, 0.6)
    while True:
        for place, record in enumerate(kept):
            now = record
            if rng.random() < 1.0 / 30.0:
                now = pool[next(order)].copy()
            elif rng.random() < share:
                now = record.copy()
                for column in moving:
                    whole = column in columns.integer
                    now[column] += rng.integers(-1, 2) if whole else 0.02 * columns.spread[column] * rng.uniform(-1.0, 1.0)
                now = columns.settled(now)
            kept[place] = now
            yield Query(now.copy())


def tab_ab_shadow(pool: Array, labels: Labels, rng: np.random.Generator, columns: Columns) -> Conversation:
    """Every record twice: as it is, and as a new version of the client's own pipeline computes it.

    The new version rounds numbers, or brings one of them up to date by up to 5%, or maps one code to another. Where that
    changes nothing the second is an exact repeat.
    """
    del labels
    style = int(rng.integers(3)) if columns.categorical else int(rng.integers(2))
    chosen = int(rng.choice(columns.numeric)) if columns.numeric else 0
    factor = rng.uniform(0.95, 1.05)
    grain = 10.0 ** np.floor(np.log10(np.maximum(columns.spread, 1e-9))) / 2.0
    column = int(rng.choice(columns.categorical)) if columns.categorical else 0
    old, new = rng.choice(columns.codes[column], 2) if columns.categorical else (0.0, 0.0)
    numbers = list(columns.numeric)
    for index in draws(len(pool), rng):
        record = pool[index]
        yield Query(record)
        second = record.copy()
        if style == 0:
            second[numbers] = np.rint(record[numbers] / grain[numbers]) * grain[numbers]
        elif style == 1:
            second[chosen] *= factor
        elif record[column] == old:
            second[column] = new
        yield Query(columns.settled(second))


def tab_load_test(pool: Array, labels: Labels, rng: np.random.Generator, columns: Columns) -> Conversation:
    """A load test: a fixed set of 5 to 50 records, again and again, in order or shuffled each time."""
    del labels, columns
    order = draws(len(pool), rng)
    kept = np.array([next(order) for _ in range(int(rng.integers(5, 51)))])
    shuffled = rng.random() < 0.5
    while True:
        for index in rng.permutation(kept) if shuffled else kept:
            yield Query(pool[index])


def tab_sliders(pool: Array, labels: Labels, rng: np.random.Generator, columns: Columns) -> Conversation:
    """A slider in a form: one number of a record through its range in 8 to 40 equal steps, record after record.

    In order, so each query is halfway between its neighbours; the column is drawn anew for each record.
    """
    del labels
    return _swept(pool, rng, columns, in_order=True)


def tab_shuffled_sliders(pool: Array, labels: Labels, rng: np.random.Generator, columns: Columns) -> Conversation:
    """The queries of `tab_sliders` in random order, as a program sends them that works in parallel."""
    del labels
    return _swept(pool, rng, columns, in_order=False)


def _swept(pool: Array, rng: np.random.Generator, columns: Columns, *, in_order: bool) -> Conversation:
    steps = int(rng.integers(8, 41))
    for index in draws(len(pool), rng):
        column = int(rng.choice(columns.numeric))
        positions = np.linspace(columns.low[column], columns.high[column], steps)
        if column in columns.integer:
            positions = np.unique(np.rint(positions))
        for at in positions if in_order else rng.permutation(positions):
            record = pool[index].copy()
            record[column] = at
            yield Query(record)


def tab_hard_cases(pool: Array, labels: Labels, rng: np.random.Generator, columns: Columns) -> Conversation:
    """The end of a cascade: a small model, the nearest class centre, forwards its hardest 10 to 35% only."""
    numbers = list(columns.numeric)
    scaled = (pool[:, numbers] - columns.middle[numbers]) / np.maximum(columns.spread[numbers], 1e-9)
    codes = [np.float64(pool[:, [j]] == columns.codes[j]) for j in columns.categorical]
    hardest = unsure(np.hstack([scaled, *codes]), labels, rng.uniform(0.1, 0.35))
    for place in draws(len(hardest), rng):
        yield Query(pool[hardest[place]])


def tab_health_checks(pool: Array, labels: Labels, rng: np.random.Generator, columns: Columns) -> Conversation:
    """Monitoring: one to eight fixed records in turn, and a fresh one after every 5 to 20 of them."""
    del labels, columns
    order = draws(len(pool), rng)
    probes = [next(order) for _ in range(int(rng.integers(1, 9)))]
    every = int(rng.integers(5, 21))
    turn = 0
    while True:
        turn += 1
        yield Query(pool[next(order) if turn % (every + 1) == 0 else probes[turn % len(probes)]])


def tab_numeric_noise(pool: Array, labels: Labels, rng: np.random.Generator, columns: Columns) -> Conversation:
    """Measured numbers: noise of 1 to 15% of the standard deviation on every number, whole ones rounded."""
    del labels
    return _altered(pool, rng, columns, _noise(rng.uniform(0.01, 0.15), rng, columns))


def tab_category_noise(pool: Array, labels: Labels, rng: np.random.Generator, columns: Columns) -> Conversation:
    """Typing errors: 2 to 15% of the codes are others of the same column, as often as records have them."""
    del labels
    share = rng.uniform(0.02, 0.15)

    def change(record: Array) -> Array:
        for column in columns.categorical:
            if rng.random() < share:
                record[column] = pool[int(rng.integers(len(pool))), column]
        return record

    return _altered(pool, rng, columns, change)


def _altered(pool: Array, rng: np.random.Generator, columns: Columns, change: Callable[[Array], Array]) -> Conversation:
    """Ask about natural records after `change` did to a copy what it does."""
    for index in draws(len(pool), rng):
        yield Query(columns.settled(change(pool[index].copy())))


def _noise(size: float, rng: np.random.Generator, columns: Columns) -> Callable[[Array], Array]:
    numbers = list(columns.numeric)

    def change(record: Array) -> Array:
        record[numbers] += size * columns.spread[numbers] * rng.standard_normal(len(numbers))
        return record

    return change


def _other_value(base: Array, column: int, pool: Array, rng: np.random.Generator, columns: Columns) -> float:
    """Another value for one column of a record: a code, a number of another record, or one not far away."""
    if column in columns.categorical:
        return float(rng.choice(columns.codes[column]))
    if rng.random() < 0.5:
        return float(pool[int(rng.integers(len(pool))), column])
    return float(base[column] + columns.spread[column] * rng.uniform(-1.0, 1.0))
