"""Intervals are those of their formulas and cover what they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.quality.intervals import median, wilson

Z = 1.959963984540054


@given(trials=st.integers(1, 20_000), share=st.floats(0, 1))
def test_wilson_is_the_formula(trials: int, share: float) -> None:
    """Centre and half width as published, and the estimate is inside."""
    successes = round(share * trials)
    found = wilson(successes, trials)
    p = successes / trials
    centre = (p + Z**2 / (2 * trials)) / (1 + Z**2 / trials)
    half = Z / (1 + Z**2 / trials) * np.sqrt(p * (1 - p) / trials + Z**2 / (4 * trials**2))
    assert found.low == pytest.approx(max(0.0, centre - half), abs=1e-9)
    assert found.high == pytest.approx(min(1.0, centre + half), abs=1e-9)
    assert 0.0 <= found.low <= found.estimate <= found.high <= 1.0


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"), [(40, 40, 0.912, 1.0), (0, 5100, 0.0, 0.00075), (0, 600, 0.0, 0.0064)]
)
def test_wilson_by_known_values(successes: int, trials: int, low: float, high: float) -> None:
    """No failure in 40 is 91 to 100%, none in 5,100 up to 0.075%, none in 600 up to 0.64%."""
    found = wilson(successes, trials)
    assert found.low == pytest.approx(low, abs=1e-3)
    assert found.high == pytest.approx(high, abs=5e-5)


def test_more_confidence_is_wider() -> None:
    """99% contains 90%."""
    wide, narrow = wilson(7, 20, 0.99), wilson(7, 20, 0.90)
    assert wide.low < narrow.low
    assert wide.high > narrow.high


def test_medians_cover_the_truth() -> None:
    """Of 500 samples with the median 0, about 95% of the intervals hold it, and not fewer."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(500):
        found = median(rng.standard_cauchy(25))
        covered += found.low <= 0.0 <= found.high
    assert covered >= 465


def test_a_median_by_hand() -> None:
    """Ten values: the second and the ninth, as eight or more heads of ten have a chance of 5.5% and nine or more of 1.1%."""
    found = median(np.arange(1.0, 11.0))
    assert (found.estimate, found.low, found.high) == (5.5, 2.0, 9.0)


def test_those_never_found_are_infinitely_late() -> None:
    """With more than half never found the median is infinite, with few only the upper end is."""
    most = median([3.0, 5.0, *[np.inf] * 8])
    assert most.estimate == np.inf
    some = median([3.0, 4.0, 5.0, 6.0, 7.0, np.inf])
    assert (some.estimate, some.high) == (5.5, np.inf)


def test_nothing_has_no_interval() -> None:
    """No trials, no values, or values that are none."""
    with pytest.raises(ValueError, match="no trials"):
        wilson(0, 0)
    for values in ([], [1.0, np.nan]):
        with pytest.raises(ValueError, match="median needs"):
            median(values)
