"""Flat steps are seen, and each guard against innocent steps holds."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from detector.engine.evidence.offset import CHANNEL, CLOSEST, GRAINS, LARGEST, flattened, is_flat_offset
from detector.engine.evidence.tone import von_neumann_ratio
from detector.engine.memory.reservoir import SAMPLED
from detector.engine.models.reference import C_HIGHEST, C_LOWEST, C_UNIT

Vector = npt.NDArray[np.float64]


def earlier(seed: int = 0, n: int = SAMPLED) -> Vector:
    """Return sampled values of a query, from 0 to 1."""
    return np.random.default_rng(seed).random(n)


def signs(seed: int = 1, n: int = SAMPLED) -> Vector:
    return np.random.default_rng(seed).choice([-1.0, 1.0], n)


def fires(delta: Vector, values: Vector, *, distance: float = 1.0, grain: float = 0.0) -> bool:
    """Ask about a step from `values`, rounded as the memory rounds it."""
    rounded = np.rint((values + delta) / C_UNIT) - np.rint(values / C_UNIT)
    before = np.rint(values / C_UNIT) + C_LOWEST
    return bool(is_flat_offset((rounded * C_UNIT).astype(np.float32), before, distance, C_UNIT, grain, C_LOWEST, C_HIGHEST))


@pytest.mark.parametrize("size", [0.025, 0.1, 0.25, 0.39])
@pytest.mark.parametrize("seed", range(5))
def test_a_signed_step_is_seen(size: float, seed: int) -> None:
    """Every value up or down by one size, from a fortieth of the range on: Jacobian-based augmentation."""
    assert fires(size * signs(seed), earlier(seed))


def test_a_step_of_some_values_is_seen() -> None:
    """Values at the ends of the range are clipped and stay; those that move still move by one size."""
    step = 0.1 * signs()
    step[:20] = 0.0
    assert fires(step, earlier())


def test_a_step_under_noise_is_seen() -> None:
    """Noise of two fifths of the step leaves its sizes flatter than nature's, often enough; drawn sizes do so now and then."""
    rng = np.random.default_rng(9)
    noisy = uneven = 0
    for seed in range(400):
        values, step = 0.3 + 0.4 * earlier(seed), 0.05 * signs(seed + 1000)
        noisy += fires(step * (1.0 + 0.4 * rng.normal(size=SAMPLED)), values)
        uneven += fires(step * rng.uniform(0.2, 1.8, SAMPLED), values)
    assert noisy > 60
    assert uneven > 12


@pytest.mark.parametrize("shape", ["normal", "uniform", "laplace"])
def test_noise_of_nature_is_not(shape: str) -> None:
    """Sensors, augmentation with even noise and heavy-tailed noise stay near the rate that innocents are granted."""
    rng = np.random.default_rng(10)
    draw: dict[str, Callable[[int], Vector]] = {
        "normal": rng.standard_normal,
        "uniform": lambda n: rng.uniform(-1.7, 1.7, n),
        "laplace": lambda n: rng.laplace(0.0, 1.0, n),
    }
    noise = draw[shape]
    assert (
        sum(fires(0.05 * noise(SAMPLED), 0.3 + 0.4 * earlier(seed)) for seed in range(2000))
        <= 5 * CHANNEL.ratio.innocent * 2000
    )


def test_a_fade_is_not() -> None:
    """One picture fading into another moves its greys by uneven amounts, even where most of it is black and white."""
    rng = np.random.default_rng(11)
    for _ in range(200):
        one, other = np.clip(rng.normal(0.5, 0.8, (2, SAMPLED)), 0.0, 1.0)
        assert not fires(0.1 * (other - one), one)


def test_natural_differences_are_not() -> None:
    """Of independent queries none looks like a flat step, of normal noise less than the rate that innocents are granted."""
    rng = np.random.default_rng(3)
    fired = 0
    for _ in range(3000):
        values = rng.random(SAMPLED)
        assert not fires(rng.random(SAMPLED) - values, values)
        fired += fires(0.1 * rng.normal(size=SAMPLED), values)
    assert fired < CHANNEL.ratio.innocent * 3000


@pytest.mark.parametrize("noise", [0.0005, 0.001, 0.002, 0.003, 0.005])
def test_noise_near_the_rounding_is_not(noise: float) -> None:
    """Readings that differ by little differ by one or two levels once they are rounded, which must not pass for one size."""
    rng = np.random.default_rng(4)
    assert not any(fires(noise * rng.normal(size=SAMPLED), rng.random(SAMPLED)) for _ in range(500))


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x + 0.1,
        lambda x: 0.8 * x,
        lambda x: x**1.4,
        lambda x: 0.5 + 1.2 * (x - 0.5),
        lambda x: np.where(x > 0.5, x + 0.1, x - 0.1),  # a contrast curve with a jump
    ],
    ids=["brightness", "gain", "gamma", "contrast", "curve"],
)
def test_changes_of_intensity_are_not(change: object) -> None:
    """A step that is a function of the value itself is what cameras and editors make."""
    assert callable(change)
    for seed in range(20):
        values = earlier(seed)
        assert not fires(change(values) - values, values)


