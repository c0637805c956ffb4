"""Innocent clients that put a model of records to use and to the test: price grids, quarters, audits, stress.

Each of them makes records from records, by rule and in bulk. They were invented after the profiles of `profiles.forms` and
`profiles.table_explainers` had been looked at, and are a wave of their own, `later`. `tab_affordability` halves an interval
of one attribute, which is what a thief does who looks for the boundary along it. The conventions are those of
`profiles.records`.
"""

from functools import partial

import numpy as np

from detector.redteam.conversation import AskedQuery, Conversation, draws
from detector.redteam.entries import profile
from detector.redteam.setting import Setting

habit = partial(profile, wave="later", data="tabular")


@habit(
    id="tab_price_grid",
    title="One price through a fixed grid, customer by customer",
    family="exploration",
    source="own observation: prices are tested",
    arrival="clockwork",
)
def tab_price_grid(setting: Setting) -> Conversation:
    """A test of prices: one number of every customer set to each value of one fixed grid of 4 to 12, in order.

    The column and the grid are the client's; values lie between the 10% and the 90% quantile. A fifth of the customers come
    back for a second grid, off by half a step.
    """
    pool, rng, columns = setting.pool, setting.rng, setting.table
    order = draws(len(pool), rng)
    first = next(order)
    column = int(rng.choice(columns.numeric))
    ends = np.quantile(pool[:, column], [0.1, 0.9])
    grid = np.linspace(ends[0], ends[1], int(rng.integers(4, 13)))
    while True:
        grids = [grid, grid + (grid[1] - grid[0]) / 2.0] if rng.random() < 0.2 else [grid]
        for price in np.concatenate(grids):
            asked = pool[first].copy()
            asked[column] = price
            yield AskedQuery(columns.settled(asked))
        first = next(order)


@habit(
    id="tab_quarters",
    title="A portfolio rolled forward by quarters",
    family="repetition",
    source="own observation: portfolios age",
    arrival="bursty",
)
def tab_quarters(setting: Setting) -> Conversation:
    """A portfolio rolled forward: 25 to 120 records every quarter, a year older each fourth time, balances drifting.

    One whole column is the age, or none is; one to three others drift by up to 3% a quarter, each record at its own rate. A
    twentieth leaves every quarter and is replaced.
    """
    pool, rng, columns = setting.pool, setting.rng, setting.table
    order = draws(len(pool), rng)
    portfolio = [pool[next(order)] for _ in range(int(rng.integers(25, 121)))]
    age = int(rng.choice(columns.integer)) if columns.integer else None
    drifting = [int(j) for j in rng.permutation([j for j in columns.numeric if j != age])[: int(rng.integers(1, 4))]]
    quarter = 0
    while True:
        for place, record in enumerate(portfolio):
            yield AskedQuery(record)
            now = record.copy()
            if age is not None and quarter % 4 == 3:
                now[age] += 1.0
            now[drifting] *= np.exp(rng.uniform(-0.03, 0.03, len(drifting)))
            portfolio[place] = pool[next(order)] if rng.random() < 0.05 else columns.settled(now)
        quarter += 1


@habit(
    id="tab_smote",
    title="Synthetic records between neighbours",
    family="selection",
    source="Chawla et al., JAIR 16, 2002, section 4.2",
)
def tab_smote(setting: Setting) -> Conversation:
    """A vendor of synthetic data: records between a real one and one of its five nearest of the same class.

    Numbers at one random place of the way, codes those of either (SMOTE: Chawla et al., JAIR 16, 2002, sections 4.2 and 6.1).
    One to six from each real record, which is itself asked about by some clients.
    """
    pool, labels, rng, columns = setting.pool, setting.labels, setting.rng, setting.table
    numbers = list(columns.numeric)
    scaled = pool[:, numbers] / np.maximum(columns.spread[numbers], 1e-9)
    copies, shows = int(rng.integers(1, 7)), bool(rng.random() < 0.5)
    for index in draws(len(pool), rng):
        peers = np.flatnonzero(labels == labels[index])
        near = peers[np.argsort(np.linalg.norm(scaled[peers] - scaled[index], axis=1), kind="stable")][1:6]
        if shows or not len(near):
            yield AskedQuery(pool[index])
        for _ in range(copies if len(near) else 0):
            other = pool[int(rng.choice(near))]
            made = pool[index] + rng.random() * (other - pool[index])
            for column in columns.categorical:
                made[column] = (pool[index] if rng.random() < 0.5 else other)[column]
            yield AskedQuery(columns.settled(made))


