"""Foreign: how a difference spreads over the sampled values, and what that is worth."""

import math

import numpy as np
import numpy.typing as npt
import pytest

from detector.engine.evidence.foreign import (
    CHANNEL,
    LEAST,
    MOST,
    foreign_ratio,
    led_energy,
    spread_of_difference,
    stray_of,
)

Floats = npt.NDArray[np.floating]
SAMPLED = 4000
VARIANCE = np.linspace(0.01, 1.0, SAMPLED).astype(np.float32)


def pair(scale: Floats) -> tuple[Floats, Floats]:
    """Return two queries whose values vary by `scale`."""
    rng = np.random.default_rng(3)
    one, other = rng.normal(0.0, scale, (2, SAMPLED)).astype(np.float32)
    return one, other


def test_the_population_s_own_differences_spread_like_it() -> None:
    """1 where values vary as in the population, much more where they all vary alike."""
    total = float(VARIANCE.sum())
    assert spread_of_difference(*pair(np.sqrt(VARIANCE)), VARIANCE, total) == pytest.approx(1.0, abs=0.1)
    assert spread_of_difference(*pair(np.ones(SAMPLED)), VARIANCE, total) > 2.0


@pytest.mark.parametrize(("gain", "offset"), [(0.3, 0.0), (-1.0, 0.0), (2.0, 5.0)])
def test_gain_sign_and_offset_do_not_show(gain: float, offset: float) -> None:
    """A weaker, inverted or brighter camera is not foreign."""
    one, other = pair(np.ones(SAMPLED))
    total = float(VARIANCE.sum())
    changed = spread_of_difference(gain * one + np.float32(offset), gain * other + np.float32(offset), VARIANCE, total)
    assert changed == pytest.approx(spread_of_difference(one, other, VARIANCE, total), rel=1e-4)


def test_what_is_not_sampled_and_what_is_alike_says_nothing() -> None:
    """Values without variance are left out, and two equal rows are like the population."""
    one, other = pair(np.ones(SAMPLED))
    half = VARIANCE * (np.arange(SAMPLED) % 2)
    kept = half > 0
    whole = spread_of_difference(one, other, half, float(half.sum()))
    assert whole == pytest.approx(spread_of_difference(one[kept], other[kept], half[kept], float(half.sum())))
    assert spread_of_difference(one, one, VARIANCE, float(VARIANCE.sum())) == 1.0


def test_a_ratio_stays_within_its_limits() -> None:
    """It grows with what is unusual, from the least to the most that one query may be worth."""
    assert foreign_ratio(0.2, 0.2, 0.1) == 1.0
    assert foreign_ratio(0.3, 0.2, 0.1) == pytest.approx(math.e)
    assert foreign_ratio(99.0, 0.2, 0.1) == pytest.approx(math.exp(MOST)) == pytest.approx(CHANNEL.ratio.constructed)
    assert foreign_ratio(-99.0, 0.2, 0.1) == pytest.approx(math.exp(LEAST)) == pytest.approx(CHANNEL.ratio.ordinary)


def test_noise_strays_by_the_share_of_the_directions_that_lead() -> None:
    """A difference within the leading directions does not stray; noise strays whatever its gain and sign."""
    rng = np.random.default_rng(4)
    leading = np.linalg.qr(rng.normal(size=(SAMPLED, SAMPLED // 40)))[0].astype(np.float32)
    along = np.empty(leading.shape[1], np.float32)

    def stray(one: Floats, other: Floats) -> float:
        led, whole = led_energy(one, other, leading, along)
        return float(stray_of(led, whole, leading.shape[1], SAMPLED))

    one, other = pair(np.full(SAMPLED, 50.0))
    assert stray(one, other) == pytest.approx(math.log(40), abs=0.4)
    assert stray(-0.5 * one, -0.5 * other) == pytest.approx(stray(one, other), abs=0.01)
    within = (leading @ rng.normal(0.0, 500.0, leading.shape[1])).astype(np.float32)
    assert stray(within, np.zeros(SAMPLED, np.float32)) == pytest.approx(0.0, abs=0.05)


def test_rounding_does_not_stray() -> None:
    """A difference below one level of the values looks like rounding, not like noise far from the leading directions."""
    assert stray_of(0.0, 0.0, 12, 48) == pytest.approx(math.log(4))
    assert stray_of(1e6, 1e6, 12, 48) == pytest.approx(0.0, abs=1e-4)
