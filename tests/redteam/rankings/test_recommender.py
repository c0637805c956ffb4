"""The recommender: it learns, its gradients are right, and it tells nothing twice."""

from dataclasses import fields, replace

import numpy as np
import pytest

from detector.redteam.network import softmax
from detector.redteam.rankings.copies import worth
from detector.redteam.rankings.measured import Scene
from detector.redteam.rankings.recommender import Recommender, batches, blank, fitted, gradients, trained
from detector.redteam.rankings.users import WINDOW, padded


def test_it_is_better_than_the_most_popular_items(stage: Scene) -> None:
    """For users it has not learned from, by a wide margin."""
    told = worth(stage.model.rankings(stage.honest.windows), stage.honest)
    counts = np.bincount(np.concatenate(stage.walks), minlength=stage.model.items)
    popular = np.tile(np.argsort(-counts)[:10], (len(stage.honest.windows), 1))
    assert told.hits > 1.3 * worth(popular, stage.honest).hits
    assert told.ndcg > 1.3 * worth(popular, stage.honest).ndcg


def test_what_is_in_the_window_is_not_recommended(stage: Scene) -> None:
    """Nor is anything recommended twice."""
    windows = stage.honest.windows[:200]
    for window, ranking in zip(windows.tolist(), stage.model.rankings(windows).tolist(), strict=True):
        assert len(set(ranking)) == 10
        assert not set(ranking) & set(window)


def test_a_history_alone_is_answered_as_among_others(stage: Scene) -> None:
    """The order of the answers is that of the scores, and does not depend on who else asks."""
    history = tuple(stage.walks[0][:5])
    (ranking,) = stage.model.rankings(padded([history], stage.model.items)).tolist()
    assert stage.model.after(history) == tuple(ranking)
    scores = stage.model.scores(padded([history], stage.model.items))[0]
    assert sorted(scores[ranking], reverse=True) == scores[ranking].tolist()


@pytest.mark.parametrize("part", [part.name for part in fields(Recommender)])
def test_gradients_are_those_of_the_loss(part: str) -> None:
    """Each part against differences of the loss."""
    rng = np.random.default_rng(0)
    model = blank(12, rng, size=3)
    windows = padded([(1, 2, 3), (4,), (5, 6)], 12)
    targets = softmax(np.where(model.scores(windows) == -np.inf, -np.inf, rng.normal(size=(3, 12))))

    def loss(values: np.ndarray) -> float:
        chances = softmax(replace(model, **{part: values}).scores(windows))
        return float(-(targets * np.log(np.where(targets > 0.0, chances, 1.0))).sum())

    found = getattr(gradients(model, windows, softmax(model.scores(windows)) - targets), part)
    start = getattr(model, part)
    for place in np.ndindex(*start.shape):
        step = np.zeros_like(start)
        step[place] = 1e-5
        assert found[place] == pytest.approx((loss(start + step) - loss(start - step)) / 2e-5, abs=1e-6)


def test_the_same_seed_trains_the_same_model(stage: Scene) -> None:
    """To the last bit, which figures of the table rest on."""
    models = [trained(stage.walks[:20], stage.model.items, seed, steps=5) for seed in (1, 1, 2)]
    assert np.array_equal(models[0].told, models[1].told)
    assert not np.array_equal(models[0].told, models[2].told)


def test_batches_pass_over_all_rows_before_any_comes_again() -> None:
    """However many rows there are, and none at all where there are none."""
    rng = np.random.default_rng(0)
    drawn = batches(600, 5, rng)
    assert [len(rows) for rows in drawn] == [256] * 5
    assert sorted(np.concatenate(drawn)[:600].tolist()) == list(range(600))
    assert [len(rows) for rows in batches(7, 3, rng)] == [7, 7, 7]


def test_nothing_can_be_learned_from_nothing() -> None:
    """It says so."""
    with pytest.raises(ValueError, match="no history"):
        fitted(np.empty((0, WINDOW), np.int64), np.empty((0, 30)), 0)
