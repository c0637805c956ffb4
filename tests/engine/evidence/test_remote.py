"""Remote: energy in minor directions, the typical deviation, and the least of three views."""

import numpy as np
import numpy.typing as npt
import pytest

from detector.engine.evidence.remote import (
    DEVIATION,
    HALF_STEP,
    LANDMARK,
    LEAST_ENERGY,
    MAIN,
    MINOR,
    VIEWS,
    minor_energy,
    remoteness,
    typical_deviation,
)

COORDINATES, PRINCIPAL, SAMPLES = 24, 16, 48
VARIANCE = np.full(COORDINATES, 100.0, np.float32)
MIDDLE = np.full(SAMPLES, 100.0, np.float32)
LEADING = np.full((SAMPLES, 2), SAMPLES**-0.5, np.float32)
USUAL = np.tile(np.array([[0.0, 1.0]], np.float32), (VIEWS, 1))


def deviation(c: npt.NDArray[np.uint8]) -> float:
    ratios, weights = np.empty((2, SAMPLES), np.float32)
    return float(typical_deviation(c, MIDDLE, LEADING, ratios, weights))


def noisy(size: float, brightness: float = 0.0) -> npt.NDArray[np.uint8]:
    values = 100.0 + brightness + size * np.random.default_rng(1).normal(size=SAMPLES)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def test_only_minor_principal_directions_have_energy() -> None:
    """Neither the main directions nor those of the remainder count; the population's own energy is 0."""
    z = np.full(COORDINATES, 10, np.int16)
    assert minor_energy(z, VARIANCE, PRINCIPAL) == pytest.approx(0.0, abs=1e-5)
    z[:MAIN], z[PRINCIPAL:] = 3000, 3000
    assert minor_energy(z, VARIANCE, PRINCIPAL) == pytest.approx(0.0, abs=1e-5)
    z[MAIN:PRINCIPAL] = 0
    assert minor_energy(z, VARIANCE, PRINCIPAL) == pytest.approx(np.log(LEAST_ENERGY))


def test_brightness_is_no_deviation_and_neither_is_a_label_on_a_part() -> None:
    """What varies most is taken off, and strange values in a third of the picture leave the typical one."""
    assert deviation(noisy(0.0)) == pytest.approx(np.log(HALF_STEP))
    assert deviation(noisy(0.0, 60.0)) == pytest.approx(np.log(HALF_STEP), abs=0.01)
    labelled = noisy(2.0)
    labelled[: SAMPLES // 3] = np.where(np.arange(SAMPLES // 3) % 2, 0, 255)
    assert deviation(labelled) < deviation(noisy(2.0)) + 0.7
    assert deviation(noisy(40.0)) > deviation(labelled) + 1.5


def test_the_least_of_three_views_counts() -> None:
    """A query is as remote as in the view that finds it nearest."""
    z = np.full(COORDINATES, 1000, np.int16)
    ratios, weights = np.empty((2, SAMPLES), np.float32)

    def found(landmark: float, c: npt.NDArray[np.uint8], minor: float = 0.0) -> float:
        usual = USUAL.copy()
        usual[MINOR, 0] = minor
        return float(remoteness(z, c, np.float32(landmark), VARIANCE, PRINCIPAL, MIDDLE, LEADING, usual, ratios, weights))

    strange = noisy(40.0)
    assert found(1.5, strange) == pytest.approx(1.5)
    assert found(9.0, strange) == pytest.approx(deviation(strange))
    assert found(9.0, noisy(0.0)) == pytest.approx(np.log(HALF_STEP))
    assert found(9.0, strange, minor=9.0) == pytest.approx(minor_energy(z, VARIANCE, PRINCIPAL) - 9.0)
    assert found(-5.0, strange) == pytest.approx(-5.0)
    assert sorted((LANDMARK, MINOR, DEVIATION)) == [0, 1, 2]
