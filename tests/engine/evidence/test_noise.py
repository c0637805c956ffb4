"""Noise: the five views of a vector, and the ratio that they give."""

import numpy as np
import numpy.typing as npt
import pytest

from detector.engine.evidence.foreign import LEAST, MOST
from detector.engine.evidence.noise import TERMS, VIEWS, Sights, noise_ratios, sights_from, views_of

Floats = npt.NDArray[np.float32]
DIMENSION = 400


def known() -> Sights:
    """Sights along the axes; the middle lies on the first one."""
    values = np.full((2, DIMENSION), 0.05, np.float32)
    values[0] = 0.0
    values[0, 0] = 0.5
    return sights_from(np.eye(DIMENSION, 8, dtype=np.float32), values)


def seen(vectors: npt.ArrayLike) -> npt.NDArray[np.float64]:
    rows = np.asarray(vectors, np.float32)
    views = np.empty((len(rows), VIEWS))
    views_of(rows, known(), views)
    return views


def test_the_views_do_not_depend_on_length_or_on_the_batch() -> None:
    """Each vector is looked at alone, at length one."""
    rows = np.random.default_rng(0).normal(size=(6, DIMENSION))
    np.testing.assert_allclose(seen(7.0 * rows), seen(rows), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(np.concatenate([seen(rows[k : k + 1]) for k in range(6)]), seen(rows))


def test_angles_to_the_sights_and_to_the_middle() -> None:
    """A sight is at angle 0 from itself, from the middle as well; the first axis is the middle's direction."""
    found = seen(np.eye(3, DIMENSION))
    np.testing.assert_allclose(found[:, 0], 0.0, atol=1e-6)
    np.testing.assert_allclose(found[:, 1], 0.0, atol=1e-5)
    np.testing.assert_allclose(found[:, 4], [1.0, 0.0, 0.0], atol=1e-6)
    assert seen(-np.eye(1, DIMENSION))[0, 0] == pytest.approx(1.0)


def test_kurtosis_tells_the_distribution_of_the_values() -> None:
    """1.8 for uniform values, 3 for normal ones, as many as there are values where one value is all."""
    rng = np.random.default_rng(1)
    uniform, normal = rng.uniform(-1.0, 1.0, (50, DIMENSION)), rng.normal(size=(50, DIMENSION))
    assert np.exp(seen(uniform)[:, 2]).mean() == pytest.approx(1.8, abs=0.1)
    assert np.exp(seen(normal)[:, 2]).mean() == pytest.approx(3.0, abs=0.2)
    assert np.exp(seen(np.eye(1, DIMENSION))[0, 2]) == pytest.approx(DIMENSION)


def test_a_vector_of_zeros_has_views() -> None:
    """Nothing is divided by zero."""
    assert np.isfinite(seen(np.zeros((1, DIMENSION)))).all()


def test_the_ratio_is_that_of_the_likeliest_kind_within_its_limits() -> None:
    """A constant, the views and their squares."""
    views = np.full((1, VIEWS), 0.5)
    weights = np.zeros((2, TERMS))
    weights[0, :3], weights[1, 1 + VIEWS] = (-1.0, 2.0, 1.0), 4.0
    ratio = np.empty(1, np.float32)
    noise_ratios(views, weights, ratio)
    assert np.log(ratio[0]) == pytest.approx(1.0)
    noise_ratios(views * np.nan, weights, ratio)
    assert np.log(ratio[0]) == pytest.approx(LEAST)
    for constant, limit in ((99.0, MOST), (-99.0, LEAST)):
        noise_ratios(views, np.eye(1, TERMS) * constant, ratio)
        assert np.log(ratio[0]) == pytest.approx(limit)
