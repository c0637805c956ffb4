"""Simulations: a served model and those who may ask it, in pools that share no example.

Five pools: what trained the model, what innocents of the past asked (once for those who teach a detector, once for those who
calibrate it), what innocents ask now, and what thieves hold; and a sixth measures copies. A detector that had seen the
pictures of the clients it is judged on would look better than it is.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier

from detector.errors import ConfigError
from detector.redteam.columns import TableColumns
from detector.redteam.conversation import Array, Predict
from detector.redteam.loans import CATEGORICAL, applications, votes
from detector.redteam.network import Network, logged
from detector.redteam.setting import Data
from detector.redteam.targets import Target
from detector.redteam.texts import embedded_all, sentences
from detector.redteam.victim import Pool
from tests.quality import real, worlds
from tests.quality.examples import Examples
from tests.quality.worlds import WORLDS

SHARES = (0.28, 0.11, 0.11, 0.2, 0.17, 0.13)  # training, teaching, calibration, evaluation, attacker, test
MOST = 12_000  # examples of a simulation
REAL = frozenset({"mnist", "adult"})
PICTURES = frozenset({"digits", "mnist"}) | worlds.PICTURES
TEXTS = frozenset({"text"}) | worlds.EMBEDDINGS
NEEDS_CODES = frozenset({"tab_category_noise"})  # profiles that need columns of codes
LABELS_ONLY = "-labels"


@dataclass(frozen=True, slots=True, eq=False)
class Simulation:
    """A model, once for each kind of client: the targets differ by whose pools they hold.

    `training` is what fitted the model. `network` is the victim where it is a perceptron, on encoded features; published
    detectors that look into the model need it. With `labels_only` the log holds no probabilities.
    """

    name: str
    data: str
    victim: str
    teaching: Target
    calibration: Target
    evaluation: Target
    thieves: Target
    training: Pool
    network: Network | None
    labels_only: bool

    @property
    def categorical(self) -> tuple[int, ...]:
        """Columns that hold codes."""
        columns = self.thieves.columns
        return () if columns is None else columns.categorical


def _digits(_seed: int, _folder: Path | None) -> Examples:
    found = load_digits()
    return Examples(np.asarray(found.data, np.float64), np.asarray(found.target, np.int64), value_range=(0.0, 16.0))


def _breast_cancer(_seed: int, _folder: Path | None) -> Examples:
    found = load_breast_cancer()
    return Examples(np.asarray(found.data, np.float64), np.asarray(found.target, np.int64))


def _loans(seed: int, _folder: Path | None) -> Examples:
    X, y = applications(3000, np.random.default_rng([seed, 1]))
    return Examples(X, y, categorical=CATEGORICAL)


def _text(seed: int, _folder: Path | None) -> Examples:
    written, y = sentences(3000, np.random.default_rng([seed, 3]))
    X = embedded_all(written)
    kept = np.unique(X.round(6), axis=0, return_index=True)[1]
    largest = float(np.abs(X).max())
    return Examples(X[kept], y[kept], value_range=(-largest, largest))


def _mnist(_seed: int, folder: Path | None) -> Examples:
    X, y = real.mnist(_given(folder))
    return Examples(X, y, value_range=(0.0, 255.0))


def _adult(_seed: int, folder: Path | None) -> Examples:
    X, y, coded = real.adult(_given(folder))
    return Examples(X, y, categorical=coded)


def _shipped(make: Callable[[int], Examples], seed: int, _folder: Path | None) -> Examples:
    return make(seed)


def _given(folder: Path | None) -> Path:
    if folder is None:
        raise ConfigError("real data need a folder that holds them")
    return folder


DATA: dict[str, Callable[[int, Path | None], Examples]] = {
    "digits": _digits,
    "breast_cancer": _breast_cancer,
    "loans": _loans,
    "text": _text,
    "mnist": _mnist,
    "adult": _adult,
    **{name: partial(_shipped, make) for name, make in WORLDS.items()},
}
POWERS = {"mlp_sure": 8.0, "mlp_unsure": 0.1}
"""Perceptrons whose probabilities are raised to a power: nearly always sure, and nearly never."""


def _perceptron(seed: int) -> MLPClassifier:
    return MLPClassifier(hidden_layer_sizes=(64,), max_iter=200, random_state=seed)


MODELS: dict[str, Callable[[int], Any]] = {
    **dict.fromkeys(("mlp", *POWERS), _perceptron),
    "forest": lambda seed: RandomForestClassifier(n_estimators=20, min_samples_leaf=3, random_state=seed),
    "tree": lambda seed: DecisionTreeClassifier(min_samples_leaf=3, random_state=seed),
    "linear": lambda seed: LogisticRegression(max_iter=5000, random_state=seed),
    "boosting": lambda seed: HistGradientBoostingClassifier(max_iter=60, random_state=seed),
}


def kind_of(data: str) -> Data:
    """Which attacks and profiles go with the data: those for pictures, for tables or for texts."""
    return "image" if data in PICTURES else "text" if data in TEXTS else "tabular"


def is_perceptron(victim: str) -> bool:
    """Tell whether the model is a network that published detectors can look into."""
    return victim.removesuffix(LABELS_ONLY) == "mlp"


@lru_cache(maxsize=4)
def simulated(data: str, victim: str, seed: int, folder: Path | None = None) -> Simulation:
    """Train a victim and deal the pools; the same arguments give the same simulation.

    `victim` is one of `MODELS`, with ``-labels`` behind it for one that answers with labels only. Perceptrons and linear models
    see encoded features (`Space.encode`), trees the records themselves. Raises `ConfigError` for a name that is none or
    without a folder where real data are asked for, `SourceError` if they are not there.
    """
    kind = victim.removesuffix(LABELS_ONLY)
    if data not in DATA or kind not in MODELS:
        raise ConfigError(f"there is no model {victim!r} on data {data!r}")
    source = DATA[data](seed, folder)
    rng = np.random.default_rng([seed, 2])
    order = rng.permutation(len(source.X))[:MOST]
    cuts = (np.cumsum(SHARES)[:-1] * len(order)).astype(int)
    pools = [Pool(source.X[rows], source.y[rows]) for rows in np.split(order, cuts)]
    training, teaching, calibration, evaluation, attacker, test = pools
    columns = TableColumns.of(source.X, source.categorical) if kind_of(data) == "tabular" else None
    classes = len(np.unique(source.y))
    model_id = f"{data}-{victim}"
    unit = data in TEXTS
    bare = Target(model_id, np.asarray, attacker, evaluation, test.vectors, source.value_range, classes, columns, unit)
    predict, network = _trained(kind, training, bare, seed)
    target = replace(bare, predict=predict).over(source.wire, source.answers)
    labels_only = victim != kind
    if labels_only:
        target = target.labels_only()
    return Simulation(
        name=model_id,
        data=data,
        victim=victim,
        teaching=replace(target, benign=teaching),
        calibration=replace(target, benign=calibration),
        evaluation=target,
        thieves=replace(target, benign=attacker),
        training=training,
        network=network,
        labels_only=labels_only,
    )


def _trained(kind: str, training: Pool, target: Target, seed: int) -> tuple[Predict, Network | None]:
    """Fit a model; what it answers is what a log would hold: at least 0.0001, and rounded to six digits."""
    model = MODELS[kind](seed)
    raw = kind in {"forest", "tree", "boosting"}
    with warnings.catch_warnings():
        # A victim that could be trained a little further is as good to steal.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(training.vectors if raw else target.encode(training.vectors), training.labels)
    if kind == "mlp":
        network = Network.of(model)
        return lambda X: logged(network.probabilities(target.encode(X))), network
    if kind in POWERS:
        return lambda X: logged(_raised(np.asarray(model.predict_proba(target.encode(X))), POWERS[kind])), None
    if not raw:
        return lambda X: logged(model.predict_proba(target.encode(X))), None
    if kind == "boosting":
        return lambda X: logged(model.predict_proba(X)), None
    trees = getattr(model, "estimators_", [model])
    return lambda X: logged(votes(trees, X)), None


def _raised(probabilities: Array, power: float) -> Array:
    raised = np.maximum(probabilities, 1e-12) ** power
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
