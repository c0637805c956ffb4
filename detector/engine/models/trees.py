"""Half-space trees that learn online, from river, scored over flat arrays.

river's `HalfSpaceTrees` (Tan, Ting and Liu, IJCAI 2011) builds the trees and learns; its scores change only when a window of
observations is complete. So the trees are copied into arrays once, and their masses at the end of each window. Scoring a row
then takes a microsecond instead of tens. The scores equal river's own.

The trees find outliers that are spread out; many equal outliers look normal to them. That is one reason why only innocent
clients teach them, each only a few times.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from detector.engine.kernels import kernel

TREES, HEIGHT, WINDOW = 25, 6, 128
NODES = 2 ** (HEIGHT + 1) - 1


@kernel
def scale(row, low, high, scaled):
    """Write the features of a row, scaled to [0, 1] by the range seen so far, into `scaled`; 0.5 where none was seen."""
    for j in range(row.shape[0]):
        width = high[j] - low[j]
        value = (row[j] - low[j]) / width if width > 0.0 else 0.5
        scaled[j] = 0.5 if np.isnan(value) else min(max(value, 0.0), 1.0)


@kernel
def score_rows(rows, low, high, feature, threshold, mass, limit):
    """Return river's score for each row; `feature`, `threshold` and `mass` are (trees, nodes) in heap order.

    `low` and `high` (features,) scale the rows.
    """
    trees, nodes = feature.shape
    scores = np.empty(rows.shape[0])
    scaled = np.empty(rows.shape[1])
    highest = trees * (limit * 10.0) * nodes
    for i in range(rows.shape[0]):
        scale(rows[i], low, high, scaled)
        total = 0.0
        for t in range(trees):
            node = 0
            power = 1.0
            while True:
                total += mass[t, node] * power
                if mass[t, node] < limit or 2 * node + 1 >= nodes:
                    break
                node = 2 * node + (1 if scaled[feature[t, node]] < threshold[t, node] else 2)
                power *= 2.0
        scores[i] = 1.0 - total / highest
    return scores


class OnlineTrees:
    """A forest for `features` inputs, scaled to [0, 1] by the ranges that innocent clients have shown so far."""

    def __init__(self, features: int, seed: int) -> None:
        self._seed = seed
        self._model: Any = None  # river's model, made with the first lesson
        self._nodes: list[list[Any]] = []
        self._low = np.full(features, np.inf)
        self._high = np.full(features, -np.inf)
        self._feature = np.zeros((TREES, NODES), np.int64)
        self._threshold = np.zeros((TREES, NODES))
        self._mass = np.zeros((TREES, NODES))
        self.windows = 0

    def _grow(self) -> None:
        """Give the trees their shape, which depends on the seed alone."""
        # Imported here: river takes a second to load, and a model that has learned nothing yet does not need it.
        from river.anomaly import HalfSpaceTrees  # noqa: PLC0415

        self._model = HalfSpaceTrees(n_trees=TREES, height=HEIGHT, window_size=WINDOW, seed=self._seed)
        # river builds the trees at the first observation, whatever it is; that observation is then forgotten.
        self._model.learn_one(dict.fromkeys(range(len(self._low)), 0.5))
        self._model.counter = 0
        self._nodes = [_heap_order(tree) for tree in self._model.trees]
        for nodes in self._nodes:
            for node in nodes:
                node.l_mass = 0
        inner = NODES // 2
        for t, nodes in enumerate(self._nodes):
            self._feature[t, :inner] = [node.feature for node in nodes[:inner]]
            self._threshold[t, :inner] = [node.threshold for node in nodes[:inner]]

    @property
    def ready(self) -> bool:
        """Whether the first window is complete; before that every score is 0."""
        return self.windows > 0

    def learn(self, row: npt.NDArray[np.float64]) -> bool:
        """Learn one feature row (missing values as NaN); True when scores changed by a wider range or a complete window."""
        if self._model is None:
            self._grow()
        wider = bool(((row < self._low) | (row > self._high)).any())
        if wider:
            self._low, self._high = np.fmin(self._low, row), np.fmax(self._high, row)
        scaled = np.empty(len(row))
        scale(row, self._low, self._high, scaled)
        self._model.learn_one(dict(enumerate(scaled.tolist())))
        if self._model.counter:
            return wider
        self._mass[:] = [[node.r_mass for node in nodes] for nodes in self._nodes]
        self.windows += 1
        return True

    def score(self, rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return a score in [0, 1] per row of shape (n, features); higher is more unusual, and 0 until `ready`."""
        if not self.ready or len(rows) == 0:
            return np.zeros(len(rows))
        scores: npt.NDArray[np.float64] = score_rows(
            rows, self._low, self._high, self._feature, self._threshold, self._mass, 0.1 * WINDOW
        )
        return scores

    def state(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return everything that was learned, as arrays."""
        learning = np.zeros((TREES, NODES))
        counts = np.zeros(2)
        if self._model is not None:
            learning[:] = [[node.l_mass for node in nodes] for nodes in self._nodes]
            counts[:] = self._model.counter, self.windows
        return {"low": self._low, "high": self._high, "mass": self._mass, "learning": learning, "counts": counts}

    def restore(self, state: dict[str, npt.NDArray[np.float64]]) -> None:
        """Take over what `state` returned; the seed and the number of features must be the same."""
        self._low, self._high = state["low"].copy(), state["high"].copy()
        self._mass[:] = state["mass"]
        if self._model is None:
            if not state["counts"].any():  # nothing was learned
                return
            self._grow()
        self._model.counter, self.windows = (int(count) for count in state["counts"])
        self._model._first_window = self.windows == 0  # noqa: SLF001  # river offers no way to resume a model
        for nodes, mass, learning in zip(self._nodes, self._mass, state["learning"], strict=True):
            for node, r_mass, l_mass in zip(nodes, mass, learning, strict=True):
                node.r_mass = int(r_mass)
                node.l_mass = int(l_mass)


def _heap_order(root: object) -> list[Any]:
    """Return the nodes of a complete binary tree level by level, so that the children of i are 2i + 1 and 2i + 2."""
    nodes: list[Any] = [root]
    for node in nodes:
        nodes.extend(getattr(node, "children", ()))
    return nodes
