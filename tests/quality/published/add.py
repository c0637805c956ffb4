"""ADD, which compares the features of a window of queries, class by class, with those of the training set.

For each class the features of the training set are taken for normally distributed, with a mean and a full covariance. Of a
window of consecutive queries the same is computed for each predicted class, and the squared Fréchet distances between the two
normal distributions are averaged, weighted by how many queries of the window each class has.

Source: J.-P. Mei, W. Zhang, J. Chen, X. Zhang, T. Zhu, "Defense Against Model Stealing Based on Account-Aware Distribution
Discrepancy", AAAI 2025 (arXiv 2503.12497). The authors' reference code decides on details: covariances are divided by n; a
class with one query has covariance zero; classes without queries in the window are left out; windows follow each other
without overlap; a window above the threshold is answered with noise, whole.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tests.quality.published.interface import Array, Labels, Session, pooled

Features: TypeAlias = Callable[[Array], Array]
AS_PUBLISHED = {
    "mnist": (2247.0, 16),
    "fashion": (650.0, 16),
    "cifar10": (11.6, 16),
    "cifar100": (82.37, 256),
    "flower17": (14.85, 32),
}
"""Threshold and window by the authors' data sets and networks; a threshold is in the units of its network's features."""
EVERY_CLASS = -1


@dataclass(frozen=True, slots=True, eq=False)
class Normal:
    """A normal distribution of features: `mean` (d,), `covariance` (d, d)."""

    mean: Array
    covariance: Array


class Add:
    """ADD; the score, once every `window` queries, is the distance of these from the training set.

    When it works: queries are from another data set and the model has few classes. When it does not: attackers with natural
    data of the same kind; a hundred classes, of which a window has one query each; a new camera. A threshold is in the units
    of the features, so a published one says nothing of another network: see `AS_PUBLISHED`.

    Parameters
    ----------
    features
        Maps (n, dimension) to (n, d). As published these are the victim's penultimate activations. Where the victim is a
        black box, and by default, they are the leading `components` principal components of the benign inputs.
    training
        Examples and true labels for the class distributions, as published; by default benign queries and predicted ones.

    """

    def __init__(
        self,
        features: Features | None = None,
        *,
        window: int = 16,
        threshold: float = AS_PUBLISHED["mnist"][0],
        training: tuple[Array, Labels] | None = None,
        components: int = 32,
    ) -> None:
        """Keep the parameters; `fit` learns the distributions."""
        if window < 1 or components < 1:
            raise ValueError("window and components are at least 1")
        self.window = window
        self.threshold = threshold
        self.components = components
        self._given = features
        self._training = training
        self._features: Features | None = features
        self._classes: dict[int, Normal] = {}

    def fit(self, sessions: Sequence[Session]) -> None:
        """Learn each class's distribution, from the training set if there is one, else from benign queries.

        A class that is not there is later compared with the distribution of all.
        """
        X, labels = self._training if self._training is not None else pooled(sessions)
        self._features = self._given or _principal(X, self.components)
        F = self._features(X)
        self._classes = {int(label): normal_of(F[labels == label]) for label in np.unique(labels)}
        self._classes[EVERY_CLASS] = normal_of(F)

    def distance(self, X: Array, labels: Labels) -> float:
        """Distance of a window: queries X (n, dimension) with predicted classes (n,). Raises ValueError before `fit`."""
        if self._features is None or not self._classes:
            raise ValueError("ADD has not been fitted")
        F = self._features(X)
        total = 0.0
        for label in np.unique(labels):
            rows = F[labels == label]
            known = self._classes.get(int(label), self._classes[EVERY_CLASS])
            total += len(rows) * squared_frechet(known, rows)
        return total / len(X)

    def watch(self) -> "_AddWatch":
        """Begin with an empty window."""
        if not self._classes:
            raise ValueError("ADD has not been fitted")
        return _AddWatch(self)


class _AddWatch:
    def __init__(self, detector: Add) -> None:
        self._detector = detector
        self._vectors: list[Array] = []
        self._labels: list[int] = []

    def observe(self, vector: Array, answer: Array) -> float | None:
        self._vectors.append(vector)
        self._labels.append(int(np.argmax(answer)))
        if len(self._vectors) < self._detector.window:
            return None
        score = self._detector.distance(np.stack(self._vectors), np.array(self._labels))
        self._vectors.clear()
        self._labels.clear()
        return score


def normal_of(F: Array) -> Normal:
    """Mean and covariance, divided by n, of features F (n, d), n >= 1."""
    mean = F.mean(axis=0)
    return Normal(mean, (F - mean).T @ (F - mean) / len(F))


def squared_frechet(known: Normal, rows: Array) -> float:
    """Squared Fréchet distance between a normal distribution and that of `rows` (n, d): means and traces as published.

    The trace of the root of the product of both covariances is the sum of the roots of its eigenvalues. At most n of these are
    not zero, and they are those of an n by n symmetric matrix, which is what is decomposed here; the published program
    decomposes the product itself, d by d and without symmetry, to the same result up to rounding.
    """
    mean = rows.mean(axis=0)
    centred = (rows - mean) / np.sqrt(len(rows))
    eigenvalues = np.linalg.eigvalsh(centred @ known.covariance @ centred.T)
    roots = np.sqrt(np.maximum(eigenvalues, 0.0)).sum()
    apart = mean - known.mean
    return float(apart @ apart + np.trace(known.covariance) + np.square(centred).sum() - 2.0 * roots)


def _principal(X: Array, components: int) -> Features:
    centre = X.mean(axis=0)
    axes = np.linalg.svd(X - centre, full_matrices=False)[2][:components]
    return lambda rows: np.asarray((rows - centre) @ axes.T)
