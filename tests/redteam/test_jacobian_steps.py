import numpy as np
import pytest

from detector.redteam.conversation import Array
from detector.redteam.jacobian_steps import STEPS

PICTURE = np.full(400, 0.5)
GRADIENT = np.random.default_rng(0).standard_normal(400)


def _offset(law: str) -> Array:
    return np.asarray(STEPS[law](PICTURE, GRADIENT, 0.1, np.random.default_rng(1)) - PICTURE)


@pytest.mark.parametrize("law", [law for law in STEPS if law != "noisy"])
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
