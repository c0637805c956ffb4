"""What a simulated client begins with: its examples, its random numbers, and what it knows of the model's input."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from detector.redteam.columns import TableColumns
from detector.redteam.conversation import Array, Labels, ValueRange
from detector.redteam.space import Space

Data: TypeAlias = Literal["image", "tabular", "text"]


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """The one argument of every attack and every benign profile.

    `pool` (m, dimension) and `labels` (m,) are the natural examples that the client holds, `rng` is its only source of random
    numbers, `value_range` bounds pictures and texts, `classes` is how many classes the model tells apart. `columns` are those
    of a table, None for pictures and texts; with `unit` the model takes vectors of length one only, as texts become.
    """

    pool: Array
    labels: Labels
    rng: np.random.Generator
    value_range: ValueRange = (0.0, 1.0)
    classes: int = 2
    columns: TableColumns | None = None
    unit: bool = False

    @property
    def data(self) -> Data:
        """Which attacks and profiles can begin with it."""
        return "tabular" if self.columns is not None else "text" if self.unit else "image"

    @property
    def space(self) -> Space:
        """Where queries may lie; only the dimension of the pool is read."""
        return Space.of(self.columns, self.value_range, self.pool.shape[1])

    @property
    def table(self) -> TableColumns:
        """The columns, for clients that ask about records only; raises ValueError where there are none."""
        if self.columns is None:
            raise ValueError("records have columns, and none are given")
        return self.columns
