import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.redteam.columns import TableColumns
from detector.redteam.space import Space

TABLE = TableColumns.of(np.array([[18.0, 0.25, 0.0, 3.0], [64.0, 9.5, 2.0, 3.0], [40.0, 4.0, 5.0, 3.0]]), categorical=[2])


@given(seed=st.integers(0, 2**32 - 1))
def test_what_is_drawn_the_table_could_hold(seed: int) -> None:
    """Numbers in range, whole where the column is, codes among the known ones, constants constant."""
    drawn = Space.of(TABLE, (0.0, 1.0), 4).draw(20, np.random.default_rng(seed))
    assert TABLE.admits(drawn).all()


def test_whole_numbers_are_drawn_evenly_up_to_both_ends() -> None:
    """The smallest and the largest whole number come as often as any other."""
    table = TableColumns.of(np.array([[0.0], [3.0]]))
    counts = np.bincount(Space.of(table, (0.0, 1.0), 1).draw(4000, np.random.default_rng(0)).ravel().astype(int))
    assert len(counts) == 4
    assert counts.min() > 900


def test_only_ordered_dimensions_that_vary_are_numeric() -> None:
    """Neither codes nor constants can be bisected."""
    assert Space.of(TABLE, (0.0, 1.0), 4).numeric.tolist() == [0, 1]
    assert Space.of(None, (0.0, 16.0), 3).numeric.tolist() == [0, 1, 2]


def test_between_takes_the_codes_of_the_far_end_and_rounds_whole_numbers() -> None:
    """Half-way between two records is a record."""
    space = Space.of(TABLE, (0.0, 1.0), 4)
    middle = space.between(np.array([18.0, 1.0, 0.0, 3.0]), np.array([63.0, 2.0, 5.0, 3.0]), 0.5)
    assert middle.tolist() == [40.0, 1.5, 5.0, 3.0]


def test_distances_are_measured_by_ranges() -> None:
    """A whole range counts one, codes count nothing."""
    space = Space.of(TABLE, (0.0, 1.0), 4)
    assert space.distance(np.array([18.0, 0.25, 0.0, 3.0]), np.array([64.0, 0.25, 5.0, 3.0])) == pytest.approx(1.0)


def test_pictures_are_encoded_by_their_range() -> None:
    """Without columns every value is scaled to [0, 1]."""
    assert Space.of(None, (0.0, 16.0), 2).encode(np.array([[4.0, 16.0]])).tolist() == [[0.25, 1.0]]
