"""The flattened trees against river's own, before and after a restart."""

import numpy as np
import numpy.typing as npt
import pytest
from river.anomaly import HalfSpaceTrees

from detector.engine.models.trees import HEIGHT, TREES, WINDOW, OnlineTrees

Matrix = npt.NDArray[np.float64]

SEED = 7


def rows(n: int, features: int, seed: int = 0) -> Matrix:
    """Return rows whose first two hold the extremes, so that the scale is settled from the beginning."""
    X = np.random.default_rng(seed).random((n, features)) ** 2
    X[0], X[1] = 0.0, 1.0
    return X


def score_of_river(model: HalfSpaceTrees, row: Matrix) -> float:
    return float(model.score_one(dict(enumerate(row.tolist()))))


@pytest.mark.parametrize("features", [1, 3, 27])
def test_scores_are_those_of_river(features: int) -> None:
    """Fed the same rows, scaled alike, score for score, through four windows."""
    X = rows(4 * WINDOW + 40, features)
    strange = np.random.default_rng(9).random((50, features))
    ours = OnlineTrees(features, SEED)
    theirs = HalfSpaceTrees(n_trees=TREES, height=HEIGHT, window_size=WINDOW, seed=SEED)
    theirs.learn_one(dict.fromkeys(range(features), 0.5))
    theirs.counter = 0
    for tree in theirs.trees:
        for node in tree.iter_dfs():
            node.l_mass = 0
    low, high = np.full(features, np.inf), np.full(features, -np.inf)
    for i, row in enumerate(X):
        ours.learn(row)
        low, high = np.minimum(low, row), np.maximum(high, row)
        scaled = (row - low) / (high - low) if i else np.full(features, 0.5)
        theirs.learn_one(dict(enumerate(scaled.tolist())))
        if i >= WINDOW and i % 37 == 0:
            found = ours.score(strange)
            assert found.tolist() == pytest.approx([score_of_river(theirs, row) for row in strange], abs=1e-12)
    assert len(set(ours.score(strange).tolist())) > 5


def test_nothing_is_said_before_the_first_window() -> None:
    """Before a window is complete every score is 0."""
    trees = OnlineTrees(3, SEED)
    X = rows(WINDOW, 3)
    for row in X[:-1]:
        trees.learn(row)
    assert not trees.ready
    assert not trees.score(X).any()
    assert trees.learn(X[-1])
    assert trees.ready
    assert trees.score(X).any()


@pytest.mark.parametrize("at", [0, 1, 60, WINDOW - 1, WINDOW, WINDOW + 1, 3 * WINDOW - 1, 3 * WINDOW + 50])
def test_a_restored_forest_goes_on_as_if_nothing_had_happened(at: int) -> None:
    """Saved at any moment, also within a window, scores and learning continue bit for bit."""
    X = rows(5 * WINDOW, 4, seed=at)
    X[:, 2] = np.where(np.arange(len(X)) % 5 == 0, np.nan, X[:, 2])
    whole = OnlineTrees(4, SEED)
    for row in X[:at]:
        whole.learn(row)
    resumed = OnlineTrees(4, SEED)
    resumed.restore({name: array.copy() for name, array in whole.state().items()})
    probe = rows(30, 4, seed=99)
    for row in X[at:]:
        assert whole.learn(row) == resumed.learn(row)
        np.testing.assert_array_equal(whole.score(probe[:3]), resumed.score(probe[:3]))
    np.testing.assert_array_equal(whole.score(probe), resumed.score(probe))
    for name, array in whole.state().items():
        np.testing.assert_array_equal(array, resumed.state()[name])


def test_learn_says_whether_scores_changed() -> None:
    """Whoever keeps scores may keep them exactly as long as `learn` says False."""
    X = np.random.default_rng(5).normal(size=(3 * WINDOW, 3))
    trees = OnlineTrees(3, SEED)
    probe = np.random.default_rng(6).normal(size=(40, 3))
    kept = trees.score(probe)
    for row in X:
        changed = trees.learn(row)
        now = trees.score(probe)
        if not changed:
            np.testing.assert_array_equal(now, kept)
        kept = now


def test_strangers_score_higher_and_missing_values_count_as_usual() -> None:
    """Rows far from all lessons score higher than lessons; a row of missing values is in the middle of them."""
    rng = np.random.default_rng(3)
    X = 0.5 + 0.05 * rng.normal(size=(4 * WINDOW, 5))
    X[0], X[1] = 0.0, 1.0
    trees = OnlineTrees(5, SEED)
    for row in X:
        trees.learn(row)
    usual = trees.score(X[50:150])
    strange = trees.score(rng.random((100, 5)))
    assert np.median(strange) > np.quantile(usual, 0.9)
    blank = trees.score(np.full((1, 5), np.nan))
    assert np.isfinite(blank).all()
    assert blank[0] <= np.quantile(usual, 0.9)


def test_a_feature_that_never_varies_decides_nothing() -> None:
    """Of a constant feature nobody knows the range; other values of it change no score."""
    X = rows(2 * WINDOW, 3)
    X[:, 1] = 4.0
    trees = OnlineTrees(3, SEED)
    for row in X:
        trees.learn(row)
    other = X[:20].copy()
    other[:, 1] = 1e6
    np.testing.assert_array_equal(trees.score(X[:20]), trees.score(other))