@pytest.mark.parametrize("levels", [16, 32, 64])
def test_flicker_of_one_level_is_not(levels: int) -> None:
    """A steady camera whose values flicker by single levels of its sensor makes flat steps of one grain."""
    grain = 1.0 / levels
    rng = np.random.default_rng(5)
    for _ in range(20):
        values = np.rint(rng.random(SAMPLED) * levels) / levels
        flicker = grain * rng.choice([-1.0, 0.0, 1.0], SAMPLED)
        assert not fires(flicker, values, grain=grain)
    assert fires(2 * GRAINS * grain * signs(), earlier(), grain=grain)


def test_tiny_and_huge_steps_are_not() -> None:
    """Steps near the rounding, from 0.4 of the range on, and between nearly equal queries prove nothing."""
    assert not fires(np.zeros(SAMPLED), earlier())
    assert not fires(0.001 * signs(), earlier())
    assert not fires((LARGEST + 0.01) * signs(), earlier())
    assert not fires(0.1 * signs(), earlier(), distance=CLOSEST - 0.001)
    assert fires(0.1 * signs(), earlier(), distance=CLOSEST)


def test_one_direction_is_not() -> None:
    """A shift of the whole query goes one way; a flat step goes both."""
    step = np.full(SAMPLED, 0.1)
    assert not fires(step, earlier())
    step[0] = -0.1
    assert not fires(step, earlier())


@pytest.mark.parametrize("moved", range(SAMPLED))
def test_few_moved_values_prove_nothing(moved: int) -> None:
    """Fewer than six values that moved are no evidence, whatever their sizes."""
    step = np.zeros(SAMPLED)
    step[:moved] = 0.1 * np.resize([1.0, -1.0], moved)
    fired = fires(step, earlier())
    if moved < 6:
        assert not fired
    if moved >= 16:
        assert fired


def test_von_neumann_ratio_is_one_for_noise_and_zero_for_functions() -> None:
    """The ratio is near 1 without relation to the retained query, near 0 for a smooth function of it, 0 for no step."""
    rng = np.random.default_rng(7)
    values = rng.random(2000)
    assert von_neumann_ratio(rng.normal(size=2000), values) == pytest.approx(1.0, abs=0.1)
    assert von_neumann_ratio(np.sin(values), values) < 1e-3
    assert von_neumann_ratio(np.zeros(9), values[:9]) == 0.0


def test_von_neumann_ratio_is_its_definition() -> None:
    """Successive squared differences after sorting, over twice the sum of squares."""
    rng = np.random.default_rng(8)
    delta, values = rng.normal(size=(2, 48))
    ordered = delta[np.argsort(values)]
    wanted = np.square(np.diff(ordered)).sum() / (2 * np.square(ordered).sum())
    assert von_neumann_ratio(delta, values) == pytest.approx(wanted)


@pytest.mark.parametrize("levels", [2, 3, 5])
def test_a_step_onto_values_that_the_anchor_has_elsewhere_is_not(levels: int) -> None:
    """Dithered and posterised pictures differ by whole levels, up and down; a thief's step leaves the levels."""
    rng = np.random.default_rng(levels)
    size = 1 / 3 / (levels - 1)
    for _ in range(200):
        one, other = size * rng.integers(0, levels, (2, SAMPLED))
        assert not fires(np.where(rng.random(SAMPLED) < 0.5, other - one, 0.0), one)
        assert fires(0.1 * rng.choice([-1.0, 1.0], SAMPLED), 0.2 + one)


@pytest.mark.parametrize("size", [0.05, 0.08, 0.12])
def test_a_flat_step_between_vectors_of_one_length_is_seen(size: float) -> None:
    """The thief moves every value by one size and scales the result; two unrelated vectors differ unevenly."""
    zero = C_LOWEST + 0.5 / C_UNIT
    step = np.empty(48, np.float32)
    made, unrelated = 0, 0
    for seed in range(200):
        start, other, signs = np.random.default_rng(seed).normal(size=(3, 48))
        start, other = start / np.linalg.norm(start), other / np.linalg.norm(other)
        moved = start + size * np.sign(signs)
        before, *after = (
            np.rint(row / C_UNIT + zero).astype(np.uint8) for row in (start, moved / np.linalg.norm(moved), other)
        )
        flat = [
            flattened(before, query, zero, C_UNIT, step) and is_flat_offset(step, before, 1.0, C_UNIT, 0.0, C_LOWEST, C_HIGHEST)
            for query in after
        ]
        made += bool(flat[0])
        unrelated += bool(flat[1])
    assert made >= 195
    assert unrelated == 0
