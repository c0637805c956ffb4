import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from detector.redteam.conversation import Array
from detector.redteam.pictures import (
    blurred,
    cells_of,
    digitised,
    sensor_steps,
    sheared,
    shifted,
    side_of,
    toned,
    turned,
    zoomed,
)


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


def _square(seed: int, side: int = 7) -> Array:
    return np.random.default_rng(seed).uniform(0.0, 16.0, side * side)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_are_exact(turns: int) -> None:
    """Turning by 90 degrees moves pixels without blending them, to the left as numpy does."""
    np.testing.assert_allclose(
        turned(_square(0), 90.0 * turns, 3.0).reshape(7, 7), np.rot90(_square(0).reshape(7, 7), turns), atol=1e-9
    )


def test_nothing_is_moved_by_nothing() -> None:
    """No angle, no zoom and no slant give the picture back."""
    for same in (turned(_square(1), 0.0, 3.0), zoomed(_square(1), 1.0, 3.0), sheared(_square(1), 0.0, 3.0)):
        np.testing.assert_allclose(same, _square(1))


def test_the_middle_stays_where_it_is() -> None:
    """The pixel in the middle is neither turned, zoomed nor slanted away, and outside comes background."""
    for moved in (turned(_square(2), 33.0, -5.0), zoomed(_square(2), 0.4, -5.0), sheared(_square(2), 0.8, -5.0)):
        assert moved[24] == pytest.approx(_square(2)[24])
        assert moved.min() < 0.0


def test_zoom_keeps_what_is_shown() -> None:
    """A square in the middle doubles its side: about four times the light."""
    picture = np.zeros((15, 15))
    picture[5:10, 5:10] = 1.0
    assert zoomed(picture.ravel(), 2.0, 0.0).sum() == pytest.approx(100.0, rel=0.15)


@given(width=st.floats(0.3, 3.0), seed=st.integers(0, 50))
def test_blur_smooths_and_stays_in_range(width: float, seed: int) -> None:
    """Blurred values lie between the darkest and the brightest, with less spread."""
    soft = blurred(_square(seed), width)
    assert _square(seed).min() <= soft.min()
    assert soft.max() <= _square(seed).max()
    assert soft.std() < _square(seed).std()


@given(brightness=st.floats(-1, 1), contrast=st.floats(0, 3), seed=st.integers(0, 50))
def test_tone_is_a_rising_curve_within_the_range(brightness: float, contrast: float, seed: int) -> None:
    """Order of brightness is kept, and no value leaves the range."""
    seen = toned(_square(seed), (0.0, 16.0), brightness, contrast)[np.argsort(_square(seed))]
    assert np.all(np.diff(seen) >= -1e-9)
    assert seen.min() >= 0.0
    assert seen.max() <= 16.0


@pytest.mark.parametrize(("side", "across"), [(8, 3), (14, 4), (5, 5), (8, 1)])
def test_cells_part_a_picture(side: int, across: int) -> None:
    """Every cell has pixels, numbers run from 0 without gaps, and sizes differ by little."""
    cells = cells_of(side, across)
    sizes = np.bincount(cells)
    assert len(sizes) == across * across
    assert sizes.sum() == side * side
    assert sizes.min() >= (side // across) ** 2
