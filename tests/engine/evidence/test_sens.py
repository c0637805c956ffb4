"""Sens: which pairs are compared, and which of them are steep."""

import math

import pytest

from detector.engine.evidence.sens import CLOSEST, CONFIDENT, FARTHEST, STEEP, compares, is_steep


@pytest.mark.parametrize(
    ("distance", "margin", "compared"),
    [
        (0.5, 3.0, True),
        (CLOSEST, 3.0, False),
        (FARTHEST, 3.0, False),
        (0.5, CONFIDENT, False),
        (0.5, math.nan, False),
    ],
)
def test_only_pairs_that_can_say_something_are_compared(distance: float, margin: float, *, compared: bool) -> None:
    """Neither repeats nor strangers, and only from an answer that was sure."""
    assert compares(distance, margin, 0.0) is compared


def test_a_step_within_what_a_jpeg_moves_is_not_compared() -> None:
    """It is not the client's own."""
    assert compares(0.5, 3.0, 0.4)
    assert not compares(0.5, 3.0, 0.6)


def test_steepness_is_the_fall_of_the_earlier_label_s_margin_over_the_distance() -> None:
    """With another label the earlier one's margin is below zero; without probabilities nothing is steep."""
    assert not is_steep(0.5, 3.0, 3.0 + 0.5 * STEEP, True)
    assert is_steep(0.5, 3.0, 2.99 + 0.5 * STEEP, True)
    assert is_steep(0.5, 3.0, 0.2, False)
    assert not is_steep(0.6, 3.0, 0.2, False)
    assert not is_steep(0.5, 9.0, math.nan, False)
