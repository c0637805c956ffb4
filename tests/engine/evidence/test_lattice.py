"""A step of several sizes, all multiples of one length, is told from other differences of two pictures."""

import numpy as np
import numpy.typing as npt
import pytest

from detector.engine.evidence.lattice import steps_on_lattice
from detector.engine.evidence.tone import NOISE
from detector.engine.memory.reservoir import SAMPLED
from detector.engine.models.reference import C_LEVELS, C_LOWEST

Vector = npt.NDArray[np.float64]

C_HIGHEST = C_LOWEST + C_LEVELS
STEP = 64 / 5  # grey levels of one of five steps
JPEG = 2.0 * 6.8  # square that a JPEG of usual quality adds to a difference, in steps of the sampled values


def kept(levels: Vector) -> npt.NDArray[np.uint8]:
    """Return grey levels as the memory keeps them."""
    return np.rint(np.rint(levels) / 255 * C_LEVELS + C_LOWEST).astype(np.uint8)


def on_lattice(first: Vector, second: Vector, rounding: float = NOISE) -> bool:
    return bool(steps_on_lattice(kept(first), kept(second), rounding, C_LOWEST, C_HIGHEST))


def picture(seed: int, contrast: float = 40.0) -> Vector:
    return np.clip(128.0 + contrast * np.random.default_rng(seed).normal(size=SAMPLED), 5.0, 250.0)


def stepped(start: Vector, seed: int, steps: int = 5, step: float = STEP) -> Vector:
    """Return a picture after so many steps of one size, up or down for each value."""
    ups = np.random.default_rng([seed, steps]).binomial(steps, 0.5, start.size)
    return np.clip(start + step * (2 * ups - steps), 0.0, 255.0)


@pytest.mark.parametrize("steps", [4, 5])
def test_steps_taken_several_times_are_seen(steps: int) -> None:
    """An even and an odd number; for nearly all pictures, clipped values or not."""
    assert sum(on_lattice(picture(seed), stepped(picture(seed), seed, steps)) for seed in range(50)) >= 45


def test_a_jpeg_hides_them() -> None:
    """It blurs the points of the lattice so much that other pictures would pass for it."""
    assert on_lattice(picture(0), stepped(picture(0), 0))
    assert not on_lattice(picture(0), stepped(picture(0), 0), JPEG)


def test_other_differences_lie_anywhere() -> None:
    """Of two pictures, of one with noise, with a patch of another, brighter, and with more contrast."""
    for seed in range(100):
        one, other = picture(seed), picture(seed + 1000)
        patched = np.where(np.arange(SAMPLED) < SAMPLED // 3, other, one)
        noisy = one + 10.0 * np.random.default_rng(seed).normal(size=SAMPLED)
        toned = 128.0 + 1.4 * (one - 128.0)
        assert not any(on_lattice(one, changed) for changed in (other, patched, noisy, toned, one + 30.0, one))


@pytest.mark.parametrize("levels", [4, 8, 17])
def test_pictures_of_few_levels_differ_by_multiples_as_well(levels: int) -> None:
    """Both lie on the lattice themselves; where one was stepped from the other, it left it."""
    grid = 255.0 / (levels - 1)
    for seed in range(50):
        one, other = (np.rint(picture(some, 60.0) / grid) * grid for some in (seed, seed + 1000))
        finer = np.rint(picture(seed + 2000, 60.0) / (grid / 2)) * grid / 2
        assert not on_lattice(one, other)
        assert not on_lattice(one, finer)
    coarse = [np.rint(picture(seed, 60.0) / grid) * grid for seed in range(50)]
    assert sum(on_lattice(start, stepped(start, seed)) for seed, start in enumerate(coarse)) >= 25


def test_flat_steps_and_drawings_are_left_to_others() -> None:
    """Moves of one size are those of `offset`; a pen has one ink and leaves the rest."""
    for seed in range(50):
        start = picture(seed)
        drawn = start.copy()
        drawn[:12] += 40.0
        drawn[12:20] += 80.0
        assert not on_lattice(start, stepped(start, seed, 1, 25.5))
        assert not on_lattice(start, drawn)
