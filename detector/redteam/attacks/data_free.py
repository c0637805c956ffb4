"""Data-free attacks: queries that were neither found nor derived from anything found."""

import numpy as np

from detector.redteam.conversation import Array, AskedQuery, Conversation
from detector.redteam.entries import attack
from detector.redteam.foreign_pools import FOREIGN
from detector.redteam.setting import Setting


@attack(
    id="generator_proxy",
    title="Smooth random fields of an untrained generator",
    family="data-free",
    source="after Truong et al., CVPR 2021",
    needs="probabilities",
)
def generator_proxy(setting: Setting) -> Conversation:
    """Smooth random fields, as the generators of data-free attacks paint them (Truong et al., CVPR 2021; MAZE).

    A stand-in for the queries of DFME and MAZE before their generator has learnt much: those attacks train it through
    the victim with millions of queries and need a deep-learning framework, this one only draws. So it shows what such
    traffic looks like, not how well such a thief copies. Never ends. Of `pool` only the dimension is read; raises
    ValueError at the first query if that is not a square picture's.
    """
    pool, rng = setting.pool, setting.rng
    while True:
        yield AskedQuery(FOREIGN["fields"](pool.shape[1], rng, setting.value_range), synthetic=True)


@attack(
    id="marginals",
    title="Columns drawn independently",
    family="data-free",
    source="after Tramèr et al., USENIX Security 2016",
    data=("tabular",),
)
def marginals(setting: Setting) -> Conversation:
    """Records made of columns drawn independently from their marginals (after Tramèr et al., USENIX Security 2016, 6).

    Every value is a real one, no record is: a thief who knows each column's statistics and nothing of how they go
    together. Needs such statistics, here from the pool. Never ends. Raises ValueError at the first query without any.
    """
    pool, rng = setting.pool, setting.rng
    _some(pool)
    while True:
        rows = rng.integers(len(pool), size=pool.shape[1])
        yield AskedQuery(pool[rows, np.arange(pool.shape[1])], synthetic=True)


@attack(
    id="gaussian",
    title="Independent normal values",
    family="data-free",
    source="after Tramèr et al., USENIX Security 2016",
    data=("image", "tabular", "text"),
)
def gaussian(setting: Setting) -> Conversation:
    """Independent normal values with the mean and spread of each: right in every value's scale, wrong in how they go together.

    Codes are drawn from the pool. Needs such statistics, here from the pool. Never ends. Raises ValueError at the first query
    without any.
    """
    pool, rng, space = setting.pool, setting.rng, setting.space
    _some(pool)
    mean, spread = pool.mean(axis=0), pool.std(axis=0)
    while True:
        codes = pool[rng.integers(len(pool), size=pool.shape[1]), np.arange(pool.shape[1])]
        drawn = mean + spread * rng.standard_normal(pool.shape[1])
        yield AskedQuery(space.settle(np.where(space.coded, codes, drawn)), synthetic=True)


@attack(
    id="half_swapped",
    title="Crossings of two records",
    family="data-free",
    source="after Syswerda, ICGA 1989",
    data=("tabular",),
)
def half_swapped(setting: Setting) -> Conversation:
    """Two real records, each column from one or the other: half of what belongs together still does.

    The uniform crossover of evolutionary search (Syswerda, ICGA 1989), used to multiply a small stock of records. Needs
    at least two records that differ. Never ends. Raises ValueError at the first query with fewer than two.
    """
    pool, rng = setting.pool, setting.rng
    _some(pool, least=2)
    space = setting.space
    while True:
        one, other = rng.choice(len(pool), size=2, replace=False)
        swapped = rng.permutation(space.dimension) < space.dimension // 2
        yield AskedQuery(np.where(swapped, pool[other], pool[one]), synthetic=True)


def _some(pool: Array, least: int = 1) -> None:
    if len(pool) < least:
        raise ValueError(f"the attack needs at least {least} natural record{'s' if least > 1 else ''}")
