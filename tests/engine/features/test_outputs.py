"""Confidence, margin and label flips against their definitions."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.engine.columns import allocate
from detector.engine.features.outputs import LOW_MARGIN, MEMORY, NAMES, ResponseFeatures, update_outputs

Vector = npt.NDArray[np.float64]


def described(confidence: Vector, runner_up: Vector, near: Vector, flip: Vector, verdict: Vector, repeat: Vector) -> Vector:
    """Return the features of one client after each of its queries."""
    n = len(confidence)
    state = allocate(ResponseFeatures, 1)
    out = np.full((n, len(NAMES)), np.nan)
    update_outputs(
        state,
        np.zeros(n, np.int64),
        confidence.astype(np.float32),
        runner_up.astype(np.float32),
        near.astype(bool),
        flip.astype(bool),
        verdict.astype(np.uint8),
        repeat.astype(bool),
        np.arange(n),
        out,
        0,
    )
    return out


def running_mean(values: Vector) -> float:
    """Mean of all values at first, later with 2% for the newest."""
    mean = 0.0
    for n, value in enumerate(values, 1):
        mean += max(MEMORY, 1.0 / n) * (value - mean)
    return mean


answers = st.tuples(
    st.sampled_from([np.nan, 1.0, 0.9, 0.6, 0.5, 0.25]),  # the largest probability, missing in a log of labels
    st.floats(0.0, 1.0),  # of it, the second largest
    st.booleans(),
    st.booleans(),
    st.sampled_from([0, 0, 0, 1, 2]),
    st.sampled_from([False, False, True]),
)


@given(st.lists(answers, min_size=1, max_size=120))
def test_running_means_and_flips_are_what_the_history_says(rows: list[tuple[float, float, bool, bool, int, bool]]) -> None:
    """Only fresh queries count, and only those with probabilities for the first three figures."""
    table = np.array(rows, np.float64)
    confidence, near, flip, verdict, repeat = table[:, 0], table[:, 2], table[:, 2] * table[:, 3], table[:, 4], table[:, 5]
    runner_up = np.minimum(table[:, 1] * confidence, 1.0 - confidence)
    found = described(confidence, runner_up, near, flip, verdict, repeat)
    asked = np.flatnonzero(verdict == 0)
    if len(asked) == 0:
        assert np.isnan(found).all()
        return
    counts = (verdict == 0) & (repeat == 0)
    told = counts & ~np.isnan(confidence)
    margin = np.log(np.maximum(confidence, 1e-6)) - np.log(np.maximum(runner_up, 1e-6))
    last = found[asked[-1]]
    if told.any():
        np.testing.assert_allclose(last[0], running_mean(confidence[told]), rtol=1e-4)
        np.testing.assert_allclose(last[1], running_mean(margin[told]), rtol=1e-3, atol=1e-4)
        clear = np.abs(margin[told] - LOW_MARGIN) > 1e-5
        if clear.all():
            np.testing.assert_allclose(last[2], running_mean((margin[told] < LOW_MARGIN).astype(float)), atol=1e-4)
    else:
        assert np.isnan(last[:3]).all()
    assert last[3] == pytest.approx(flip[counts].sum() / max(near[counts].sum(), 8))


@pytest.mark.parametrize(("largest", "second"), [(1.0, 0.0), (0.0, 0.0), (1e-30, 0.0), (1.0 + 1e-6, -1e-6)])
def test_probabilities_at_their_ends_stay_finite(largest: float, second: float) -> None:
    """Certainty, all zeros and rounding beyond the ends give numbers."""
    n = 20
    none = np.zeros(n)
    assert np.isfinite(described(np.full(n, largest), np.full(n, second), none, none, none, none)).all()
