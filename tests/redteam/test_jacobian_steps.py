import numpy as np
import pytest

from detector.redteam.conversation import Array
from detector.redteam.jacobian_steps import STEPS

PICTURE = np.full(400, 0.5)
OTHER_DIRECTIONS = {"noisy", "smooth", "by_block", "toned_and_moved", "undirected"}
GRADIENT = np.random.default_rng(0).standard_normal(400)


def _offset(law: str) -> Array:
    return np.asarray(STEPS[law](PICTURE, GRADIENT, 0.1, np.random.default_rng(1)) - PICTURE)


@pytest.mark.parametrize("law", [law for law in STEPS if law not in OTHER_DIRECTIONS])
def test_no_law_steps_against_the_gradient(law: str) -> None:
    """Every pixel that moves, moves the way the gradient points."""
    offset = _offset(law)
    assert (np.sign(offset) * np.sign(GRADIENT) >= 0.0).all()


def test_sizes_are_what_the_laws_say() -> None:
    """Flat, between 0.2 and 1.8 times, exponential, 30% of the pixels, the same norm, noise of 0.4."""
    np.testing.assert_allclose(np.abs(_offset("flat")), 0.1)
    uneven = np.abs(_offset("uneven"))
    assert uneven.min() >= 0.02
    assert uneven.max() <= 0.18
    heavy = np.abs(_offset("heavy_tailed"))
    assert heavy.max() > 0.4
    assert heavy.mean() == pytest.approx(0.1, rel=0.2)
    assert 0.2 < (_offset("sparse") != 0.0).mean() < 0.4
    assert np.linalg.norm(_offset("along")) == pytest.approx(0.1 * 20.0)
    assert (_offset("noisy") - _offset("flat")).std() == pytest.approx(0.04, rel=0.1)


def test_a_moved_picture_is_not_a_flat_offset_of_its_seed() -> None:
    """On a picture with content, the difference to the seed takes many values."""
    picture = np.random.default_rng(2).uniform(size=400)
    offset = STEPS["moved"](picture, GRADIENT, 0.1, np.random.default_rng(3)) - picture
    assert np.unique(np.abs(offset).round(6)).size > 300


@pytest.mark.parametrize("law", ["smooth", "by_block"])
def test_steps_that_hide_their_evenness_are_as_long_and_go_with_the_gradient(law: str) -> None:
    """The Euclidean norm is that of the flat step, the way is uphill, and pixels do not all move by one amount."""
    offset = _offset(law)
    assert np.linalg.norm(offset) == pytest.approx(0.1 * 20.0)
    assert offset @ GRADIENT > 0.0
    assert np.unique(np.abs(offset).round(6)).size > 5


def test_a_block_moves_as_one() -> None:
    """A step by block has at most 5 by 5 sizes, a smooth one no two neighbours alike."""
    assert np.unique(_offset("by_block").round(9)).size <= 25
    assert np.unique(_offset("smooth").round(9)).size > 350


def test_whole_steps_have_a_heavy_tail_and_the_mean_size() -> None:
    """Each query has one size; over many the mean is the step's, and a few are more than five times as large."""
    rng = np.random.default_rng(4)
    drawn = [STEPS["heavy_tailed_whole"](PICTURE, GRADIENT, 0.1, rng) - PICTURE for _ in range(4000)]
    sizes = np.array([np.abs(one) for one in drawn])
    np.testing.assert_allclose(sizes.min(axis=1), sizes.max(axis=1))
    assert sizes.mean() == pytest.approx(0.1, rel=0.15)
    assert 0.005 < (sizes[:, 0] > 0.5).mean() < 0.05


def test_a_toned_and_moved_picture_has_other_levels_in_other_places() -> None:
    """Undoing the step leaves a picture that is the seed nowhere."""
    picture = np.random.default_rng(2).uniform(size=400)
    left = STEPS["toned_and_moved"](picture, GRADIENT, 0.1, np.random.default_rng(3)) - 0.1 * np.sign(GRADIENT)
    assert (np.abs(left - picture) < 1e-3).mean() < 0.05
    assert not np.isin(left.round(6), picture.round(6)).all()
