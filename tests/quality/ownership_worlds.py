"""Models whose answers are marked, thieves who copy them, and models of others: what a test of ownership has to tell apart.

Digits: a perceptron with 64 hidden units, trained on 500 pictures. Loans: a forest that grants loans, records with whole
numbers and codes. No example of a thief or an innocent trained the model.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from detector.ownership.commit import Sample, chosen
from detector.ownership.ranking import Asked
from detector.perturb.keys import subject_key
from detector.perturb.strengths import Strengths
from detector.perturb.tilt import draw, pulls, tilted
from detector.redteam.loans import lender
from detector.redteam.network import Network, one_hot, train
from detector.redteam.victim import digits_victim

__all__ = [
    "COPIES",
    "Array",
    "World",
    "changing",
    "copies",
    "fitted",
    "innocents",
    "inputs_for",
    "pull_of",
    "told_by",
    "worlds",
]

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Model = Callable[[Array], Array]
MASTER: Final = b"a key of the measurement, no secret"


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """A model and who has which examples: `pool` the thieves, `log` the other clients; `fresh` measures all."""

    name: str
    predict: Model
    classes: int
    pool: Array
    truth: Labels
    log: Array
    fresh: Array
    fresh_truth: Labels
    strengths: Strengths

    def key(self, subject: str) -> bytes:
        """The key of a subject."""
        return subject_key(MASTER, self.name, subject, "1")


def worlds(seed: int = 0) -> dict[str, Callable[[], World]]:
    """The worlds, by name."""
    return {"digits": partial(_digits, seed), "loans": partial(_loans, seed)}


def _digits(seed: int) -> World:
    victim = digits_victim(seed)
    digits = load_digits()
    X, y = np.asarray(digits.data, np.float64), np.asarray(digits.target, np.int64)
    others = np.ones(len(X), bool)
    kept = {row.tobytes() for row in victim.training.vectors}
    others[[at for at, row in enumerate(X) if row.tobytes() in kept]] = False
    X, y = X[others], y[others]
    order = np.random.default_rng(seed).permutation(len(X))
    pool, log, fresh = np.split(order, [500, 950])
    return _world("digits", victim.predict, 10, (X[pool], y[pool]), X[log], (X[fresh], y[fresh]))


def _loans(seed: int) -> World:
    bank = lender(seed)
    X = np.concatenate([bank.attacker.vectors, bank.benign.vectors])
    y = np.concatenate([bank.attacker.labels, bank.benign.labels])
    order = np.random.default_rng(seed).permutation(len(X))
    pool, log = np.split(order, [len(X) * 2 // 3])
    fresh = (bank.test.vectors, bank.test.labels)
    return _world("loans", bank.predict, bank.classes, (X[pool], y[pool]), X[log], fresh)


def _world(
    name: str, predict: Model, classes: int, pool: tuple[Array, Labels], log: Array, fresh: tuple[Array, Labels]
) -> World:
    world = World(
        name, predict, classes, *pool, log, *fresh, chosen(Sample(name, log.astype(np.float32), predict(log)), 1.0)[0]
    )
    return changing(world, 0.02)


def changing(world: World, share: float) -> World:
    """The world with marks that change such a share of the labels of its log."""
    sample = Sample(world.name, world.log.astype(np.float32), world.predict(world.log))
    return replace(world, strengths=chosen(sample, None, share)[0])


def pull_of(world: World, subject: str, X: Array) -> Array:
    """What a subject's key adds to the logits of answers to X."""
    tilts = draw([world.key(subject)], X.shape[1], world.classes)
    return np.asarray(pulls(tilts, world.strengths.frame.placed(X))[0] * world.strengths.of(tilts)[0])


def told_by(world: World, subject: str, X: Array) -> Array:
    """What a client is told under its key."""
    return tilted(world.predict(X), pull_of(world, subject, X), 1.0)


