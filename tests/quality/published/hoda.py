"""HODA, which asks how early in its training the model had made up its mind about a client's queries.

Natural samples are easy: most get their final label in the first epochs and keep it. Attack queries keep changing sides. So the
victim is kept as it was at several epochs; the hardness degree of a sample is the number of the first of these snapshots from
which on the label never changes; and a client is flagged when the histogram of the degrees of its queries is farther, by
Pearson's distance, from the normal histogram than that of any benign sequence was.

Source: A. M. Sadeghzadeh, A. M. Sobhanian, F. Dehghan, R. Jalili, "HODA: Hardness-Oriented Detection of Model Extraction
Attacks", arXiv 2106.11424. Snapshots are those of epochs 0, 9, 19, ..., 99; sequences have 100 samples (50 and more are
tried as well), and 40,000 of them are drawn from benign samples.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from sklearn.neural_network import MLPClassifier

from tests.quality.published.interface import Array, Labels, Session, pooled

Snapshot: TypeAlias = Callable[[Array], Labels]
EPOCHS = (0, 9, 19, 29, 39, 49, 59, 69, 79, 89, 99)


class Hoda:
    """HODA; the score, once every `length` queries, is the Pearson distance of the latest `length` from normal.

    When it works: queries are out of distribution or near the boundary, and benign clients draw independent test samples. When
    it does not: it cannot be used at all where the victim's training is not at hand, since no log holds labels of
    earlier snapshots; a benign client with only easy, or only hard, samples is flagged; one in ten attack queries is not seen.

    `snapshots` map (n, dimension) to labels (n,), in the order of training, the served model last. Raises ValueError without at
    least two.
    """

    def __init__(self, snapshots: Sequence[Snapshot], *, length: int = 100, sequences: int = 40_000, seed: int = 0) -> None:
        """Keep the parameters; `fit` finds the normal histogram and the threshold."""
        if len(snapshots) < 2:
            raise ValueError("HODA needs the victim as it was at two epochs or more; without snapshots it cannot be used")
        if length < 1 or sequences < 1:
            raise ValueError("length and sequences are at least 1")
        self.snapshots = tuple(snapshots)
        self.length = length
        self.sequences = sequences
        self.seed = seed
        self._normal: Array | None = None
        self._threshold = np.nan

    @property
    def threshold(self) -> float:
        """The largest distance of any benign sequence drawn by `fit`. Raises ValueError before it."""
        self._fitted()
        return self._threshold

    @property
    def normal(self) -> Array:
        """The normal histogram, one share for each degree, (snapshots,). Raises ValueError before `fit`."""
        return self._fitted()

    def degrees(self, X: Array) -> Labels:
        """Hardness degrees of samples X (n, dimension), from 0 to the number of snapshots less one, (n,)."""
        labels = np.stack([np.asarray(snapshot(X)) for snapshot in self.snapshots])
        wrong = labels != labels[-1]
        last = len(labels) - 1 - np.argmax(wrong[::-1], axis=0)
        return np.asarray(np.where(wrong.any(axis=0), last + 1, 0), dtype=np.int64)

    def fit(self, sessions: Sequence[Session]) -> None:
        """Learn the normal histogram, and the threshold from random sequences of all benign queries taken together.

        Raises ValueError if there are fewer queries than a sequence has.
        """
        X, _ = pooled(sessions)
        if len(X) < self.length:
            raise ValueError(f"{len(X)} benign queries do not make a sequence of {self.length}")
        counts = np.bincount(self.degrees(X), minlength=len(self.snapshots))
        rng = np.random.default_rng(self.seed)
        drawn = rng.multivariate_hypergeometric(counts, self.length, self.sequences, method="marginals") / self.length
        self._normal = drawn.mean(axis=0)
        self._threshold = float(_distances(drawn, self._normal).max())

    def distance(self, degrees: Labels) -> float:
        """Pearson distance (one less the correlation) between the histogram of some degrees and the normal one."""
        histogram = np.bincount(degrees, minlength=len(self.snapshots)) / len(degrees)
        return float(_distances(histogram[None], self._fitted())[0])

    def watch(self) -> "_HodaWatch":
        """Begin with no queries."""
        self._fitted()
        return _HodaWatch(self)

    def _fitted(self) -> Array:
        if self._normal is None:
            raise ValueError("HODA has not been fitted")
        return self._normal


class _HodaWatch:
    def __init__(self, detector: Hoda) -> None:
        self._detector = detector
        self._waiting: list[Array] = []

    def observe(self, vector: Array, answer: Array) -> float | None:
        del answer
        self._waiting.append(vector)
        if len(self._waiting) < self._detector.length:
            return None
        degrees = self._detector.degrees(np.stack(self._waiting))
        self._waiting.clear()
        return self._detector.distance(degrees)


def snapshots_of(
    X: Array, y: Labels, *, hidden: int = 64, seed: int = 0, epochs: Sequence[int] = EPOCHS
) -> tuple[Snapshot, ...]:
    """Train a perceptron on X (n, dimension), y (n,) and keep it after each of `epochs`, counted from 0.

    A stand-in where the victim's own snapshots were not kept: same data, same architecture, another run. The last of
    them is then not the served model, and HODA sees it through a sibling. Labels are the values of y.
    """
    model = MLPClassifier(hidden_layer_sizes=(hidden,), random_state=seed)
    classes = np.unique(y)
    kept = []
    for epoch in range(max(epochs) + 1):
        model.partial_fit(X, y, classes=classes)
        if epoch in epochs:
            inner, outer = (layer.copy() for layer in model.coefs_)
            inner_bias, outer_bias = (bias.copy() for bias in model.intercepts_)
            kept.append(_snapshot(inner, inner_bias, outer, outer_bias, classes))
    return tuple(kept)


def _snapshot(inner: Array, inner_bias: Array, outer: Array, outer_bias: Array, classes: Labels) -> Snapshot:
    def predict(X: Array) -> Labels:
        raw = np.maximum(X @ inner + inner_bias, 0.0) @ outer + outer_bias
        # With two classes scikit-learn has one output, the logit of the second.
        place = raw.argmax(axis=1) if raw.shape[1] > 1 else (raw[:, 0] > 0.0).astype(np.int64)
        return np.asarray(classes[place], dtype=np.int64)

    return predict


def _distances(histograms: Array, normal: Array) -> Array:
    """Pearson distance of each row (n, bins) from `normal`; 1, as of no correlation, where either is constant."""
    rows = histograms - histograms.mean(axis=1, keepdims=True)
    other = normal - normal.mean()
    size = np.linalg.norm(rows, axis=1) * np.linalg.norm(other)
    return np.asarray(1.0 - np.divide(rows @ other, size, out=np.zeros(len(rows)), where=size > 0.0))
