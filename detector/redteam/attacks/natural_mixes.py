"""Generators in distribution: queries mixed from a small natural sample, so that every statistic of one query is natural.

None of them knows the model's data beyond the sample. They are the thief's answer to a detector of foreign data, and cost him
what a mixture teaches less than a natural example.
"""

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from detector.redteam.conversation import AskedQuery, Conversation, ask_some
from detector.redteam.entries import attack
from detector.redteam.pictures import side_of
from detector.redteam.setting import Setting

FAMILY = "in distribution"
KNOWING = "an adversary who knows this design"
SAMPLE = 40  # natural examples that the thief holds


@attack(
    id="copula",
    title="A Gaussian copula of a small natural sample",
    family=FAMILY,
    source="after Patki, Wedge, Veeramachaneni, DSAA 2016",
    data=("image", "tabular", "text"),
)
def copula(setting: Setting, *, sample: int = SAMPLE) -> Conversation:
    """Draws from a Gaussian copula (as in Patki, Wedge, Veeramachaneni, DSAA 2016) of `sample` natural examples.

    Each value follows its own distribution in the sample, and values go together as their ranks do there. Codes and whole
    numbers are those of the sample. Asks about the sample first and never ends. Raises ValueError at the first query without
    any natural example.
    """
    rng, space = setting.rng, setting.space
    asked, _ = yield from ask_some(setting.pool, sample, rng)
    _some(asked)
    ordered = np.sort(np.stack(asked), axis=0)
    count, dimension = ordered.shape
    scores = ndtri((rankdata(np.stack(asked), axis=0) - 0.5) / count)
    spread = np.maximum(scores.std(axis=0), 1e-12)
    stepwise = space.coded | space.whole
    places = np.arange(count) + 0.5
    while True:
        drawn = rng.standard_normal(count) @ scores / (np.sqrt(count) * spread)
        at = ndtr(drawn) * count
        made = np.array([np.interp(at[j], places, ordered[:, j]) for j in range(dimension)])
        nearest = ordered[np.minimum(at.astype(np.int64), count - 1), np.arange(dimension)]
        yield AskedQuery(space.settle(np.where(stepwise, nearest, made)), synthetic=True)


@attack(
    id="smote",
    title="Between two natural neighbours of one label (SMOTE)",
    family=FAMILY,
    source="after Chawla et al., JAIR 16, 2002",
    data=("image", "tabular", "text"),
)
def smote(setting: Setting, *, sample: int = SAMPLE, neighbours: int = 5) -> Conversation:
    """Points on the line from a natural example to one of its nearest `neighbours` (Chawla et al., JAIR 16, 2002).

    Neighbours have the label that the model gave the example, where there are any. Codes are those of the farther end. Asks
    about the sample first and never ends. Raises ValueError at the first query without any natural example.
    """
    rng, space = setting.rng, setting.space
    asked, labels = yield from ask_some(setting.pool, sample, rng)
    _some(asked)
    X, y = np.stack(asked), np.array(labels)
    while True:
        one = int(rng.integers(len(X)))
        others = np.flatnonzero((y == y[one]) & (np.arange(len(X)) != one))
        if not len(others):
            others = np.arange(len(X))
        far = [space.distance(X[one], X[other]) for other in others]
        other = rng.choice(others[np.argsort(far, kind="stable")[:neighbours]])
        yield AskedQuery(space.between(X[one], X[other], float(rng.uniform(0.0, 1.0))), synthetic=True)


@attack(
    id="cut_mix",
    title="A piece of one natural example in another (CutMix)",
    family=FAMILY,
    source="after Yun et al., ICCV 2019",
    data=("image", "tabular"),
)
def cut_mix(setting: Setting, *, sample: int = SAMPLE) -> Conversation:
    """A rectangle of one natural picture in another (Yun et al., ICCV 2019); in records, a run of columns.

    The piece covers a share of the whole that is drawn uniformly. Asks about the sample first and never ends. Raises
    ValueError at the first query without any natural example.
    """
    rng, space = setting.rng, setting.space
    asked, _ = yield from ask_some(setting.pool, sample, rng)
    _some(asked)
    X = np.stack(asked)
    while True:
        one, other = X[rng.integers(len(X))], X[rng.integers(len(X))]
        if setting.columns is None:
            side = side_of(space.dimension)
            size = max(1, round(side * float(np.sqrt(rng.uniform(0.0, 1.0)))))
            top, left = rng.integers(side - size + 1, size=2)
            inside = np.zeros((side, side), dtype=np.bool_)
            inside[top : top + size, left : left + size] = True
        else:
            size = int(rng.integers(1, space.dimension + 1))
            first = int(rng.integers(space.dimension - size + 1))
            inside = (np.arange(space.dimension) >= first) & (np.arange(space.dimension) < first + size)
        yield AskedQuery(np.where(inside.ravel(), other, one), synthetic=True)


@attack(
    id="three_points",
    title="Mixtures of three natural examples",
    family=FAMILY,
    source=KNOWING,
    data=("image", "tabular", "text"),
)
def three_points(setting: Setting, *, sample: int = SAMPLE) -> Conversation:
    """Weighted means of three natural examples, the weights uniform over the triangle: no two points span the line.

    Codes are those of the heaviest. Asks about the sample first and never ends. Raises ValueError at the first query without
    any natural example.
    """
    rng, space = setting.rng, setting.space
    asked, _ = yield from ask_some(setting.pool, sample, rng)
    _some(asked)
    X = np.stack(asked)
    while True:
        rows = X[rng.integers(len(X), size=3)]
        weights = rng.dirichlet(np.ones(3))
        yield AskedQuery(space.settle(np.where(space.coded, rows[weights.argmax()], weights @ rows)), synthetic=True)


def _some(asked: list[np.ndarray]) -> None:
    if not asked:
        raise ValueError("the attack needs natural examples to mix")
