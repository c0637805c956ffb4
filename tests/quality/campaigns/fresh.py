"""Fresh natural examples: a day of traffic asks about more things than a pool holds.

Two thousand accounts that ask about a few hundred pictures would repeat each other all day, and links between accounts are
sought among what is new. So pools are enlarged by examples that are as natural: pictures of a pool, turned, scaled and moved;
records with the values of a class's records, moved in their ranks; embeddings moved as two of a class differ. None lies on a
line between two others, and none differs from another in one value alone, as what thieves make does.
"""

from dataclasses import replace

import numpy as np
from scipy import ndimage, special

from detector.redteam.conversation import Array, Labels
from detector.redteam.pictures import side_of
from detector.redteam.targets import Target
from detector.redteam.victim import Pool
from tests.quality.simulation import Simulation

DEGREES, SCALES, MOVE = 6.0, (0.9, 1.1), 0.02  # how far pictures are turned, scaled and moved, of their side
MOVED = 0.6  # how far records and embeddings are moved, in differences of two examples of a class


def enlarged(simulation: Simulation, examples: int, seed: int) -> Simulation:
    """Return the simulation with `examples` natural examples in each pool of clients; those of the test stay as they are."""
    rng = np.random.default_rng([seed, 31])
    pools = {
        name: fresh(pool, getattr(simulation, name), examples, rng)
        for name, pool in (
            ("teaching", simulation.teaching.benign),
            ("calibration", simulation.calibration.benign),
            ("evaluation", simulation.evaluation.benign),
            ("thieves", simulation.thieves.attacker),
        )
    }
    thieves = replace(simulation.thieves, attacker=pools["thieves"], benign=pools["thieves"])
    return replace(
        simulation,
        teaching=replace(simulation.teaching, benign=pools["teaching"]),
        calibration=replace(simulation.calibration, benign=pools["calibration"]),
        evaluation=replace(simulation.evaluation, benign=pools["evaluation"]),
        thieves=thieves,
    )


def fresh(pool: Pool, target: Target, examples: int, rng: np.random.Generator) -> Pool:
    """Make `examples` natural examples of those in a pool, as they arrive; raises ValueError for an empty pool."""
    if not len(pool.vectors):
        raise ValueError("nothing can be made of an empty pool")
    rows = rng.integers(len(pool.vectors), size=examples)
    labels = pool.labels[rows]
    if target.data == "image":
        vectors = np.stack([_seen_again(picture, rng) for picture in pool.vectors[rows]])
    else:
        other, another = (_companions(pool.labels, labels, rng) for _ in range(2))
        if target.data == "text":
            moved = pool.vectors[rows] + MOVED * (pool.vectors[other] - pool.vectors[another]) / np.sqrt(2.0)
            vectors = moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12)
        else:
            coded = () if target.columns is None else target.columns.categorical
            vectors = _records(pool.vectors, rows, other, another, coded, rng)
    return Pool(target.wire.send(vectors), labels)


def _seen_again(picture: Array, rng: np.random.Generator) -> Array:
    side = side_of(picture.size)
    angle, scale = np.deg2rad(rng.normal(0.0, DEGREES)), rng.uniform(*SCALES)
    back = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / scale
    middle = np.full(2, (side - 1) / 2.0)
    offset = middle - back @ middle + rng.normal(0.0, MOVE * side, 2)
    seen = ndimage.affine_transform(picture.reshape(side, side), back, offset, order=1, mode="nearest", prefilter=False)
    return np.asarray(seen, np.float64).ravel()


def _companions(labels: Labels, wanted: Labels, rng: np.random.Generator) -> Labels:
    """Return the row of an example of each wanted label."""
    order = np.argsort(labels, kind="stable")
    first, last = (np.searchsorted(labels[order], wanted, side) for side in ("left", "right"))
    return np.asarray(order[rng.integers(first, last)], np.int64)


def _records(
    X: Array, rows: Labels, other: Labels, another: Labels, categorical: tuple[int, ...], rng: np.random.Generator
) -> Array:
    """Move numbers in the normal scores of their ranks, so that each column keeps its values; codes come from one of two."""
    n = len(X)
    made = np.empty((len(rows), X.shape[1]))
    for column in range(X.shape[1]):
        values = X[:, column]
        if column in categorical:
            made[:, column] = np.where(rng.random(len(rows)) < MOVED / 2.0, values[other], values[rows])
            continue
        rank = np.empty(n)
        rank[np.lexsort((rng.random(n), values))] = np.arange(n)
        score = special.ndtri((rank + 0.5) / n)
        moved = (score[rows] + MOVED * (score[other] - score[another]) / np.sqrt(2.0)) / np.hypot(1.0, MOVED)
        place = np.minimum((special.ndtr(moved) * n).astype(np.int64), n - 1)
        made[:, column] = np.sort(values)[place]
    return made
