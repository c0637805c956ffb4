"""Innocent clients that ask why a record was judged as it was, and what would change that.

Explainers of tables replace attributes by those of other records, one, some or all but some at a time; recourse searches
for the smallest change that turns the answer, which is what a thief at the decision boundary does. The profiles are
frozen: nothing may be tuned on them. The conventions are those of `profiles.records`.
"""

from collections.abc import Generator
from functools import partial
from math import comb

import numpy as np

from detector.redteam.columns import TableColumns
from detector.redteam.conversation import Answer, Array, AskedQuery, Conversation, draws
from detector.redteam.entries import profile
from detector.redteam.setting import Setting

habit = partial(profile, family="explainer", wave="frozen", data="tabular")


@habit(id="tab_lime", title="LIME for tables", source="Ribeiro et al., KDD 2016, section 3.3", arrival="bursty")
def tab_lime(setting: Setting) -> Conversation:
    """LIME for tables: a record, then 30 to 100 drawn about it or about the mean: normal numbers, codes by frequency.

    Ribeiro, Singh, Guestrin, KDD 2016, section 3.3; drawing about the mean, codes independent of each other, is what the
    authors' program does unless told otherwise.
    """
    pool, rng, columns = setting.pool, setting.rng, setting.table
    samples, about_record = int(rng.integers(30, 101)), bool(rng.random() < 0.5)
    numbers = list(columns.numeric)
    for index in draws(len(pool), rng):
        yield AskedQuery(pool[index])
        for _ in range(samples):
            drawn = pool[index].copy()
            middle = drawn[numbers] if about_record else pool[:, numbers].mean(axis=0)
            drawn[numbers] = middle + columns.spread[numbers] * rng.standard_normal(len(numbers))
            for column in columns.categorical:
                drawn[column] = pool[int(rng.integers(len(pool))), column]
            yield AskedQuery(columns.settled(drawn))


@habit(id="tab_shap", title="Kernel SHAP for tables", source="Lundberg & Lee, NeurIPS 2017, theorem 2", arrival="bursty")
def tab_shap(setting: Setting) -> Conversation:
    """Kernel SHAP: coalitions of attributes of a record, and their complements, completed from background records.

    One to five background records are the client's; coalition sizes follow the Shapley kernel (Lundberg & Lee, NeurIPS
    2017, theorem 2); 10 to 40 pairs of coalitions a record.
    """
    pool, rng, columns = setting.pool, setting.rng, setting.table
    order = draws(len(pool), rng)
    background = pool[[next(order) for _ in range(int(rng.integers(1, 6)))]]
    pairs, count = int(rng.integers(10, 41)), columns.dimension
    sizes = np.arange(1, count)
    weight = np.array([comb(count, s) * (count - 1) / (comb(count, s) * s * (count - s)) for s in sizes.tolist()])
    for index in order:
        yield AskedQuery(pool[index])
        for _ in range(pairs):
            inside = rng.permutation(count) < rng.choice(sizes, p=weight / weight.sum())
            for other in background:
                yield AskedQuery(np.where(inside, pool[index], other))
                yield AskedQuery(np.where(inside, other, pool[index]))


@habit(
    id="tab_permutation_shap",
    title="Permutation SHAP for tables",
    source="Štrumbelj & Kononenko, Knowledge and Information Systems 41, 2014, algorithm 1",
    arrival="bursty",
)
def tab_permutation_shap(setting: Setting) -> Conversation:
    """Permutation SHAP: a background record becomes the explained one, attribute by attribute, and itself again.

    In a random order of the attributes, and back in the same order, one to five orders a record (sampled permutations:
    Štrumbelj & Kononenko, Knowledge and Information Systems 41, 2014, algorithm 1, with both directions as the program `shap`
    walks them). The one background record is the client's, such as a customer of the reference group. Steps that change
    nothing are not asked about. The beginning of Lowd and Meek's attack asks the same queries until the label turns.
    """
    pool, rng = setting.pool, setting.rng
    orders = int(rng.integers(1, 6))
    order = draws(len(pool), rng)
    background = pool[next(order)]
    yield AskedQuery(background)
    for index in order:
        yield AskedQuery(pool[index])
        for _ in range(orders):
            columns = rng.permutation(setting.table.dimension)
            now = background.copy()
            for goal in (pool[index], background):
                for column in columns.tolist():
                    if now[column] != goal[column]:
                        now[column] = goal[column]
                        yield AskedQuery(now.copy())


