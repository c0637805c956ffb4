"""What is known of a table: which columns are numbers, which are whole numbers, which are codes, and their ranges.

A picture needs one value range; a table needs one a column, and a code is no number: the middle of two occupations is
not an occupation. Column numbers start at 0 and `categorical` means what it means in the service's configuration.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from detector.redteam.conversation import Array


@dataclass(frozen=True, slots=True, eq=False)
class TableColumns:
    """The columns of a table of `dimension` values a row.

    `low`, `high`, `middle` and `spread` (dimension,) are the smallest, largest and median value and the standard
    deviation of each column; for a column of codes they mean little. `numeric` and `categorical` part the column numbers
    between them, `integer` are the numeric ones that hold whole numbers only, `codes` the sorted codes of each
    categorical column.
    """

    low: Array
    high: Array
    middle: Array
    spread: Array
    numeric: tuple[int, ...]
    integer: tuple[int, ...]
    categorical: tuple[int, ...]
    codes: Mapping[int, Array]

    @classmethod
    def of(cls, X: Array, categorical: Sequence[int] = ()) -> "TableColumns":
        """Read the columns off records X (n, dimension), n >= 1; what is categorical cannot be read and must be said.

        Raises ValueError if X is empty or a categorical column does not exist.

        >>> columns = TableColumns.of(np.array([[18.0, 0.5, 2.0], [64.0, 0.25, 0.0]]), categorical=[2])
        >>> columns.numeric, columns.integer, columns.codes[2].tolist()
        ((0, 1), (0,), [0.0, 2.0])
        """
        if X.ndim != 2 or not X.size:
            raise ValueError("columns are read off at least one record")
        coded = tuple(sorted(set(categorical)))
        if coded and not 0 <= coded[0] <= coded[-1] < X.shape[1]:
            raise ValueError(f"categorical columns {coded} of a table with {X.shape[1]}")
        numeric = tuple(j for j in range(X.shape[1]) if j not in coded)
        return cls(
            low=X.min(axis=0),
            high=X.max(axis=0),
            middle=np.median(X, axis=0),
            spread=X.std(axis=0),
            numeric=numeric,
            integer=tuple(j for j in numeric if np.array_equal(X[:, j], np.rint(X[:, j]))),
            categorical=coded,
            codes=MappingProxyType({j: np.unique(X[:, j]) for j in coded}),
        )

    @property
    def dimension(self) -> int:
        """Values in a row."""
        return len(self.low)

    def settled(self, record: Array) -> Array:
        """A copy of `record` (dimension,) that the table could hold: numbers in range, whole where the column is.

        Codes are left alone.

        >>> columns = TableColumns.of(np.array([[18.0, 0.5, 2.0], [64.0, 0.25, 0.0]]), categorical=[2])
        >>> columns.settled(np.array([70.0, 0.3, 2.0])).tolist()
        [64.0, 0.3, 2.0]
        """
        row = record.astype(np.float64, copy=True)
        numbers = list(self.numeric)
        row[numbers] = np.clip(row[numbers], self.low[numbers], self.high[numbers])
        whole = list(self.integer)
        row[whole] = np.rint(row[whole])
        return row

    def admits(self, X: Array) -> npt.NDArray[np.bool_]:
        """Which records (n, dimension) the table could hold, (n,): ranges, whole numbers and codes are respected."""
        fits = np.ones(len(X), dtype=np.bool_)
        for j in self.numeric:
            fits &= (X[:, j] >= self.low[j]) & (X[:, j] <= self.high[j])
        for j in self.integer:
            fits &= X[:, j] == np.rint(X[:, j])
        for j in self.categorical:
            fits &= np.isin(X[:, j], self.codes[j])
        return fits
