"""Models that can be attacked by name, and the examples their clients hold.

=====================  ==================================================================================
``demo``               the model of ``detector demo``: a perceptron on scikit-learn's digits
``digits[:SEED]``      the same, trained on another split
``loans[:SEED]``       a forest that grants loans: records with whole numbers and codes
``mlp:DATA``           a perceptron on DATA: iris, wine, breast_cancer or digits of scikit-learn
``linear:DATA``        a softmax regression on it
``tree:DATA``          a single decision tree on it
=====================  ==================================================================================

The first three answer as a log would hold it, rounded to six digits; the others with all digits, as a server does that
does not think of thieves.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import datasets
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from detector.errors import ConfigError
from detector.redteam.columns import TableColumns
from detector.redteam.conversation import Array, Predict, ValueRange
from detector.redteam.loans import lender
from detector.redteam.network import one_hot
from detector.redteam.setting import Data, Setting
from detector.redteam.space import Space
from detector.redteam.victim import Pool, digits_victim
from detector.redteam.wire import DIRECT, Wire, wire_for

DEMO_SEED = 2
SHIPPED: dict[str, Callable[..., Any]] = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast_cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
}
MODELS: dict[str, Callable[[int], Any]] = {
    "mlp": lambda seed: MLPClassifier(hidden_layer_sizes=(32,), solver="lbfgs", alpha=0.1, max_iter=2000, random_state=seed),
    "linear": lambda seed: LogisticRegression(max_iter=5000, random_state=seed),
    "tree": lambda seed: DecisionTreeClassifier(min_samples_leaf=3, random_state=seed),
}
NAMES = "demo, digits[:SEED], loans[:SEED], or mlp:, linear: or tree: with iris, wine, breast_cancer or digits"


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """A model to be asked.

    `id` is the model's in the log; the pools `attacker` and `benign` are what thieves and innocents hold, `test` (m,
    dimension) measures copies, and no example is in two of them. `columns` are those of a table, None for pictures and
    texts; with `unit` the model takes vectors of length one only, as texts become. Queries and answers go through the `wire`.
    """

    id: str
    predict: Predict
    attacker: Pool
    benign: Pool
    test: Array
    value_range: ValueRange
    classes: int
    columns: TableColumns | None = None
    unit: bool = False
    wire: Wire = DIRECT

    @property
    def data(self) -> Data:
        """Which attacks and profiles go with it."""
        return "tabular" if self.columns is not None else "text" if self.unit else "image"

    def setting(self, pool: Pool, rng: np.random.Generator) -> Setting:
        """What a client begins with that holds `pool`."""
        return Setting(pool.vectors, pool.labels, rng, self.value_range, self.classes, self.columns, self.unit)

    def encode(self, vectors: Array) -> Array:
        """Features for a copy; pictures and vectors of texts are taken as they are."""
        return (
            vectors if self.columns is None else Space.of(self.columns, self.value_range, len(self.columns.low)).encode(vectors)
        )

    def over(self, inputs: str | None = None, answers: str = "full") -> "Target":
        """The same model behind a wire, see `wire_for`; raises `ConfigError`."""
        return replace(self, wire=wire_for(self, inputs, answers))

    def labels_only(self) -> "Target":
        """The same model as one that tells its label and keeps its probabilities."""

        def predict(X: Array) -> Array:
            return one_hot(self.predict(X).argmax(axis=1), self.classes)

        return replace(self, predict=predict)


def named(name: str, seed: int = 0) -> Target:
    """A model by its name, see the module; raises `ConfigError` for a name that is none.

    >>> named("tree:iris").classes
    3
    """
    kind, _, rest = name.partition(":")
    if kind in {"demo", "digits", "loans"}:
        if rest and (kind == "demo" or not rest.isdecimal()):
            raise ConfigError(f"there is no model {name!r}; there are: {NAMES}")
        number = DEMO_SEED if kind == "demo" else int(rest or seed)
        if kind == "loans":
            bank = lender(number)
            test, low_high = bank.test.vectors, (0.0, 1.0)
            return Target("loans", bank.predict, bank.attacker, bank.benign, test, low_high, bank.classes, bank.columns)
        served = digits_victim(number)
        return Target(
            "digits", served.predict, served.attacker, served.benign, served.test.vectors, served.value_range, served.classes
        )
    if kind not in MODELS or rest not in SHIPPED:
        raise ConfigError(f"there is no model {name!r}; there are: {NAMES}")
    data = SHIPPED[rest]()
    X, y = np.asarray(data.data, dtype=np.float64), np.asarray(data.target, dtype=np.int64)
    parts = np.array_split(np.random.default_rng(seed).permutation(len(X)), [int(len(X) * cut) for cut in (0.4, 0.65, 0.8)])
    training, attacker, benign, held = parts
    model = make_pipeline(StandardScaler(), MODELS[kind](seed)).fit(X[training], y[training])
    classes = len(data.target_names)
    known = np.asarray(model.classes_)

    def predict(rows: Array) -> Array:
        answers = np.zeros((len(rows), classes))
        answers[:, known] = model.predict_proba(rows)
        return answers

    columns = None if rest == "digits" else TableColumns.of(X)
    ends = (float(X.min()), float(X.max()))
    return Target(
        f"{kind}-{rest}",
        predict,
        Pool(X[attacker], y[attacker]),
        Pool(X[benign], y[benign]),
        X[held],
        ends,
        classes,
        columns,
    )


def remote(
    predict: Predict, pool: Array, *, value_range: ValueRange | None, categorical: tuple[int, ...], tabular: bool, seed: int = 0
) -> Target:
    """A model elsewhere, with the natural examples `pool` (m, dimension) that are dealt to thieves, innocents and the test.

    One request asks about the first example, to learn the number of classes; labels of the others are asked for in one
    more, since some innocent habits go by them. The value range is that of the pool if none is given. Raises
    `ConfigError` if the pool has fewer than eight examples.
    """
    if pool.ndim != 2 or len(pool) < 8:
        raise ConfigError("natural examples come as a matrix of at least eight rows")
    answers = predict(pool[:1])
    labels = np.concatenate([answers, predict(pool[1:])]).argmax(axis=1)
    order = np.random.default_rng(seed).permutation(len(pool))
    attacker, benign, test = np.array_split(order, [len(pool) * 2 // 5, len(pool) * 7 // 10])
    return Target(
        "remote",
        predict,
        Pool(pool[attacker], labels[attacker]),
        Pool(pool[benign], labels[benign]),
        pool[test],
        value_range or (float(pool.min()), float(pool.max())),
        answers.shape[1],
        TableColumns.of(pool, categorical) if tabular or categorical else None,
    )


def examples(source: str) -> Array:
    """Natural examples (m, dimension): ``digits``, ``loans``, or a .npy, .npz (array ``X``) or .csv file of numbers.

    Raises `ConfigError` if that cannot be read.
    """
    if source == "digits":
        return np.asarray(datasets.load_digits().data, dtype=np.float64)
    if source == "loans":
        return lender(0).attacker.vectors
    path = Path(source)
    try:
        if path.suffix == ".csv":
            loaded = np.loadtxt(path, delimiter=",", ndmin=2)
        else:
            loaded = np.load(path, allow_pickle=False)
            loaded = loaded["X"] if path.suffix == ".npz" else loaded
        X = np.asarray(loaded, dtype=np.float64)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"cannot read examples from {source}: {error}") from error
    if X.ndim != 2 or not np.isfinite(X).all():
        raise ConfigError(f"{source} does not hold a matrix of finite numbers")
    return X
