"""Innocent clients with records of a table.

A bank's night job scores the same customers again, an analyst changes one attribute at a time to see what it does, a
sensor rounds. As with pictures (`profiles.benign`, `profiles.habits`) one profile is one habit, and what tells its clients
apart is drawn when the conversation begins. Habits that do not depend on the kind of data share their function with those.

Every profile begins with natural records and what is known of their columns (`Setting.table`), and never ends. An empty pool
raises ValueError at the first query. Sent records are ones the table could hold: numbers in range, whole where the column is,
codes that exist.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from detector.redteam.columns import TableColumns
from detector.redteam.conversation import Array, AskedQuery, Conversation, draws
from detector.redteam.entries import profile
from detector.redteam.profiles import benign, habits
from detector.redteam.setting import Setting

habit = partial(profile, wave="known", data="tabular")

habit(
    id="tab_steady",
    title="Independent natural records",
    family="selection",
    source="Juuti et al., EuroS&P 2019: the innocent of that evaluation",
    arrival="steady",
)(benign.steady)


habit(
    id="tab_bursty",
    title="Independent natural records in bursts",
    family="selection",
    source="Willinger et al., IEEE/ACM ToN 5(1), 1997",
    arrival="bursty",
)(benign.bursty)


@habit(
    id="tab_skewed",
    title="Few codes of one column: Dirichlet(0.25) weights",
    family="selection",
    source="Hsu et al., arXiv 1909.06335",
)
def tab_skewed(setting: Setting) -> Conversation:
    """A branch with customers of its own: records weighted by a Dirichlet(0.25) over the codes of one column.

    Over the labels where the table has no codes.
    """
    pool, labels, rng, columns = setting.pool, setting.labels, setting.rng, setting.table
    coded = columns.categorical
    group = pool[:, coded[int(rng.integers(len(coded)))]] if coded else labels
    return benign.skewed(replace(setting, labels=np.unique(group, return_inverse=True)[1].astype(np.int64)))


habit(
    id="tab_retries",
    title="Exact repeats of 10 to 50% of the records",
    family="repetition",
    source="own observation: time-outs, reloads and lost caches",
    arrival="bursty",
)(benign.retries)


@habit(
    id="tab_what_if",
    title="One attribute of a record changed at a time",
    family="exploration",
    source="own observation: analysts ask what if",
    arrival="bursty",
)
def tab_what_if(setting: Setting) -> Conversation:
    """An analyst who asks "what if": a record, then 5 to 25 versions of it with one attribute changed each.

    Attributes are tried in random order, one to four new values each: codes at random, numbers from another record or up
    to one standard deviation away. Now and then a change is kept and the next ones start from it.
    """
    pool, rng, columns = setting.pool, setting.rng, setting.table
    questions, keeps = int(rng.integers(5, 26)), rng.uniform(0.0, 0.15)
    for index in draws(len(pool), rng):
        base = pool[index].copy()
        yield AskedQuery(base.copy())
        asked = 0
        for column in rng.permutation(columns.dimension).tolist():
            for _ in range(int(rng.integers(1, 5))):
                changed = base.copy()
                changed[column] = _other_value(base, column, pool, rng, columns)
                changed = columns.settled(changed)
                if asked == questions or np.array_equal(changed, base):
                    continue
                asked += 1
                yield AskedQuery(changed)
                if rng.random() < keeps:
                    base = changed


@habit(
    id="tab_nightly",
    title="The same records every night, a little changed",
    family="repetition",
    source="own observation: batch jobs re-score their stock",
    arrival="bursty",
)
def tab_nightly(setting: Setting) -> Conversation:
    """A night job: the same 20 to 80 records every night, most of them a little changed since yesterday.

    One to three numbers move, by up to 2% of their standard deviation or by one where they are whole, in 10 to 60% of
    the records; one record in thirty is exchanged.
    """
    pool, rng, columns = setting.pool, setting.rng, setting.table
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
            yield AskedQuery(now.copy())


@habit(
    id="tab_ab_shadow",
    title="Every record through two versions of a pipeline",
    family="repetition",
    source="own observation: shadow deployments compare versions",
)
def tab_ab_shadow(setting: Setting) -> Conversation:
    """Every record twice: as it is, and as a new version of the client's own pipeline computes it.

    The new version rounds numbers, or brings one of them up to date by up to 5%, or maps one code to another. Where that
    changes nothing the second is an exact repeat.
    """
    pool, rng, columns = setting.pool, setting.rng, setting.table
    style = int(rng.integers(3)) if columns.categorical else int(rng.integers(2))
    chosen = int(rng.choice(columns.numeric)) if columns.numeric else 0
    factor = rng.uniform(0.95, 1.05)
    grain = 10.0 ** np.floor(np.log10(np.maximum(columns.spread, 1e-9))) / 2.0
    column = int(rng.choice(columns.categorical)) if columns.categorical else 0
    old, new = rng.choice(columns.codes[column], 2) if columns.categorical else (0.0, 0.0)
    numbers = list(columns.numeric)
    for index in draws(len(pool), rng):
        record = pool[index]
        yield AskedQuery(record)
        second = record.copy()
        if style == 0:
            second[numbers] = np.rint(record[numbers] / grain[numbers]) * grain[numbers]
        elif style == 1:
            second[chosen] *= factor
        elif record[column] == old:
            second[column] = new
        yield AskedQuery(columns.settled(second))


habit(
    id="tab_load_test",
    title="A small set of records replayed without end",
    family="repetition",
    source="own observation: load generators replay a file",
    arrival="clockwork",
)(habits.load_test)


@habit(
    id="tab_sliders",
    title="One number moved through its range, in order",
    family="exploration",
    source="own observation: forms have sliders",
    arrival="bursty",
)
def tab_sliders(setting: Setting) -> Conversation:
    """A slider in a form: one number of a record through its range in 8 to 40 equal steps, record after record.

    In order, so each query is halfway between its neighbours; the column is drawn anew for each record.
    """
    return _swept(setting, in_order=True)


@habit(
    id="tab_shuffled_sliders",
    title="One number moved through its range, in random order",
    family="exploration",
    source="own observation: sweeps run in parallel",
    arrival="bursty",
)
def tab_shuffled_sliders(setting: Setting) -> Conversation:
    """The queries of `tab_sliders` in random order, as a program sends them that works in parallel."""
    return _swept(setting, in_order=False)


def _swept(setting: Setting, *, in_order: bool) -> Conversation:
    pool, rng, columns = setting.pool, setting.rng, setting.table
    steps = int(rng.integers(8, 41))
    for index in draws(len(pool), rng):
        column = int(rng.choice(columns.numeric))
        positions = np.linspace(columns.low[column], columns.high[column], steps)
        if column in columns.integer:
            positions = np.unique(np.rint(positions))
        for at in positions if in_order else rng.permutation(positions):
            record = pool[index].copy()
            record[column] = at
            yield AskedQuery(record)


@habit(
    id="tab_hard_cases",
    title="Only what a small model is unsure of",
    family="selection",
    source="Viola & Jones, CVPR 2001, section 4: cascades",
)
def tab_hard_cases(setting: Setting) -> Conversation:
    """The end of a cascade: a small model, the nearest class centre, forwards its hardest 10 to 35% only."""
    pool, labels, rng, columns = setting.pool, setting.labels, setting.rng, setting.table
    numbers = list(columns.numeric)
    scaled = (pool[:, numbers] - columns.middle[numbers]) / np.maximum(columns.spread[numbers], 1e-9)
    codes = [np.float64(pool[:, [j]] == columns.codes[j]) for j in columns.categorical]
    hardest = habits.unsure(np.hstack([scaled, *codes]), labels, rng.uniform(0.1, 0.35))
    for place in draws(len(hardest), rng):
        yield AskedQuery(pool[hardest[place]])


habit(
    id="tab_health_checks",
    title="A few fixed records in turn",
    family="repetition",
    source="own observation: probes of monitoring",
    arrival="clockwork",
)(habits.health_checks)


@habit(
    id="tab_numeric_noise",
    title="Measured numbers, never twice the same",
    family="device",
    source="own observation: sensors feed tables",
)
def tab_numeric_noise(setting: Setting) -> Conversation:
    """Measured numbers: noise of 1 to 15% of the standard deviation on every number, whole ones rounded."""
    rng, columns = setting.rng, setting.table
    return _altered(setting, _noise(rng.uniform(0.01, 0.15), rng, columns))


@habit(id="tab_category_noise", title="Codes mistyped", family="device", source="own observation: people fill in forms")
def tab_category_noise(setting: Setting) -> Conversation:
    """Typing errors: 2 to 15% of the codes are others of the same column, as often as records have them."""
    pool, rng, columns = setting.pool, setting.rng, setting.table
    share = rng.uniform(0.02, 0.15)

    def change(record: Array) -> Array:
        for column in columns.categorical:
            if rng.random() < share:
                record[column] = pool[int(rng.integers(len(pool))), column]
        return record

    return _altered(setting, change)


def _altered(setting: Setting, change: Callable[[Array], Array]) -> Conversation:
    """Ask about natural records after `change` did to a copy what it does."""
    for index in draws(len(setting.pool), setting.rng):
        yield AskedQuery(setting.table.settled(change(setting.pool[index].copy())))


def _noise(size: float, rng: np.random.Generator, columns: TableColumns) -> Callable[[Array], Array]:
    numbers = list(columns.numeric)

    def change(record: Array) -> Array:
        record[numbers] += size * columns.spread[numbers] * rng.standard_normal(len(numbers))
        return record

    return change


def _other_value(base: Array, column: int, pool: Array, rng: np.random.Generator, columns: TableColumns) -> float:
    """Another value for one column of a record: a code, a number of another record, or one not far away."""
    if column in columns.categorical:
        return float(rng.choice(columns.codes[column]))
    if rng.random() < 0.5:
        return float(pool[int(rng.integers(len(pool))), column])
    return float(base[column] + columns.spread[column] * rng.uniform(-1.0, 1.0))
