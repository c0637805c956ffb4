import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from detector.redteam.conversation import Array
from detector.redteam.pictures import digitised, sensor_steps, shifted, side_of


@given(picture=hnp.arrays(np.float64, 25, elements=st.floats(0, 16)), down=st.integers(-2, 2), right=st.integers(-2, 2))
def test_a_shift_by_whole_pixels_moves_them(picture: Array, down: int, right: int) -> None:
    """Pixels arrive unchanged, and what comes in from outside is background."""
    moved = shifted(picture, np.array([down, right], dtype=np.float64), background=3.0).reshape(5, 5)
    expected = np.full((5, 5), 3.0)
    for y in range(5):
        for x in range(5):
            if 0 <= y - down < 5 and 0 <= x - right < 5:
                expected[y, x] = picture.reshape(5, 5)[y - down, x - right]
    np.testing.assert_allclose(moved, expected, atol=1e-12)


def test_a_shift_by_half_a_pixel_blends_neighbours() -> None:
    """Fractions are bilinear."""
    moved = shifted(np.arange(9.0), np.array([0.0, 0.5]), background=0.0).reshape(3, 3)
    np.testing.assert_allclose(moved[:, 1:], [[0.5, 1.5], [3.5, 4.5], [6.5, 7.5]])


@given(picture=hnp.arrays(np.float64, 9, elements=st.floats(-50, 50)), steps=st.integers(1, 255))
def test_digitised_values_lie_on_levels_within_half_a_step(picture: Array, steps: int) -> None:
    """Rounding is to the nearest level of the range, and a second time changes nothing."""
    seen = digitised(picture, (-4.0, 12.0), steps)
    assert np.all(np.abs(seen - np.clip(picture, -4.0, 12.0)) <= 8.0 / steps + 1e-9)
    np.testing.assert_allclose((seen + 4.0) * steps / 16.0, np.rint((seen + 4.0) * steps / 16.0), atol=1e-9)
    np.testing.assert_allclose(digitised(seen, (-4.0, 12.0), steps), seen)


def test_the_sensor_is_read_off_the_pool() -> None:
    """Levels follow the smallest gap, capped at an 8-bit camera, which is also the guess for a flat pool."""
    assert sensor_steps(np.array([[0.0, 0.25, 1.0]]), (0.0, 1.0)) == 4
    assert sensor_steps(np.array([[0.0, 1e-9, 1.0]]), (0.0, 1.0)) == 255
    assert sensor_steps(np.array([[0.5, 0.5]]), (0.0, 1.0)) == 255


def test_only_squares_are_pictures() -> None:
    """A vector that is no square is refused."""
    with pytest.raises(ValueError, match="not a square picture"):
        side_of(63)