@habit(
    id="tab_monotonicity",
    title="An audit of monotonicity",
    family="tester",
    source="own observation: lenders show that more income never hurts",
    arrival="clockwork",
)
def tab_monotonicity(setting: Setting) -> Conversation:
    """An audit of monotonicity: does the score only rise with income? Every audited number of a record through quantiles.

    One to four columns, 5 to 15 quantiles each, upwards; the same for every record.
    """
    pool, rng, columns = setting.pool, setting.rng, setting.table
    order = draws(len(pool), rng)
    first = next(order)
    audited = [int(j) for j in rng.permutation(columns.numeric)[: int(rng.integers(1, 5))]]
    levels = np.linspace(0.02, 0.98, int(rng.integers(5, 16)))
    while True:
        yield AskedQuery(pool[first])
        for column in audited:
            for value in np.unique(np.quantile(pool[:, column], levels)):
                asked = pool[first].copy()
                asked[column] = value
                yield AskedQuery(columns.settled(asked))
        first = next(order)


@habit(
    id="tab_fairness",
    title="An audit of fairness by flipped attributes",
    family="tester",
    source="Kusner et al., NeurIPS 2017, section 3",
    arrival="clockwork",
)
def tab_fairness(setting: Setting) -> Conversation:
    """An audit of fairness: every person again with the other sex, the other origin, and nothing else changed.

    One or two columns of codes go through all their codes, alone or together; where the table has no codes a number is set to
    its quartiles (flip tests: Kusner et al., NeurIPS 2017, section 3, for attributes without descendants).
    """
    pool, rng, columns = setting.pool, setting.rng, setting.table
    order = draws(len(pool), rng)
    first = next(order)
    if columns.categorical:
        protected = [int(j) for j in rng.permutation(columns.categorical)[: int(rng.integers(1, 3))]]
        values = {column: columns.codes[column] for column in protected}
    else:
        protected = [int(rng.choice(columns.numeric))]
        values = {protected[0]: np.unique(np.quantile(pool[:, protected[0]], [0.25, 0.5, 0.75]))}
    together = bool(rng.random() < 0.5)
    while True:
        person = pool[first]
        yield AskedQuery(person)
        for column in protected:
            for value in values[column]:
                other = person.copy()
                other[column] = value
                if together:
                    for second in protected:
                        if second != column:
                            other[second] = rng.choice(values[second])
                if not np.array_equal(other, person):
                    yield AskedQuery(columns.settled(other))
        first = next(order)


@habit(
    id="tab_stress",
    title="A stress test with correlated shocks",
    family="tester",
    source="Vasicek, Risk, December 2002",
    arrival="clockwork",
)
def tab_stress(setting: Setting) -> Conversation:
    """A stress test by Monte Carlo: every record under 10 to 60 scenarios in which all numbers move together.

    One common factor and a little of their own move all numbers, by 3 to 20% of their value each; scenarios are the same for
    all records of the client (one-factor shocks: Vasicek, Risk, December 2002).
    """
    pool, rng, columns = setting.pool, setting.rng, setting.table
    order = draws(len(pool), rng)
    first = next(order)
    numbers = list(columns.numeric)
    loading = rng.choice([-1.0, 1.0], len(numbers)) * rng.uniform(0.03, 0.2, len(numbers))
    count, common = int(rng.integers(10, 61)), rng.uniform(0.3, 0.9)
    factor = rng.standard_normal((count, 1))
    shocks = loading * (np.sqrt(common) * factor + np.sqrt(1.0 - common) * rng.standard_normal((count, len(numbers))))
    while True:
        yield AskedQuery(pool[first])
        for shock in shocks:
            hit = pool[first].copy()
            hit[numbers] *= np.exp(shock)
            yield AskedQuery(columns.settled(hit))
        first = next(order)


@habit(
    id="tab_affordability",
    title="The largest loan, found by halving",
    family="exploration",
    source="own observation: affordability calculators",
    arrival="bursty",
)
def tab_affordability(setting: Setting) -> Conversation:
    """A calculator: how large a loan would be granted? The interval of one number is halved until it is known well enough.

    The column is the client's. From the ends of its range to 5 to 9 halvings, for every customer whose answer differs at the
    ends. Needs the model's answers.
    """
    pool, rng, columns = setting.pool, setting.rng, setting.table
    order = draws(len(pool), rng)
    first = next(order)
    column = int(rng.choice(columns.numeric))
    halvings = int(rng.integers(5, 10))

    def with_value(value: float) -> AskedQuery:
        asked = pool[first].copy()
        asked[column] = value
        return AskedQuery(columns.settled(asked))

    while True:
        yield AskedQuery(pool[first])
        low, high = float(columns.low[column]), float(columns.high[column])
        label = int(np.argmax((yield with_value(low))))
        if int(np.argmax((yield with_value(high)))) != label:
            for _ in range(halvings):
                middle = (low + high) / 2.0
                same = int(np.argmax((yield with_value(middle)))) == label
                low, high = (middle, high) if same else (low, middle)
        first = next(order)
