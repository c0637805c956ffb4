"""Accumulation against its formula, and the thresholds it was made for."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.engine.columns import allocate
from detector.engine.evidence.accumulate import (
    CHANNELS,
    CONSTRUCTED,
    FLOORS,
    NOTHING,
    ORDINARY,
    SHARES,
    AccumulatedEvidence,
    accumulate,
)

Matrix = npt.NDArray[np.float32]


def ratios(weight: Matrix) -> Matrix:
    """Return likelihood ratios: of an ordinary query at 0, else of one that looks constructed with that weight."""
    return np.where(weight > 0, 1 + weight * (CONSTRUCTED - 1), ORDINARY).astype(np.float32)


def accumulated(
    weight: Matrix, *, verdict: Matrix | None = None, repeat: Matrix | None = None
) -> tuple[Matrix, AccumulatedEvidence]:
    """Return the peaks of one client after each query, and the state."""
    n = len(weight)
    state = allocate(AccumulatedEvidence, 1)
    peak = np.zeros((n, len(CHANNELS)), np.float32)
    accumulate(
        state,
        np.zeros(n, np.int64),
        ratios(weight),
        np.zeros(n, np.uint8) if verdict is None else verdict.astype(np.uint8),
        np.zeros(n, np.bool_) if repeat is None else repeat.astype(bool),
        peak,
    )
    return peak, state


def formula(column: list[float]) -> float:
    """Return the highest sum of log likelihood ratios of any stretch that ends anywhere, over all shares."""
    best = 0.0
    for share in SHARES:
        total = 0.0
        for ratio in column:
            total = max(total + math.log(1 - share + share * ratio), 0.0)
            best = max(best, total)
    return best


@given(st.lists(st.tuples(*(st.sampled_from([0.0, 0.0, 0.0, 0.1, 0.4, 1.0]) for _ in CHANNELS)), min_size=1, max_size=200))
def test_peaks_are_what_the_formula_gives(rows: list[tuple[float, ...]]) -> None:
    """Mixture over seven shares, CUSUM, running maximum: as in the text, at every query."""
    peak, _ = accumulated(np.array(rows, np.float32))
    for j in range(len(CHANNELS)):
        column = ratios(np.array(rows))[:, j].astype(float).tolist()
        for n in {1, len(rows) // 2, len(rows)} - {0}:
            wanted = formula(column[:n])
            assert float(peak[n - 1, j]) == pytest.approx(wanted, rel=1e-5, abs=1e-4)


def test_a_weight_of_one_is_worth_its_likelihood_ratio() -> None:
    """One constructed query is worth the logarithm of how much more often attackers make one."""
    peak, state = accumulated(np.ones((1, len(CHANNELS)), np.float32))
    np.testing.assert_allclose(peak[0], np.log(CONSTRUCTED), rtol=1e-6)
    assert state.hits[0].tolist() == [1] * len(CHANNELS)


@pytest.mark.parametrize(
    ("name", "every", "most"),
    [
        *((name, every, most) for name in ("offset", "bisect") for every, most in ((1, 4), (2, 8), (10, 60), (50, 650))),
        *((name, every, most) for name in ("aim", "probe") for every, most in ((1, 6), (2, 14), (10, 130))),
    ],
)
def test_cover_traffic_delays_but_does_not_save(name: str, every: int, most: int) -> None:
    """With one constructed query among `every`, the floor is passed within `most` queries."""
    channel = CHANNELS.index(name)
    weight = np.zeros((most, len(CHANNELS)), np.float32)
    weight[every - 1 :: every, channel] = 1.0
    peak, _ = accumulated(weight)
    assert float(peak[-1, channel]) >= FLOORS[channel]


def test_nothing_to_compare_brings_nothing() -> None:
    """A ratio of one moves no sum, up or down, however often it comes."""
    state = allocate(AccumulatedEvidence, 1)
    ratio = np.full((60, len(CHANNELS)), NOTHING)
    ratio[0] = CONSTRUCTED
    peak = np.zeros_like(ratio)
    accumulate(state, np.zeros(60, np.int64), ratio, np.zeros(60, np.uint8), np.zeros(60, np.bool_), peak)
    np.testing.assert_array_equal(peak, np.tile(peak[0], (60, 1)))
    np.testing.assert_allclose(state.score[0].max(axis=1), np.log(CONSTRUCTED), rtol=1e-6)


def test_repeats_and_late_events_bring_nothing_and_take_no_time() -> None:
    """Only fresh queries that are no repeat move the sums; the others show the peak so far."""
    rng = np.random.default_rng(2)
    weight = (rng.random((80, len(CHANNELS))) < 0.3).astype(np.float32)
    verdict = rng.integers(0, 3, 80).astype(np.float32)
    repeat = rng.integers(0, 2, 80).astype(np.float32)
    counts = (verdict == 0) & (repeat == 0)
    peak, state = accumulated(weight, verdict=verdict, repeat=repeat)
    alone, same = accumulated(weight[counts])
    np.testing.assert_array_equal(peak[counts], alone)
    np.testing.assert_array_equal(state.score, same.score)
    assert (np.diff(peak, axis=0) >= 0).all()
