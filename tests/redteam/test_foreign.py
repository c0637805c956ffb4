import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.redteam.foreign import foreign_picture


@settings(max_examples=60)
@given(side=st.integers(2, 20), seed=st.integers(0, 2**32 - 1))
def test_pictures_are_finite_in_range_and_repeatable(side: int, seed: int) -> None:
    """Every recipe gives a picture of the size asked for, inside the value range, the same for the same seed."""
    picture = foreign_picture(side * side, np.random.default_rng(seed), (-2.0, 5.0))
    assert picture.shape == (side * side,)
    assert np.isfinite(picture).all()
    assert picture.min() >= -2.0
    assert picture.max() <= 5.0
    assert np.array_equal(picture, foreign_picture(side * side, np.random.default_rng(seed), (-2.0, 5.0)))


def test_pictures_have_structure_and_differ() -> None:
    """Neighbouring pixels agree, as they do not in noise, and no two pictures are alike."""
    rng = np.random.default_rng(0)
    pictures = np.stack([foreign_picture(196, rng, (0.0, 1.0)) for _ in range(200)])
    grid = pictures.reshape(-1, 14, 14)
    likeness = [np.corrcoef(g[:, 1:].ravel(), g[:, :-1].ravel())[0, 1] for g in grid]
    assert np.mean(likeness) > 0.5
    assert len(np.unique(pictures, axis=0)) == 200
    assert pictures.std(axis=1).min() > 0.02


def test_only_squares_can_be_drawn() -> None:
    """A dimension that is no square is refused."""
    with pytest.raises(ValueError, match="not a square picture"):
        foreign_picture(10, np.random.default_rng(0), (0.0, 1.0))
