"""A small ReLU network that learns from probabilities.

A thief trains a substitute on what the victim said, and what the victim says is a distribution, not a label.
scikit-learn's classifiers take labels only, hence these few lines: one hidden layer, softmax, soft cross-entropy, Adam.
Gradients with respect to the input, which attacks follow, come with it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from detector.redteam.adam import Adam
from detector.redteam.conversation import Array, Labels

if TYPE_CHECKING:
    from sklearn.neural_network import MLPClassifier


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """One hidden layer: `inner` (dimension, hidden), `inner_bias`, `outer` (hidden, classes), `outer_bias`."""

    inner: Array
    inner_bias: Array
    outer: Array
    outer_bias: Array

    @classmethod
    def of(cls, model: "MLPClassifier") -> "Network":
        """The network of a fitted perceptron with one hidden layer of ReLU units.

        Its own `predict_proba` takes some five times as long for a single query.
        """
        (inner, outer), (inner_bias, outer_bias) = model.coefs_, model.intercepts_
        if outer.shape[1] == 1:  # with two classes there is one output, the logit of the second
            outer, outer_bias = np.hstack([np.zeros_like(outer), outer]), np.array([0.0, outer_bias[0]])
        return cls(inner, inner_bias, outer, outer_bias)

    def probabilities(self, X: Array) -> Array:
        """Softmax outputs, (n, classes)."""
        return softmax(self.logits(X))

    def logits(self, X: Array) -> Array:
        """What the softmax is taken of, (n, classes)."""
        return np.asarray(np.maximum(X @ self.inner + self.inner_bias, 0.0) @ self.outer + self.outer_bias)

    def jacobians(self, X: Array) -> Array:
        """Gradients of every logit, (n, dimension, classes)."""
        awake = (X @ self.inner + self.inner_bias > 0.0).astype(np.float64)
        return np.asarray(np.einsum("dh,nh,hc->ndc", self.inner, awake, self.outer, optimize=True))

    def label_gradients(self, X: Array, labels: Labels) -> Array:
        """Gradient of the log-probability of each row's own label with respect to the row, (n, dimension).

        It has the direction of the probability's own gradient and does not vanish where the network is sure. A row that
        wakes no hidden unit has gradient zero.
        """
        before = X @ self.inner + self.inner_bias
        p = softmax(np.maximum(before, 0.0) @ self.outer + self.outer_bias)
        rows = np.arange(len(X))
        p[rows, labels] = 0.0
        # As a sum over the *other* classes: 1 - p of the own label would cancel to zero long before they do.
        pull = -p
        pull[rows, labels] = p.sum(axis=1)
        return np.asarray(((pull @ self.outer.T) * (before > 0.0)) @ self.inner.T)


def drawn(dimension: int, hidden: int, classes: int, rng: np.random.Generator) -> list[Array]:
    """Return the parameters of a `Network` that has learned nothing, in their order."""
    return [
        rng.normal(0.0, np.sqrt(2.0 / dimension), (dimension, hidden)),
        np.zeros(hidden),
        rng.normal(0.0, np.sqrt(1.0 / hidden), (hidden, classes)),
        np.zeros(classes),
    ]


def train(
    X: Array,
    targets: Array,
    rng: np.random.Generator,
    *,
    hidden: int = 64,
    steps: int = 600,
    batch: int = 64,
    rate: float = 0.01,
    decay: float = 1e-3,
) -> Network:
    """Fit a network to X (n, dimension) and target distributions (n, classes), n >= 1; rows of targets are normalised.

    Adam on `steps` random batches, with a step size that falls linearly from `rate` to zero. The inputs are centred and scaled
    by one number, which is folded into the first layer. About 0.1 ms a step for 64 inputs; made for pictures of hundreds of
    pixels, not of thousands.

    >>> rng = np.random.default_rng(0)
    >>> X = np.array([[0.0, 0.0], [1.0, 1.0]])
    >>> network = train(X, np.array([[0.9, 0.1], [0.2, 0.8]]), rng, hidden=8)
    >>> network.probabilities(X).round(1).tolist()
    [[0.9, 0.1], [0.2, 0.8]]
    """
    centre = X.mean(axis=0)
    scale = float(X.std()) or 1.0
    Z = (X - centre) / scale
    Y = targets / targets.sum(axis=1, keepdims=True)
    n, dimension = Z.shape
    classes = Y.shape[1]
    adam = Adam(drawn(dimension, hidden, classes, rng), rate, steps=steps)
    for _ in range(steps):
        chosen = rng.integers(n, size=min(batch, n))
        x = Z[chosen]
        inner, inner_bias, outer, outer_bias = adam.parameters
        h = np.maximum(x @ inner + inner_bias, 0.0)
        error = (softmax(h @ outer + outer_bias) - Y[chosen]) / len(chosen)
        back = (error @ outer.T) * (h > 0.0)
        adam.step((x.T @ back + decay * inner, back.sum(axis=0), h.T @ error + decay * outer, error.sum(axis=0)))
    inner, inner_bias, outer, outer_bias = adam.parameters
    inner = inner / scale
    return Network(inner, inner_bias - centre @ inner, outer, outer_bias)


def logged(probabilities: Array) -> Array:
    """Probabilities as a log would hold them: at least 0.0001 and rounded to six digits.

    >>> logged(np.array([1.0, 0.0])).tolist()
    [1.0, 0.0001]
    """
    return np.asarray(np.maximum(probabilities, 1e-4).round(6))


def one_hot(labels: Labels, classes: int) -> Array:
    """Labels (n,) as distributions (n, classes).

    >>> one_hot(np.array([1, 0]), 3).tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    """
    return np.asarray(np.eye(classes)[labels])


def softmax(logits: Array, temperature: float = 1.0) -> Array:
    """Probabilities of logits (n, classes), the more alike the higher the temperature."""
    exponent = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
    return np.asarray(exponent / exponent.sum(axis=1, keepdims=True))
