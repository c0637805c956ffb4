"""Columns: a family declares each of them, once, and everything else follows."""

from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from detector.engine.columns import DISTANCES, RETAINED, Column, allocate, columns_of


class Family(NamedTuple):
    """One column of each kind."""

    asked: Annotated[npt.NDArray[np.uint32], Column(within=(0, 9))]
    places: Annotated[npt.NDArray[np.int16], Column(3, RETAINED)]
    window: Annotated[npt.NDArray[np.float32], Column(DISTANCES)]


def test_kind_shape_and_range_are_those_declared() -> None:
    """The kind comes from the array's type, the rest from the column."""
    kinds = {name: kind.str for name, (kind, _) in columns_of(Family).items()}
    assert kinds == {"asked": "<u4", "places": "<i2", "window": "<f4"}
    assert [column.retained_axis for _, column in columns_of(Family).values()] == [None, 1, None]
    assert columns_of(Family)["asked"].column.within == (0, 9)


def test_columns_are_allocated_as_declared() -> None:
    """A row per client, all zero, with the lengths that were chosen."""
    family = allocate(Family, 5, {RETAINED: 7, DISTANCES: 4})
    assert [array.shape for array in family] == [(5,), (5, 3, 7), (5, 4)]
    assert not any(array.any() for array in family)


def test_a_column_that_is_not_declared_is_an_error() -> None:
    """It would not be saved, nor grown, nor cleared with its client."""

    class Forgetful(NamedTuple):
        asked: npt.NDArray[np.uint32]

    with pytest.raises(TypeError, match=r"Forgetful\.asked does not declare one Column"):
        columns_of(Forgetful)
