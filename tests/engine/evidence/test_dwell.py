"""Dwell: which flips count."""

import pytest

from detector.engine.evidence.dwell import CLOSE, MOST_PER_CROWD, UNDECIDED, dwells


@pytest.mark.parametrize(
    ("distance", "margin", "flipped", "crowd", "counts"),
    [
        (0.01, 0.1, True, 0, True),
        (0.01, 0.1, True, MOST_PER_CROWD - 1, True),
        (0.01, 0.1, True, MOST_PER_CROWD, False),
        (0.01, 0.1, False, 0, False),
        (0.01, UNDECIDED, True, 0, False),
        (CLOSE, 0.1, True, 0, False),
        (0.01, float("nan"), True, 0, False),
    ],
)
def test_flips_between_near_neighbours_where_the_model_is_undecided(
    distance: float, margin: float, crowd: int, *, flipped: bool, counts: bool
) -> None:
    """And of one crowd only so many."""
    assert dwells(distance, margin, flipped, crowd) is counts
