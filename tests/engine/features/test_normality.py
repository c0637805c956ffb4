"""W is scipy's, whatever the shape of the sample, and constant windows do no harm."""

import warnings

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from detector.engine.features.normality import shapiro_coefficients, shapiro_w

Vector = npt.NDArray[np.float64]


def w(values: Vector) -> float:
    return shapiro_w(values, shapiro_coefficients(len(values)), np.full(len(values), np.nan))


def scipy_w(values: Vector) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return float(stats.shapiro(values).statistic)


def samples(n: int) -> dict[str, Vector]:
    rng = np.random.default_rng(n)
    normal = rng.normal(size=n)
    return {
        "normal": normal,
        "sorted": np.sort(normal),
        "reversed": -np.sort(normal),
        "exponential": rng.exponential(size=n),
        "cauchy": rng.standard_cauchy(n),
        "lognormal": rng.lognormal(0.0, 5.0, n),
        "ties": rng.integers(0, 3, n).astype(np.float64),
        "one apart": np.eye(1, n, n // 3)[0],
        "two clumps": np.repeat([0.0, 1.0], [n - n // 2, n // 2]) + 1e-9 * normal,
        "tiny spread": 1.0 + 1e-12 * normal,
        "tiny": 1e-15 * normal,
        "huge": 1e200 * normal,
        "huge, far": 1e15 + normal,
    }


@pytest.mark.parametrize("n", [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 20, 33, 64, 100, 101, 250, 499, 500, 5000])
def test_agrees_with_scipy(n: int) -> None:
    """Thirteen shapes of sample, odd and even n, the special weights of n = 3 to 5: W differs by less than 1e-9."""
    for name, values in samples(n).items():
        assert w(values) == pytest.approx(scipy_w(values), abs=1e-9), name


@given(
    hnp.arrays(
        np.float64,
        st.integers(8, 120),
        elements=st.floats(-1e6, 1e6, allow_subnormal=False),
        unique=False,
    )
)
def test_agrees_with_scipy_on_anything_finite(values: Vector) -> None:
    """No finite window, however degenerate, moves W from scipy's."""
    assert w(values) == pytest.approx(scipy_w(values), abs=1e-9)


@given(
    hnp.arrays(np.float64, 50, elements=st.integers(-1000, 1000).map(float)),
    st.integers(-1000, 1000),
    st.sampled_from([0.5, 4.0, 1024.0]),
    st.randoms(use_true_random=False),
)
def test_ignores_order_place_and_unit(values: Vector, place: int, unit: float, random: object) -> None:
    """W measures shape alone: shuffling, shifting and scaling a window leave it as it was."""
    assert hasattr(random, "shuffle")
    shuffled = values.tolist()
    random.shuffle(shuffled)
    assert w(unit * (np.array(shuffled) + place)) == pytest.approx(w(values), abs=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e300, 1e-300])
def test_constant_window_is_one(value: float) -> None:
    """A client that always asks at the same distance gives 0/0, which must read as 1.0 and not as NaN."""
    assert w(np.full(100, value)) == 1.0


def test_leaves_values_alone_and_uses_a_longer_scratch() -> None:
    """The window belongs to the caller; one scratch serves windows of every length."""
    values = np.random.default_rng(1).normal(size=30)
    before = values.copy()
    scratch = np.full(100, 7.0)
    assert shapiro_w(values, shapiro_coefficients(30), scratch) == w(values)
    np.testing.assert_array_equal(values, before)
    np.testing.assert_array_equal(scratch[30:], 7.0)


@pytest.mark.parametrize("n", [3, 4, 5, 6, 7, 50, 101, 5000])
def test_coefficients_fall_and_are_normalised(n: int) -> None:
    """Weights are positive, fall from the extremes inwards, and with their mirror images have length 1."""
    weights = shapiro_coefficients(n)
    assert weights.shape == (n // 2,)
    assert weights.dtype == np.float64
    assert (weights > 0).all()
    assert (np.diff(weights) < 0).all()
    assert 2 * (weights @ weights) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("n", [-1, 0, 2, 5001])
def test_coefficients_refuse_other_lengths(n: int) -> None:
    """Outside the fitted range an error is better than a wrong W."""
    with pytest.raises(ValueError, match=f"n = {n};"):
        shapiro_coefficients(n)
