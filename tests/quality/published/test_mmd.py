"""The MMD test computes the unbiased estimate, keeps its level, and needs large windows."""

import numpy as np
import pytest

from tests.quality.published.interface import Array, Session, flagged_at, scores
from tests.quality.published.mmd import MmdWindow


def _session(X: Array) -> Session:
    return Session(X, np.ones((len(X), 1)))


def _slow(X: Array, Y: Array, width: float) -> float:
    """Three sums over pairs, as the formula is written."""

    def k(a: Array, b: Array) -> float:
        return float(np.exp(-np.square(a - b).sum() / (2.0 * width**2)))

    m, n = len(X), len(Y)
    within = sum(k(X[i], X[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    other = sum(k(Y[i], Y[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    return within + other - 2.0 * sum(k(x, y) for x in X for y in Y) / (m * n)


def test_equals_the_sums_of_the_formula() -> None:
    """With the median distance of the reference as the width, for windows of the reference's size and of others."""
    rng = np.random.default_rng(0)
    detector = MmdWindow(12, nulls=3)
    detector.fit([_session(rng.normal(size=(40, 3)))])
    reference = detector._fitted()
    distances = [np.linalg.norm(reference[i] - reference[j]) for i in range(12) for j in range(i)]
    for size in (12, 5):
        window = rng.normal(0.5, 1.0, (size, 3))
        assert detector.squared(window) == pytest.approx(_slow(window, reference, float(np.median(distances))), abs=1e-12)


def test_small_case_by_hand() -> None:
    """Reference 0 and 1: width 1. Window 0 and 2: within exp(-2), reference exp(-1/2), across (1, e^-1/2, e^-2, e^-1/2) / 4."""
    detector = MmdWindow(2, nulls=1, seed=1)
    detector.fit([_session(np.array([[0.0], [1.0], [0.0], [1.0]]))])
    assert sorted(detector._fitted().ravel().tolist()) == [0.0, 1.0]
    expected = np.exp(-2.0) + np.exp(-0.5) - 2.0 * (1.0 + 2.0 * np.exp(-0.5) + np.exp(-2.0)) / 4.0
    assert detector.squared(np.array([[0.0], [2.0]])) == pytest.approx(expected)


def test_the_estimate_has_no_bias() -> None:
    """Two samples of one distribution: the mean over many windows is near zero, on either side of it."""
    rng = np.random.default_rng(1)
    detector = MmdWindow(20, nulls=1)
    means = []
    for seed in range(40):
        detector.seed = seed
        detector.fit([_session(rng.normal(size=(200, 4)))])
        means += [detector.squared(rng.normal(size=(20, 4))) for _ in range(10)]
    assert abs(np.mean(means)) < 0.005
    assert min(means) < 0.0 < max(means)


def test_one_benign_window_in_twenty_is_above_the_threshold() -> None:
    """The published threshold is a level, not a promise that no innocent is flagged."""
    rng = np.random.default_rng(2)
    detector = MmdWindow(40, nulls=200)
    detector.fit([_session(rng.normal(size=(2000, 5)))])
    flagged = sum(detector.squared(rng.normal(size=(40, 5))) > detector.threshold for _ in range(300))
    assert 2 <= flagged <= 45


def test_finds_foreign_windows_and_misses_the_diluted() -> None:
    """A shifted client is flagged at its first window; with one such query in ten the distance is a hundredth."""
    rng = np.random.default_rng(3)
    detector = MmdWindow(50)
    detector.fit([_session(rng.normal(size=(1000, 5)))])
    foreign = rng.normal(2.0, 1.0, (100, 5))
    seen = scores(detector, _session(foreign))
    assert np.flatnonzero(~np.isnan(seen)).tolist() == [49, 99]
    assert flagged_at(seen, detector.threshold) == 50
    mixed = np.concatenate([foreign[:5], rng.normal(size=(45, 5))])
    assert detector.squared(mixed) < 0.1 * seen[49]


def test_an_embedding_is_used_on_both_sides() -> None:
    """An embedding that forgets the difference makes a foreign window look like any other."""
    rng = np.random.default_rng(4)
    benign, foreign = rng.normal(size=(200, 2)), rng.normal(size=(30, 2)) + np.array([0.0, 9.0])
    plain, blind = MmdWindow(30), MmdWindow(30, embed=lambda X: X[:, :1])
    for detector in (plain, blind):
        detector.fit([_session(benign)])
    assert plain.squared(foreign) > 5.0 * abs(blind.squared(foreign))


def test_too_few_queries_and_windows_without_pairs_are_refused() -> None:
    """A reference and a window have to be disjoint, and one query has no pair."""
    with pytest.raises(ValueError, match="do not make a reference"):
        MmdWindow(50).fit([_session(np.zeros((99, 2)))])
    with pytest.raises(ValueError, match="at least 2"):
        MmdWindow(1)
