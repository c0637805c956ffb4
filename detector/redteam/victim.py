"""A model worth stealing, small enough for a test: handwritten digits.

The pictures are the 1,797 digits of 8x8 pixels and 17 grey levels that ship with scikit-learn. They are split into
disjoint pools, because a client that holds the pictures the baseline was fitted on would look more innocent than it is.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from detector.redteam.conversation import Array, Labels, ValueRange
from detector.redteam.network import Network, logged
from detector.redteam.setting import Setting

_TRAINING, _BASELINE, _BENIGN, _ATTACKER = 500, 400, 350, 300


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Natural pictures: `vectors` (m, dimension) and their true `labels` (m,)."""

    vectors: Array
    labels: Labels


@dataclass(frozen=True, slots=True, eq=False)
class Victim:
    """A trained classifier and the pools that its clients draw from; no picture is in two of them.

    `training` fitted the model; `baseline` is for the innocents a detector learns from, `benign` for those it is judged
    on, `attacker` for thieves, and `test` measures copies.
    """

    model: MLPClassifier
    network: Network
    training: Pool
    baseline: Pool
    benign: Pool
    attacker: Pool
    test: Pool
    value_range: ValueRange = (0.0, 16.0)
    classes: int = 10

    def setting(self, pool: Pool, rng: np.random.Generator) -> Setting:
        """What a client begins with that holds `pool`."""
        return Setting(pool.vectors, pool.labels, rng, self.value_range, self.classes)

    def predict(self, X: Array) -> Array:
        """Probabilities (n, classes) as a log would hold them: at least 0.0001 and rounded to six digits.

        A row may therefore sum to slightly more than one.
        """
        return logged(self.network.probabilities(X))


def digits_victim(seed: int) -> Victim:
    """Train a victim on a random split of the digits; the same seed gives the same victim.

    The model is scikit-learn's perceptron with 64 hidden units, and about 94% accurate.
    """
    digits = load_digits()
    X = np.asarray(digits.data, dtype=np.float64)
    y = np.asarray(digits.target, dtype=np.int64)
    cuts = np.cumsum([_TRAINING, _BASELINE, _BENIGN, _ATTACKER])
    parts = np.split(np.random.default_rng(seed).permutation(len(X)), cuts)
    training, baseline, benign, attacker, test = (Pool(X[rows], y[rows]) for rows in parts)
    model = MLPClassifier(hidden_layer_sizes=(64,), max_iter=200, random_state=seed)
    with warnings.catch_warnings():
        # A victim that could be trained a little further is as good to steal.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(training.vectors, training.labels)
    return Victim(model, Network.of(model), training, baseline, benign, attacker, test)
