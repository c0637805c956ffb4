from collections.abc import Mapping

import numpy as np
import pytest

from detector.redteam.conversation import Array, converse
from detector.redteam.registry import PROFILES
from detector.redteam.setting import Data, Setting
from detector.redteam.targets import Target


def _play(name: str, target: Target, seed: int, budget: int) -> Array:
    client = PROFILES[name].begin(target.setting(target.benign, np.random.default_rng(seed)))
    return converse(client, target.predict, budget)[0]


def _changes(vectors: Array) -> Array:
    return np.asarray(np.linalg.norm(np.diff(vectors, axis=0), axis=1))


@pytest.mark.parametrize("name", ["canary", "tab_canary"])
def test_a_canary_carries_a_count_in_one_value(targets: Mapping[Data, Target], name: str) -> None:
    """Most queries are natural; the others are natural but for one value."""
    target = targets[PROFILES[name].data]
    natural = target.benign.vectors
    vectors = _play(name, target, 1, 300)
    off = np.array([int((natural != row).sum(axis=1).min()) for row in vectors])
    assert set(off.tolist()) == {0, 1}
    assert 0.02 < (off == 1).mean() < 0.3


@pytest.mark.parametrize("name", ["dashboard", "tab_dashboard", "text_dashboard"])
def test_a_dashboard_asks_about_the_same_again(targets: Mapping[Data, Target], name: str) -> None:
    """Each query has one before it that is much nearer than examples lie apart."""
    target = targets[PROFILES[name].data]
    vectors = target.encode(_play(name, target, 2, 200))
    apart = np.median(_changes(target.encode(target.benign.vectors)))
    nearest = [np.linalg.norm(vectors[:i] - vectors[i], axis=1).min() for i in range(60, 200)]
    assert np.median(nearest) < 0.2 * apart


def test_a_plus_button_adds_the_same_until_the_answer_turns(targets: Mapping[Data, Target]) -> None:
    """Whole numbers go up one by one, one column at a time."""
    target = targets["tabular"]
    columns = target.columns
    assert columns is not None
    steps = np.diff(_play("tab_plus_button", target, 3, 300), axis=0)
    single = steps[(steps != 0.0).sum(axis=1) == 1]
    assert len(single) > 100
    whole = single[(single[:, list(columns.integer)] != 0.0).any(axis=1)]
    assert len(whole) > 10
    assert (whole.max(axis=1) == 1.0).all()


def test_draws_stay_about_their_example(targets: Mapping[Data, Target]) -> None:
    """After an example come at least twenty that are nearer to it than the next example is."""
    target = targets["image"]
    vectors = _play("monte_carlo", target, 4, 21)
    away = np.linalg.norm(vectors[1:] - vectors[0], axis=1)
    assert away.min() > 0.0
    assert away.max() < np.median(_changes(target.benign.vectors))


@pytest.mark.parametrize("name", ["text_autocomplete", "text_rag_chunks"])
def test_texts_that_grow_or_overlap_are_near_the_one_before(name: str) -> None:
    """Nearer than two texts of the pool, with any encoder: here one of 12 values."""
    rng = np.random.default_rng(5)
    pool = rng.standard_normal((80, 12))
    pool /= np.linalg.norm(pool, axis=1, keepdims=True)
    setting = Setting(pool, rng.integers(3, size=80), rng, (-1.0, 1.0), 3, unit=True)
    vectors, _, _ = converse(PROFILES[name].begin(setting), lambda X: np.eye(3)[np.zeros(len(X), np.int64)], 200)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0)
    assert np.median(_changes(vectors)) < 0.8 * np.median(_changes(pool))


@pytest.mark.parametrize("name", [name for name, one in PROFILES.items() if one.data == "text"])
def test_texts_of_another_encoder_can_be_asked_about(name: str) -> None:
    """Every profile with texts keeps to the length and the sphere of a pool that nobody here can write for."""
    rng = np.random.default_rng(6)
    pool = rng.standard_normal((40, 20))
    pool /= np.linalg.norm(pool, axis=1, keepdims=True)
    setting = Setting(pool, rng.integers(4, size=40), rng, (-1.0, 1.0), 4, unit=True)
    vectors, _, _ = converse(PROFILES[name].begin(setting), lambda X: np.eye(4)[np.zeros(len(X), np.int64)], 60)
    assert vectors.shape == (60, 20)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-9)
