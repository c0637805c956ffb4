"""Where an attack may look for queries: one value range all over a picture, or the columns of a table.

An attack on numbers alone would ask a table about half an occupation. Seen through a `Space` pictures and records are
alike: there are dimensions with an order, and there are codes.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detector.redteam.columns import TableColumns
from detector.redteam.conversation import Array, ValueRange


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """Inclusive bounds `low` and `high` (dimension,), which dimensions are `whole` numbers, and the `codes` of the others.

    `width` is the length of each range, 1 for a constant, so that one may divide by it; `numeric` the dimensions that
    have an order and more than one value.
    """

    low: Array
    high: Array
    whole: npt.NDArray[np.bool_]
    coded: npt.NDArray[np.bool_]
    codes: dict[int, Array]
    width: Array
    numeric: npt.NDArray[np.intp]

    @classmethod
    def of(cls, columns: TableColumns | None, value_range: ValueRange, dimension: int) -> "Space":
        """The space of a table, or of pictures with `dimension` values in `value_range` where there are no columns.

        >>> Space.of(None, (0.0, 16.0), 3).numeric.tolist()
        [0, 1, 2]
        """
        whole, coded = np.zeros(dimension, dtype=np.bool_), np.zeros(dimension, dtype=np.bool_)
        if columns is None:
            low, high = np.full(dimension, value_range[0]), np.full(dimension, value_range[1])
        else:
            low, high = columns.low, columns.high
            whole[list(columns.integer)] = True
            coded[list(columns.categorical)] = True
        width = np.where(high > low, high - low, 1.0)
        codes = dict(columns.codes) if columns is not None else {}
        return cls(low, high, whole, coded, codes, width, np.flatnonzero(~coded & (high > low)))

    @property
    def dimension(self) -> int:
        """Values in a vector."""
        return len(self.low)

    def draw(self, count: int, rng: np.random.Generator) -> Array:
        """Independent uniform vectors, (count, dimension)."""
        drawn = rng.uniform(self.low, self.high, (count, self.dimension))
        if self.whole.any():
            drawn = np.where(self.whole, np.floor(self.low + (drawn - self.low) * (self.width + 1.0) / self.width), drawn)
        for place, codes in self.codes.items():
            drawn[:, place] = rng.choice(codes, count)
        return np.asarray(np.clip(drawn, self.low, self.high))

    def settle(self, vectors: Array) -> Array:
        """Clip to the bounds and round whole numbers, (..., dimension); codes are left alone."""
        clipped = np.clip(vectors, self.low, self.high)
        return np.where(self.coded, vectors, np.where(self.whole, np.rint(clipped), clipped))

    def between(self, near: Array, far: Array, share: float) -> Array:
        """Go `share` of the way from `near` to `far` in what has an order; codes are those of `far`."""
        return self.settle(np.where(self.coded, far, near + share * (far - near)))

    def distance(self, a: Array, b: Array) -> float:
        """Euclidean distance in what has an order, each dimension measured by its range."""
        return float(np.linalg.norm(((b - a) / self.width)[self.numeric]))

    def encode(self, vectors: Array) -> Array:
        """Features for a copy: ordered dimensions scaled to [0, 1], then one indicator for each code but the first.

        >>> table = TableColumns.of(np.array([[0.0, 0.0], [4.0, 1.0], [1.0, 2.0]]), categorical=[1])
        >>> Space.of(table, (0.0, 1.0), 2).encode(np.array([[1.0, 2.0], [4.0, 0.0]])).tolist()
        [[0.25, 0.0, 1.0], [1.0, 0.0, 0.0]]
        """
        parts = [((vectors - self.low) / self.width)[:, ~self.coded]]
        parts += [(vectors[:, [place]] == codes[None, 1:]).astype(np.float64) for place, codes in self.codes.items()]
        return np.hstack(parts)
