"""Data-free attacks: queries that were neither found nor derived from anything found."""

import numpy as np

from detector.redteam.columns import Columns
from detector.redteam.conversation import Array, Conversation, Labels, Query, ValueRange
from detector.redteam.foreign_pools import FOREIGN
from detector.redteam.space import Space


def generator_proxy(
    pool: Array, labels: Labels, rng: np.random.Generator, value_range: ValueRange, classes: int
) -> Conversation:
    """Smooth random fields, as the generators of data-free attacks paint them (Truong et al., CVPR 2021; MAZE).

    A stand-in for the queries of DFME and MAZE before their generator has learnt much: those attacks train it through
    the victim with millions of queries and need a deep-learning framework, this one only draws. So it shows what such
    traffic looks like, not how well such a thief copies. Never ends. Of `pool` only the dimension is read; raises
    ValueError at the first query if that is not a square picture's.
    """
    del labels, classes
    while True:
        yield Query(FOREIGN["fields"](pool.shape[1], rng, value_range), synthetic=True)


def marginals(
    pool: Array,
    labels: Labels,
    rng: np.random.Generator,
    value_range: ValueRange,
    classes: int,
    *,
    columns: Columns | None = None,
) -> Conversation:
    """Records made of columns drawn independently from their marginals (after Tramèr et al., USENIX Security 2016, 6).

    Every value is a real one, no record is: a thief who knows each column's statistics and nothing of how they go
    together. Needs such statistics, here from the pool. Never ends. Raises ValueError at the first query without any.
    """
    del labels, value_range, classes, columns
    _some(pool)
    while True:
        rows = rng.integers(len(pool), size=pool.shape[1])
        yield Query(pool[rows, np.arange(pool.shape[1])], synthetic=True)


def half_swapped(
    pool: Array,
    labels: Labels,
    rng: np.random.Generator,
    value_range: ValueRange,
    classes: int,
    *,
    columns: Columns | None = None,
) -> Conversation:
    """Two real records, each column from one or the other: half of what belongs together still does.

    The uniform crossover of evolutionary search (Syswerda, ICGA 1989), used to multiply a small stock of records. Needs
    at least two records that differ. Never ends. Raises ValueError at the first query with fewer than two.
    """
    del labels, classes
    _some(pool, least=2)
    space = Space.of(columns, value_range, pool.shape[1])
    while True:
        one, other = rng.choice(len(pool), size=2, replace=False)
        swapped = rng.permutation(space.dimension) < space.dimension // 2
        yield Query(np.where(swapped, pool[other], pool[one]), synthetic=True)


def _some(pool: Array, least: int = 1) -> None:
    if len(pool) < least:
        raise ValueError(f"the attack needs at least {least} natural record{'s' if least > 1 else ''}")