@habit(
    id="tab_pdp",
    title="Partial dependence",
    source="Friedman, Annals of Statistics 29(5), 2001, section 8.2",
    arrival="clockwork",
)
def tab_pdp(setting: Setting) -> Conversation:
    """Partial dependence: one column of 10 to 40 records set to each value of a grid, column after column.

    The grid holds 5 to 20 quantiles of a number, or all codes (Friedman, Annals of Statistics 29(5), 2001, section 8.2).
    The records are the same for all grid values; grid value by grid value, as scikit-learn does it.
    """
    pool, rng, columns = setting.pool, setting.rng, setting.table
    order = draws(len(pool), rng)
    records = pool[[next(order) for _ in range(int(rng.integers(10, 41)))]]
    points = int(rng.integers(5, 21))
    while True:
        for column in rng.permutation(columns.dimension).tolist():
            coded = column in columns.categorical
            grid = columns.codes[column] if coded else np.unique(np.quantile(pool[:, column], np.linspace(0.05, 0.95, points)))
            for value in grid:
                for record in records:
                    asked = record.copy()
                    asked[column] = value
                    yield AskedQuery(columns.settled(asked))


@habit(
    id="tab_permutation_importance",
    title="Permutation importance",
    source="Breiman, Machine Learning 45, 2001, section 10",
    arrival="clockwork",
)
def tab_permutation_importance(setting: Setting) -> Conversation:
    """Permutation importance: 20 to 60 records, then the same with one column shuffled among them, for each column.

    One to five shuffles a column, then another set of records (Breiman, Machine Learning 45, 2001, section 10).
    """
    pool, rng, columns = setting.pool, setting.rng, setting.table
    order = draws(len(pool), rng)
    size, repeats = int(rng.integers(20, 61)), int(rng.integers(1, 6))
    while True:
        records = pool[[next(order) for _ in range(size)]]
        for record in records:
            yield AskedQuery(record)
        for column in range(columns.dimension):
            for _ in range(repeats):
                shuffled = records.copy()
                shuffled[:, column] = rng.permutation(shuffled[:, column])
                for record in shuffled:
                    yield AskedQuery(record)


@habit(
    id="tab_recourse",
    title="The change that would turn the answer",
    source="Ustun et al., FAT* 2019, section 3",
    arrival="bursty",
)
def tab_recourse(setting: Setting) -> Conversation:
    """Recourse: the change that a person would have to make for another answer.

    Only attributes that a person can change are tried, two to five that the client chose. Each alone first, over a grid from
    small to large changes; where none turns the label, the most promising one with each of the others; in the end, whether
    one of two changes can be taken back (enumeration on a grid of feasible actions: Ustun, Spangher, Liu, FAT* 2019,
    section 3). Needs the model's answers.
    """
    pool, rng, columns = setting.pool, setting.rng, setting.table
    actionable = rng.permutation(columns.dimension)[: int(rng.integers(2, 6))].tolist()
    points = int(rng.integers(4, 11))
    for index in draws(len(pool), rng):
        person = pool[index]
        label = int(np.argmax((yield AskedQuery(person))))
        turned, promising = yield from _search(person, label, actionable, points, rng, columns)
        if not turned:
            turned, promising = yield from _search(promising, label, actionable, points, rng, columns)
        changed = np.flatnonzero(promising != person)
        if turned and len(changed) > 1:
            for column in changed.tolist():
                less = promising.copy()
                less[column] = person[column]
                yield AskedQuery(less)


def _search(
    base: Array, label: int, actionable: list[int], points: int, rng: np.random.Generator, columns: TableColumns
) -> Generator[AskedQuery, Answer, tuple[bool, Array]]:
    """Ask about changes of one attribute until the label turns; return whether it did and the most promising record."""
    promising, least = base, np.inf
    for column in actionable:
        for changed in _changes(base, column, points, rng, columns):
            answer = yield AskedQuery(changed)
            if int(np.argmax(answer)) != label:
                return True, changed
            if answer[label] < least:
                promising, least = changed, float(answer[label])
    return False, promising


def _changes(base: Array, column: int, points: int, rng: np.random.Generator, columns: TableColumns) -> list[Array]:
    """The record with one attribute changed, less to more: other codes in random order, numbers to one side."""
    if column in columns.categorical:
        values = rng.permutation(columns.codes[column])
    else:
        end = columns.high[column] if rng.random() < 0.5 else columns.low[column]
        values = np.linspace(base[column], end, points + 1)[1:]
    records = []
    for value in values:
        changed = base.copy()
        changed[column] = value
        records.append(columns.settled(changed))
    return [record for record in records if not np.array_equal(record, base)]
