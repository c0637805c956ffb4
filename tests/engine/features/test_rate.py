"""Rates, burstiness and regularity against their definitions, on streams with pauses, ties and stragglers."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.engine.columns import allocate
from detector.engine.features.rate import GAP_BINS, MEMORY, NAMES, SCALES_MS, Rate, update_rate

Vector = npt.NDArray[np.floating]


def described(times: Vector, weights: Vector | None = None, verdict: Vector | None = None) -> Vector:
    """Return the features of one client after each of its queries."""
    n = len(times)
    state = allocate(Rate, 1)
    out = np.full((n, len(NAMES)), np.nan)
    fresh = np.zeros(n, np.uint8) if verdict is None else verdict.astype(np.uint8)
    update_rate(
        state,
        np.zeros(n, np.int64),
        times.astype(np.int64),
        np.ones(n, np.float32) if weights is None else weights.astype(np.float32),
        fresh,
        np.cumsum(fresh == 0),
        np.array([int(times[0])]),
        np.arange(n),
        out,
        0,
    )
    return out


def shares(n: int) -> Vector:
    """Return what each of n values weighs in a running mean: all alike at first, later ones 2% each."""
    steps = np.maximum(MEMORY, 1.0 / np.arange(1, n + 1))
    return np.asarray(steps * np.append(np.cumprod((1.0 - steps)[:0:-1])[::-1], 1.0))


def expected(times: Vector, weights: Vector) -> Vector:
    """Compute the features from the whole history."""
    reached = np.maximum.accumulate(times)
    age = max(reached[-1] - times[0], 1000.0)
    rates = [
        np.log10(
            (weights * np.exp(-(reached[-1] - reached) / scale)).sum() / (scale * (1 - np.exp(-age / scale))) * 1000 + 1e-6
        )
        for scale in SCALES_MS
    ]
    in_order = np.append(False, times[1:] >= reached[:-1])
    gaps = (np.diff(reached, prepend=reached[0]) / weights)[in_order]
    if len(gaps) == 0:
        return np.array([*rates, 0.0, 1.0])
    share = shares(len(gaps))
    mean = share @ gaps
    spread = np.sqrt(max(share @ np.square(gaps) - mean**2, 0.0))
    bins = np.clip(np.log2(gaps + 1.0).astype(int), 0, GAP_BINS - 1)
    filled = np.array([share[bins == b].sum() for b in range(GAP_BINS)])
    filled = filled[filled > 1e-6]
    entropy = -(filled * np.log2(filled)).sum()
    burstiness = (spread - mean) / (spread + mean) if spread + mean > 0 else 0.0
    return np.array([*rates, burstiness, 1.0 - entropy / np.log2(GAP_BINS)])


@given(
    st.lists(
        st.tuples(st.sampled_from([0, 1, 40, 1000, 1003, 60_000, 7_200_000, -5000]), st.sampled_from([1.0, 1.0, 30.0])),
        min_size=1,
        max_size=140,
    )
)
def test_rates_and_gaps_are_what_the_history_says(steps: list[tuple[int, float]]) -> None:
    """The state of a few numbers says the same as the sum over all queries, late ones included."""
    times = 1.7e12 + np.cumsum([float(step) for step, _ in steps])
    weights = np.array([weight for _, weight in steps])
    found = described(times, weights)[-1]
    wanted = expected(times, weights)
    np.testing.assert_allclose(found[:3], wanted[:3], atol=1e-5)
    np.testing.assert_allclose(found[4], wanted[4], atol=1e-4)
    assert found[3] == pytest.approx(wanted[3], abs=0.02)  # spread of large equal gaps is the difference of large squares


def test_a_clock_is_regular_and_without_bursts() -> None:
    """One query a second reads as 1 a second at every scale, burstiness -1 and regularity 1."""
    found = described(1.7e12 + 1000.0 * np.arange(8000))[-1]
    np.testing.assert_allclose(found[:3], 0.0, atol=0.05)
    np.testing.assert_allclose(found[3:], [-1.0, 1.0], atol=1e-2)


def test_poisson_arrivals_have_no_burstiness() -> None:
    """Independent arrivals stand in the middle between clockwork and bursts."""
    gaps = np.random.default_rng(2).exponential(1000.0, 4000)
    found = described(1.7e12 + np.cumsum(gaps))
    assert abs(found[1000:, 3].mean()) < 0.1


def test_a_sampled_query_stands_for_many() -> None:
    """A log that keeps 1 of 30 queries reads as fast as the whole log would."""
    whole = described(1.7e12 + 100.0 * np.arange(6000))[-1]
    thin = described(1.7e12 + 3000.0 * np.arange(200), np.full(200, 30.0))[-1]
    np.testing.assert_allclose(thin[:3], whole[:3], atol=0.2)
    np.testing.assert_allclose(thin[3:], whole[3:], atol=1e-3)


def test_young_clients_are_not_diluted() -> None:
    """Ten queries in ten seconds are 1 a second also at the scale of an hour."""
    found = described(1.7e12 + 1000.0 * np.arange(11))[-1]
    np.testing.assert_allclose(found[:3], np.log10(1.1), atol=0.15)


def test_repeats_and_late_queries_leave_no_trace() -> None:
    """What admission did not let in changes nothing."""
    rng = np.random.default_rng(5)
    times = 1.7e12 + np.cumsum(rng.exponential(500.0, 60)).round()
    verdict = (rng.random(60) < 0.3).astype(np.float64)
    verdict[0] = 0.0
    with_others = described(times, verdict=verdict)
    alone = described(times[verdict == 0])
    np.testing.assert_array_equal(with_others[verdict == 0], alone)
    assert np.isnan(with_others[verdict == 1]).all()


@pytest.mark.parametrize("gap", [0.0, 2e13])
def test_extreme_gaps_stay_finite(gap: float) -> None:
    """All queries in one millisecond, or centuries apart: every figure is a number."""
    assert np.isfinite(described(gap * np.arange(12))).all()
    assert np.isfinite(described(gap * np.arange(12), np.full(12, 3e38))).all()
