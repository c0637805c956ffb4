"""Innocent clients with records whose habits no calibration has seen.

Amounts in another currency, missing values filled in, a form that asks for a score after every field, a market that is
younger than the rest. Statistics of novelty fire on all of them. The profiles are frozen: nothing may be tuned on them.
The conventions are those of `profiles.records`, except that `tab_unit_change` and `tab_trend` leave the columns'
ranges, as they do in life.
"""

from functools import partial

import numpy as np

from detector.redteam.columns import TableColumns
from detector.redteam.conversation import Array, AskedQuery, Conversation, draws
from detector.redteam.entries import profile
from detector.redteam.setting import Setting

habit = partial(profile, wave="frozen", data="tabular")

UNITS = (1000.0, 0.001, 12.0, 1.0 / 12.0, 2.2046, 0.4536, 0.01, 1.9558)
"""Thousands, months and years, pounds and kilograms, per cent, another currency."""


@habit(
    id="tab_unit_change", title="Numbers in other units", family="form", source="own observation: currencies, months, thousands"
)
def tab_unit_change(setting: Setting) -> Conversation:
    """A client with other units: one to three numeric columns multiplied by a factor, the same for all its records."""
    pool, rng, columns = setting.pool, setting.rng, setting.table
    chosen = rng.permutation(columns.numeric)[: int(rng.integers(1, 4))]
    factors = rng.choice(np.array(UNITS), len(chosen))
    for index in draws(len(pool), rng):
        record = pool[index].copy()
        record[chosen] = np.round(record[chosen] * factors, 4)
        yield AskedQuery(record)


@habit(
    id="tab_imputed",
    title="Missing values filled in",
    family="form",
    source="Little & Rubin, Statistical Analysis with Missing Data, chapter 4",
)
def tab_imputed(setting: Setting) -> Conversation:
    """Missing values filled in: one to four columns that this client often lacks hold the median or commonest code.

    Each is missing in 30 to 100% of the records (single imputation: Little & Rubin, Statistical Analysis with Missing
    Data, chapter 4).
    """
    pool, rng, columns = setting.pool, setting.rng, setting.table
    lacking = rng.permutation(columns.dimension)[: int(rng.integers(1, 5))]
    missing = rng.uniform(0.3, 1.0, len(lacking))
    usual = _usual(pool, columns)
    for index in draws(len(pool), rng):
        record = pool[index].copy()
        gone = lacking[rng.random(len(lacking)) < missing]
        record[gone] = usual[gone]
        yield AskedQuery(record)


@habit(
    id="tab_form_editing",
    title="A score after every field of a form",
    family="form",
    source="own observation: live scoring",
    arrival="bursty",
)
def tab_form_editing(setting: Setting) -> Conversation:
    """A form that shows the score while it is filled in: field by field from the defaults to a record.

    Fields come in the form's order; one in six numbers is mistyped first and then corrected; the whole record is sent once
    more at the end.
    """
    pool, rng, columns = setting.pool, setting.rng, setting.table
    order = rng.permutation(columns.dimension).tolist()
    defaults = columns.settled(_usual(pool, columns))
    for index in draws(len(pool), rng):
        form = defaults.copy()
        for field in order:
            if field in columns.numeric and rng.random() < 1.0 / 6.0:
                typo = form.copy()
                typo[field] = pool[index, field] * float(rng.choice([0.1, 10.0]))
                yield AskedQuery(columns.settled(typo))
            if form[field] != pool[index, field]:
                form[field] = pool[index, field]
                yield AskedQuery(form.copy())
        yield AskedQuery(form)


@habit(id="tab_trend", title="Numbers that grow from query to query", family="population", source="own observation: inflation")
def tab_trend(setting: Setting) -> Conversation:
    """Times change: one to three numbers grow, or shrink, by 0.02 to 0.2% a query, as in years of inflation.

    Growth ends at twice the value and begins again, when the client's prices are brought back to the old ones.
    """
    pool, rng, columns = setting.pool, setting.rng, setting.table
    chosen = rng.permutation(columns.numeric)[: int(rng.integers(1, 4))]
    growth = rng.choice([-1.0, 1.0], len(chosen)) * rng.uniform(0.0002, 0.002, len(chosen))
    whole = list(columns.integer)
    age = 0
    for index in draws(len(pool), rng):
        record = pool[index].copy()
        record[chosen] *= np.exp(growth * age)
        record[whole] = np.rint(record[whole])
        yield AskedQuery(np.round(record, 4))
        age = age + 1 if np.abs(growth).max() * age < np.log(2.0) else 0


@habit(
    id="tab_young_market", title="A corner of the population only", family="population", source="own observation: new markets"
)
def tab_young_market(setting: Setting) -> Conversation:
    """A new market: only records in the lowest 10 to 30% of one number, and few of the codes of one column.

    The youngest, the poorest, the newest: drawn with the client. At least two records remain.
    """
    pool, rng, columns = setting.pool, setting.rng, setting.table
    rank = np.argsort(np.argsort(pool[:, int(rng.choice(columns.numeric))], kind="stable"), kind="stable")
    fits = rank < rng.uniform(0.1, 0.3) * len(pool)
    if columns.categorical:
        column = int(rng.choice(columns.categorical))
        some = rng.permutation(columns.codes[column])[: max(1, len(columns.codes[column]) // 2)]
        both = fits & np.isin(pool[:, column], some)
        fits = both if both.sum() >= 2 else fits
    market = np.flatnonzero(fits if fits.sum() >= 2 else rank < 2)
    for place in draws(len(market), rng):
        yield AskedQuery(pool[market[place]])


@habit(
    id="tab_swapped_columns",
    title="Columns swapped between records, for anonymity",
    family="form",
    source="Dalenius & Reiss, J. Statistical Planning and Inference 6, 1982",
)
def tab_swapped_columns(setting: Setting) -> Conversation:
    """Records made anonymous by swapping: one to three columns hold values of other records of the client's.

    The marginals stay, the dependences break (data swapping: Dalenius & Reiss, Journal of Statistical Planning and
    Inference 6, 1982). A thief who draws columns independently does the same to all of them.
    """
    pool, rng, columns = setting.pool, setting.rng, setting.table
    swapped = rng.permutation(columns.dimension)[: int(rng.integers(1, 4))]
    for index in draws(len(pool), rng):
        record = pool[index].copy()
        for column in swapped:
            record[column] = pool[int(rng.integers(len(pool))), column]
        yield AskedQuery(record)


def _usual(pool: Array, columns: TableColumns) -> Array:
    """The median of each number and the commonest code of each other column."""
    if not len(pool):
        raise ValueError("a client needs at least one record to ask about")
    usual = np.median(pool, axis=0)
    for column in columns.categorical:
        codes, counts = np.unique(pool[:, column], return_counts=True)
        usual[column] = codes[np.argmax(counts)]
    return columns.settled(usual)
