"""ADD computes the published distance, and separates what it is said to separate."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.quality.published.add import AS_PUBLISHED, Add, normal_of, squared_frechet
from tests.quality.published.interface import Array, Labels, Session, flagged_at, scores


def _published(mean: Array, covariance: Array, rows: Array) -> float:
    """The authors' way: eigenvectors of the product, roots of complex eigenvalues, real part of the trace."""
    product = covariance @ np.cov(rows.T, ddof=0).reshape(len(mean), len(mean))
    values, vectors = np.linalg.eig(product)
    root = vectors @ np.diag(np.sqrt(values.astype(np.complex128))) @ np.linalg.inv(vectors)
    difference = mean - rows.mean(axis=0)
    traces = np.trace(covariance) + np.trace(np.cov(rows.T, ddof=0).reshape(len(mean), len(mean)))
    return float(difference @ difference + traces - 2.0 * np.trace(root).real)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), dimension=st.integers(2, 8), count=st.integers(10, 40), scale=st.floats(0.1, 10.0))
def test_the_distance_is_the_published_one(seed: int, dimension: int, count: int, scale: float) -> None:
    """Two ways to the root of a product give the same distance."""
    rng = np.random.default_rng(seed)
    known = normal_of(rng.normal(size=(60, dimension)) @ rng.normal(size=(dimension, dimension)))
    rows = scale * rng.normal(size=(count, dimension)) @ rng.normal(size=(dimension, dimension)) + rng.normal(size=dimension)
    expected = _published(known.mean, known.covariance, rows)
    assert squared_frechet(known, rows) == pytest.approx(expected, rel=1e-6, abs=1e-8)


def test_small_case_by_hand() -> None:
    """One feature: training values -1 and 1 have mean 0 and variance 1; a window of 2 and 6 has mean 4 and variance 4.

    The squared distance of normals on a line is that of the means plus that of the deviations: 16 + (2 - 1)^2 = 17. A single
    query at 3 has no variance: 9 + 1 = 10.
    """
    known = normal_of(np.array([[-1.0], [1.0]]))
    assert squared_frechet(known, np.array([[2.0], [6.0]])) == pytest.approx(17.0)
    assert squared_frechet(known, np.array([[3.0]])) == pytest.approx(10.0)


def _distances(**changes: object) -> Add:
    training = np.array([[-1.0], [1.0], [9.0], [11.0]]), np.array([0, 0, 1, 1])
    return Add(lambda X: X, training=training, **{"window": 4, "threshold": 3.0, **changes})  # type: ignore[arg-type]


def _session(X: Array, labels: Labels) -> Session:
    return Session(X, np.eye(3)[labels])


def test_classes_are_weighted_by_their_queries_and_windows_do_not_overlap() -> None:
    """Three queries of class 0 at 2, one of class 1 at 10: (3 * (4 + 1) + 1 * (0 + 1)) / 4 = 4.

    The next four, at -1, 9, 1 and 11, are the training set: distance 0. The ninth begins a window that is never full.
    """
    detector = _distances()
    detector.fit([])
    session = _session(
        np.array([[2.0], [2.0], [10.0], [2.0], [-1.0], [9.0], [1.0], [11.0], [5.0]]), np.array([0, 0, 1, 0, 0, 1, 0, 1, 0])
    )
    seen = scores(detector, session)
    assert np.flatnonzero(~np.isnan(seen)).tolist() == [3, 7]
    assert seen[3] == pytest.approx(4.0)
    assert seen[7] == pytest.approx(0.0, abs=1e-9)
    assert flagged_at(seen, detector.threshold) == 4


def test_a_class_of_which_nothing_is_known_is_compared_with_all() -> None:
    """Training values -1, 1, 9, 11 together: mean 5, variance 26. A query of class 2 at 5 is sqrt(26)^2 away."""
    detector = _distances(window=1)
    detector.fit([])
    assert scores(detector, _session(np.array([[5.0]]), np.array([2])))[0] == pytest.approx(26.0)


def test_without_a_training_set_benign_queries_and_predicted_classes_serve() -> None:
    """Fitted on sessions, and with principal components as features, foreign data is far away and benign data near."""
    rng = np.random.default_rng(0)
    centres = rng.normal(0.0, 3.0, (3, 20))

    def client(seed: int, scale: float) -> Session:
        own = np.random.default_rng(seed)
        labels = own.integers(3, size=64)
        return _session(centres[labels] + scale * own.normal(size=(64, 20)), labels)

    detector = Add(components=8)
    detector.fit([client(seed, 1.0) for seed in range(10)])
    usual = max(np.nanmax(scores(detector, client(seed, 1.0))) for seed in range(20, 30))
    assert np.nanmin(scores(detector, client(40, 3.0))) > usual
    assert np.flatnonzero(~np.isnan(scores(detector, client(50, 1.0)))).tolist() == [15, 31, 47, 63]


def test_published_values_are_those_of_the_source() -> None:
    """Thresholds and windows by data set, and the defaults among them."""
    assert AS_PUBLISHED == {
        "mnist": (2247.0, 16),
        "fashion": (650.0, 16),
        "cifar10": (11.6, 16),
        "cifar100": (82.37, 256),
        "flower17": (14.85, 32),
    }
    assert (Add().threshold, Add().window) == AS_PUBLISHED["mnist"]


def test_refuses_a_window_of_nothing() -> None:
    """It would never be full."""
    with pytest.raises(ValueError, match="at least 1"):
        Add(window=0)