def inputs_for(world: World, X: Array, most: int, *, own: bool) -> Asked:
    """The inputs that a suspect is asked about, the least certain ones first: those of a client, X, and of others."""
    asked = _uncertain(world, X)[: most * 5 // 7] if own else X[:0]
    rows = np.concatenate([asked, _uncertain(world, world.log)[: most - len(asked)]])
    return Asked(rows.astype(np.float32), world.predict(rows), world.strengths, len(asked))


def _uncertain(world: World, X: Array) -> Array:
    X = np.unique(X, axis=0)
    two = np.sort(world.predict(X), axis=1)[:, -2:]
    return X[np.argsort(np.log(two[:, 1]) - np.log(np.maximum(two[:, 0], 1e-6)))]


COPIES: Final = (
    "soft",
    "labels",
    "soft, weight decay",
    "labels, weight decay",
    "labels smoothed",
    "soft, pruned 60%",
    "soft, pruned 80%",
    "labels, a quarter true",
    "soft, noise on answers",
    "re-distilled on other inputs",
    "logistic regression",
    "forest",
    "cleaned by neighbours",
)
"""What thieves make of the same answers."""


def copies(world: World, X: Array, told: Array, others: Array, seed: int) -> dict[str, Model]:
    """Copies of each kind that were trained on what was told; `others` are inputs that the thief has besides."""
    rng = np.random.default_rng(seed)
    labels = told.argmax(axis=1)
    hard = one_hot(labels, world.classes)
    smooth = 0.8 * hard + 0.2 / world.classes
    known = {row.tobytes(): truth for row, truth in zip(world.pool, world.truth, strict=True)}
    true = np.array([known.get(row.tobytes(), label) for row, label in zip(X, labels, strict=True)])
    mixed = np.where(rng.random(len(X)) < 0.25, true, labels)
    noisy = np.abs(told + rng.normal(0.0, 0.05, told.shape)) + 1e-6
    fit = partial(fitted, X, seed=seed)
    soft = fit(told)
    found: dict[str, Model] = {
        "soft": soft.probabilities,
        "labels": fit(hard).probabilities,
        "soft, weight decay": fit(told, decay=0.03).probabilities,
        "labels, weight decay": fit(hard, decay=0.03).probabilities,
        "labels smoothed": fit(smooth).probabilities,
        "soft, pruned 60%": _pruned(soft, 0.6).probabilities,
        "soft, pruned 80%": _pruned(soft, 0.8).probabilities,
        "labels, a quarter true": fit(one_hot(mixed, world.classes)).probabilities,
        "soft, noise on answers": fit(noisy).probabilities,
        "re-distilled on other inputs": fitted(others, soft.probabilities(others), seed=seed).probabilities,
        "logistic regression": _estimator(LogisticRegression(max_iter=500), X, labels, world.classes),
        "forest": _estimator(RandomForestClassifier(100, random_state=seed), X, labels, world.classes),
    }
    voted = _estimator(KNeighborsClassifier(5), X, labels, world.classes)(X).argmax(axis=1)
    found["cleaned by neighbours"] = fit(one_hot(voted, world.classes)).probabilities
    return found


def fitted(X: Array, targets: Array, *, seed: int, decay: float = 1e-3) -> Network:
    """A copy that takes inputs as they are, whatever the spread of their values."""
    centre, spread = X.mean(axis=0), X.std(axis=0)
    scale = np.maximum(spread, 0.25 * np.median(spread[spread > 0]))
    rng = np.random.default_rng(seed)
    made = train((X - centre) / scale, targets, rng, hidden=128, steps=1500, decay=decay)
    inner = made.inner / scale[:, None]
    return Network(inner, made.inner_bias - centre @ inner, made.outer, made.outer_bias)


def _pruned(network: Network, share: float) -> Network:
    def cut(weights: Array) -> Array:
        return np.where(np.abs(weights) < np.quantile(np.abs(weights), share), 0.0, weights)

    return Network(cut(network.inner), network.inner_bias, cut(network.outer), network.outer_bias)


def _estimator(model: Any, X: Array, labels: Labels, classes: int) -> Model:
    fitted = make_pipeline(StandardScaler(), model).fit(X, labels)

    def predict(rows: Array) -> Array:
        return one_hot(np.asarray(fitted.predict(rows), np.int64), classes)

    return predict


def innocents(world: World, count: int, seed: int) -> list[Model]:
    """Models that others trained on true labels, a quarter of them on the very inputs that the client asked about."""
    rng = np.random.default_rng(seed)
    X = np.concatenate([world.pool, world.fresh])
    y = np.concatenate([world.truth, world.fresh_truth])
    made = []
    for at in range(count):
        kinds: list[Any] = [
            DecisionTreeClassifier(max_depth=int(rng.integers(4, 16)), random_state=at),
            RidgeClassifier(alpha=float(10 ** rng.uniform(-1, 3))),
            KNeighborsClassifier(int(rng.integers(1, 12))),
            LogisticRegression(C=float(10 ** rng.uniform(-3, 1)), max_iter=60, tol=1e-2),
            RandomForestClassifier(8, random_state=at),
        ]
        rows = np.arange(len(world.pool)) if at % 4 == 0 else rng.choice(len(X), int(rng.integers(150, len(X) * 3 // 4)), False)
        if at % 4 == 0:
            rows = rng.choice(rows, len(rows) * 4 // 5, False)
        made.append(_estimator(kinds[at % len(kinds)], X[rows], y[rows], world.classes))
    return made
