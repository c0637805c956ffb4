"""Responses in a form whose size does not depend on them."""

import tracemalloc

import numpy as np

from detector.engine.odometer.told import LARGEST, WIDEST, told_of
from tests.engine.odometer.learned import LABELS, queries


def test_what_cannot_be_used_is_left_out() -> None:
    """No probability, an infinite one, a percentage, nothing but zeros, too many: the label counts alone."""
    given = [[], [np.inf, 0.5], [87.0], [0.0, 0.0], np.ones(WIDEST + 1), [0.0], [1.0, 3.0]]
    z, c = queries(len(given), 1)
    found = told_of(z, c, np.repeat(LABELS, 3)[: len(given)], [np.array(one, np.float64) for one in given])
    assert found.width.tolist() == [0, 0, 0, 0, 0, 1, 2]
    assert found.chance[-1, :3].tolist() == [0.25, 0.75, 0.0]
    assert found.take([1, 6]).width.tolist() == [0, 2]


def test_the_largest_are_kept() -> None:
    """In the order of their places; of equal ones the first."""
    values = np.zeros(1000)
    values[[900, 5]] = 0.4, 0.2
    values[100:200] = 0.004
    z, c = queries(1, 1)
    found = told_of(z, c, LABELS[:1], [values])
    assert found.place[0].tolist() == [5, *range(100, 100 + LARGEST - 2), 900]
    np.testing.assert_allclose(found.chance[0, [0, -1]], [0.2, 0.4], atol=1e-6)


def test_wide_responses_take_no_room() -> None:
    """Two responses of 200,000 probabilities do not widen those of the others."""
    z, c = queries(500, 1)
    narrow, wide = np.array([0.5, 0.5]), np.full(200_000, 1 / 200_000)
    chances = [wide if row < 2 else narrow for row in range(500)]
    tracemalloc.start()
    try:
        told_of(z, c, np.repeat(LABELS, 500)[:500], chances)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
