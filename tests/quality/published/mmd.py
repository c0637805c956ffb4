"""MMD window test, which asks whether a window of queries and benign traffic come from one distribution.

The maximum mean discrepancy is the distance of two samples' means in the space of a kernel. Its unbiased estimate is computed
between a window of consecutive queries and a benign reference, with a Gaussian kernel whose width is the median distance in
the reference, and compared with what benign windows give.

Source: the test is that of A. Gretton, K. Borgwardt, M. Rasch, B. Schölkopf, A. Smola, "A Kernel Two-Sample Test", Journal of
Machine Learning Research 13, 2012 (lemma 6: the estimate; section 8: the median). As a detector of model extraction, on
sentence embeddings, with windows of 1,500 queries and the 95th percentile of benign against benign as the threshold: S. Liu,
Q. Guo, Y. Dong, "An Embarrassingly Simple Detector for Model Extraction Attacks in Large Language Model API Traffic", arXiv
2606.05725, 2026. Its authors also study several references and their average; here there is one.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from scipy.spatial import distance

from tests.quality.published.interface import Array, Session, pooled

Embed: TypeAlias = Callable[[Array], Array]


class MmdWindow:
    """The test; the score, once every `window` queries, is the unbiased squared MMD of these to the reference.

    When it works: a window is large and mostly hostile, and the benign reference holds every benign habit. When it does not:
    windows of a few hundred queries with one hostile in ten; any client whose traffic is one-sided, be it ever so natural. One
    benign window in twenty is above the published threshold by construction.

    Parameters
    ----------
    window
        Queries in a window, and in the reference: 1,500 as published.
    embed
        Maps (n, dimension) to (n, d). As published these are sentence embeddings; by default the inputs themselves. Columns
        of different units have to be brought to one scale here.
    nulls, quantile
        Benign windows against the reference that are drawn for the threshold, and the share of them below it.

    """

    def __init__(
        self, window: int = 1500, *, embed: Embed | None = None, nulls: int = 200, quantile: float = 0.95, seed: int = 0
    ) -> None:
        """Keep the parameters; `fit` draws the reference and finds the threshold."""
        if window < 2 or nulls < 1 or not 0.0 < quantile <= 1.0:
            raise ValueError("a window has at least 2 queries, there is at least 1 null, and the quantile is in (0, 1]")
        self.window = window
        self.nulls = nulls
        self.quantile = quantile
        self.seed = seed
        self._embed: Embed = embed or np.asarray
        self._reference: Array | None = None
        self._within = self._width = self._threshold = np.nan

    @property
    def threshold(self) -> float:
        """The quantile of benign windows against the reference. Raises ValueError before `fit`."""
        self._fitted()
        return self._threshold

    def fit(self, sessions: Sequence[Session]) -> None:
        """Draw the reference from all benign queries, and the threshold from windows of those that remain.

        Raises ValueError unless there are enough queries for two disjoint windows.
        """
        X, _ = pooled(sessions)
        if len(X) < 2 * self.window:
            raise ValueError(f"{len(X)} benign queries do not make a reference and a window of {self.window}")
        rng = np.random.default_rng(self.seed)
        order = rng.permutation(len(X))
        Z = np.asarray(self._embed(X), dtype=np.float64)
        self._reference, rest = Z[order[: self.window]], Z[order[self.window :]]
        self._width = float(np.median(distance.pdist(self._reference))) or 1.0
        self._within = self._own(self._reference)
        null = [self._squared(rest[rng.choice(len(rest), self.window, replace=False)]) for _ in range(self.nulls)]
        self._threshold = float(np.quantile(null, self.quantile))

    def squared(self, X: Array) -> float:
        """Unbiased squared MMD between queries X (n, dimension), n >= 2, and the reference; negative values occur."""
        self._fitted()
        return self._squared(np.asarray(self._embed(X), dtype=np.float64))

    def watch(self) -> "_MmdWatch":
        """Begin with an empty window."""
        self._fitted()
        return _MmdWatch(self)

    def _squared(self, Z: Array) -> float:
        cross = self._kernel(distance.cdist(Z, self._fitted(), "sqeuclidean")).mean()
        return float(self._own(Z) + self._within - 2.0 * cross)

    def _own(self, Z: Array) -> float:
        """Mean of the kernel over all pairs of different rows."""
        return float(self._kernel(distance.pdist(Z, "sqeuclidean")).mean())

    def _kernel(self, squares: Array) -> Array:
        return np.asarray(np.exp(-squares / (2.0 * self._width**2)))

    def _fitted(self) -> Array:
        if self._reference is None:
            raise ValueError("the MMD test has not been fitted")
        return self._reference


class _MmdWatch:
    def __init__(self, detector: MmdWindow) -> None:
        self._detector = detector
        self._waiting: list[Array] = []

    def observe(self, vector: Array, answer: Array) -> float | None:
        del answer
        self._waiting.append(vector)
        if len(self._waiting) < self._detector.window:
            return None
        score = self._detector.squared(np.stack(self._waiting))
        self._waiting.clear()
        return score
