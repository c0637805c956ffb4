"""A small network, trained in the ways that are said to harden a model against copying.

One hidden layer of ReLU units, softmax, Adam, in numpy: every model here is the same but for the one thing that its recipe
changes, so that the table compares recipes and not libraries.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from detector.redteam.adam import Adam
from detector.redteam.conversation import Array, Labels
from detector.redteam.network import Network, drawn, one_hot, softmax

__all__ = ["HIDDEN", "Course", "Pull", "descend", "epsilon_of"]

HIDDEN: Final = 64
Pull: TypeAlias = Callable[[Array, Array, Labels], Array]
"""Gradient of the loss of each example with respect to its logits (n, classes): of logits, targets, and which examples."""


def plainly(logits: Array, targets: Array, chosen: Labels) -> Array:
    """Cross-entropy."""
    del chosen
    return softmax(logits) - targets


@dataclass(frozen=True, slots=True)
class Course:
    """How to train: Adam with a step size that falls linearly from `rate` to zero.

    `clip` bounds the gradient of each example and `noise` (in units of it) is added to their sum: DP-SGD (Abadi et al., CCS
    2016). Then batches are drawn independently, each example with probability `batch` / n. `reach` moves each input by up to so
    much against the model, by one signed gradient step from a random start (Wong et al., ICLR 2020).
    """

    steps: int = 1500
    batch: int = 64
    rate: float = 0.005
    decay: float = 1e-4
    clip: float | None = None
    noise: float = 0.0
    reach: float = 0.0


def descend(X: Array, labels: Labels, classes: int, course: Course, seed: int, pull: Pull = plainly) -> Network:
    """Train on X (n, dimension), which should lie between -1 and 1, and labels (n,); `targets` of `pull` are one-hot."""
    rng = np.random.default_rng(seed)
    n, dimension = X.shape
    Y = one_hot(labels, classes)
    adam = Adam(drawn(dimension, HIDDEN, classes, rng), course.rate, steps=course.steps)
    for _ in range(course.steps):
        chosen = np.flatnonzero(rng.random(n) < course.batch / n) if course.clip else rng.integers(n, size=min(course.batch, n))
        x = X[chosen]
        if course.reach:
            x = _moved(x, labels[chosen], adam.parameters, course.reach, rng)
        adam.step(_gradients(x, Y[chosen], chosen, adam.parameters, course, pull, rng))
    return Network(*adam.parameters)


def _moved(x: Array, labels: Labels, parameters: list[Array], reach: float, rng: np.random.Generator) -> Array:
    start = x + rng.uniform(-reach, reach, x.shape)
    uphill = -np.sign(Network(*parameters).label_gradients(start, labels))
    return np.asarray(np.clip(np.clip(start + 1.25 * reach * uphill, x - reach, x + reach), -1.0, 1.0))


def _gradients(
    x: Array, y: Array, chosen: Labels, parameters: list[Array], course: Course, pull: Pull, rng: np.random.Generator
) -> list[Array]:
    inner, inner_bias, outer, outer_bias = parameters
    h = np.maximum(x @ inner + inner_bias, 0.0)
    error = pull(h @ outer + outer_bias, y, chosen)
    back = (error @ outer.T) * (h > 0.0)
    count = max(len(x), 1)
    if course.clip is not None:
        # The gradient of an example is an outer product in each layer, so its norm needs no gradient.
        norms = np.sqrt(
            ((x**2).sum(axis=1) + 1.0) * (back**2).sum(axis=1) + ((h**2).sum(axis=1) + 1.0) * (error**2).sum(axis=1)
        )
        share = np.minimum(1.0, course.clip / np.maximum(norms, 1e-12))[:, None]
        error, back, count = error * share, back * share, course.batch
    sums = [x.T @ back, back.sum(axis=0), h.T @ error, error.sum(axis=0)]
    if course.clip is not None:
        sums = [total + rng.normal(0.0, course.noise * course.clip, total.shape) for total in sums]
    weights = (course.decay * inner, 0.0, course.decay * outer, 0.0)
    return [np.asarray(total / count + weight) for total, weight in zip(sums, weights, strict=True)]


def epsilon_of(noise: float, share: float, steps: int, delta: float) -> float:
    """Return epsilon of DP-SGD with Poisson sampling of `share` of the examples: the moments accountant, whole orders.

    Renyi divergence of the sampled Gaussian mechanism for whole orders (Mironov et al., 2019, section 3.3), turned into epsilon
    by Mironov's (CSF 2017) proposition 3.

    >>> round(epsilon_of(noise=1.1, share=256 / 60000, steps=14063, delta=1e-5), 1)
    3.0
    """
    best = np.inf
    share = min(share, 1.0 - 1e-12)  # all of them in each batch is the limit
    for order in range(2, 257):
        k = np.arange(order + 1, dtype=np.float64)
        binomial = np.concatenate([[0.0], np.cumsum(np.log((order - k[:-1]) / (k[:-1] + 1.0)))])
        terms = binomial + (order - k) * np.log1p(-share) + k * np.log(share) + (k * k - k) / (2.0 * noise**2)
        largest = terms.max()
        divergence = (largest + np.log(np.exp(terms - largest).sum())) / (order - 1)
        best = min(best, steps * divergence + np.log(1.0 / delta) / (order - 1))
    return float(best)
