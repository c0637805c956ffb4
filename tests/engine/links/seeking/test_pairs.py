"""Flat steps between two queries: what a thief adds is told from what natural pictures show by themselves."""

import numpy as np
import pytest

from detector.engine.links.seeking.pairs import is_both_sided

LEVEL = 1 / 255


def pictures(seed: int, spread: float) -> np.ndarray:
    """Return the sampled values of a picture, (40,), in levels about grey."""
    return np.rint(128 + spread * np.random.default_rng(seed).standard_normal(40)).clip(0, 255).astype(np.uint8)


def is_step(start: np.ndarray, after: np.ndarray) -> bool:
    delta = ((after.astype(np.float64) - start) * LEVEL).astype(np.float32)
    return bool(is_both_sided(delta, start, 1.0, LEVEL, 0.0, 0))


@pytest.mark.parametrize("seed", range(5))
def test_a_flat_step_to_both_sides_is_one(seed: int) -> None:
    start = pictures(seed, 30.0)
    signs = np.random.default_rng(seed + 100).choice([-25, 25], 40)
    assert is_step(start, (start.astype(int) + signs).clip(0, 255))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("reach", [5, 7, 9])
def test_nearly_flat_pictures_are_no_steps_from_each_other(seed: int, reach: int) -> None:
    start = np.full(40, 128, np.uint8)
    assert not is_step(start, start + np.random.default_rng(seed).integers(-reach, reach + 1, 40))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("step", [25, 51])
def test_a_dithered_picture_is_no_step_from_a_flat_one(seed: int, step: int) -> None:
    start = pictures(seed, 2.0)
    assert not is_step(start, 128 + np.random.default_rng(seed).choice([-step, step], 40))
