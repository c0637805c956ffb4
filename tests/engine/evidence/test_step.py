"""A client's own levels: flicker of a coarse sensor is no construction."""

import numpy as np
import numpy.typing as npt
import pytest

from detector.engine.evidence.step import is_own_level, least_gap
from detector.engine.memory.reservoir import SAMPLED
from detector.engine.models.reference import C_LEVELS, C_LOWEST, C_UNIT

Vector = npt.NDArray[np.float64]


def told(before: Vector, after: Vector, size: float) -> bool:
    """Ask about a step between two pictures with values in [0, 1]."""
    first, second = (np.rint(np.asarray(values) * C_LEVELS + C_LOWEST) for values in (before, after))
    return bool(is_own_level(first.astype(np.uint8), ((second - first) * C_UNIT).astype(np.float32), size, C_UNIT))


@pytest.mark.parametrize("levels", [3, 4, 8, 16])
@pytest.mark.parametrize("seed", range(5))
def test_a_step_of_one_level_is_the_clients_own(levels: int, seed: int) -> None:
    """Two frames of a sensor that tells so many greys differ by one of them here and there, up and down."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, levels + 1, SAMPLED)
    second = np.clip(first + rng.choice([-1, 0, 1], SAMPLED), 0, levels)
    assert told(first / levels, second / levels, 1 / levels)


@pytest.mark.parametrize("size", [0.02, 0.04, 0.1, 0.15])
@pytest.mark.parametrize("seed", range(5))
def test_a_step_off_the_grid_is_not(size: float, seed: int) -> None:
    """A coarse picture that is moved by a step of another size has levels that such a sensor does not tell."""
    rng = np.random.default_rng(seed)
    first = rng.integers(1, 16, SAMPLED) / 16
    assert not told(first, first + size * rng.choice([-1, 0, 1], SAMPLED), size)


def test_a_picture_of_all_greys_has_no_level() -> None:
    rng = np.random.default_rng(1)
    first = rng.random(SAMPLED)
    assert not told(first, np.clip(first + 0.1 * rng.choice([-1, 1], SAMPLED), 0, 1), 0.1)


def test_two_values_make_no_grid() -> None:
    """An empty picture on which single values are tried would otherwise have them as its levels."""
    start = np.full(SAMPLED, 90, np.uint8)
    start[:5] = 95
    assert least_gap(start, np.zeros(SAMPLED, np.float32), C_UNIT, 0) == np.inf
