"""Gradient-based ranking optimisation."""

import numpy as np
import pytest

from detector.redteam.rankings.copies import agreement, worth
from detector.redteam.rankings.gradient_based import hardened, hurting, student_slopes, swap_slopes
from detector.redteam.rankings.measured import Scene


def test_without_strength_it_is_no_more_than_further_training(stage: Scene) -> None:
    """And the model that it starts from is left as it was."""
    before = stage.model.told.copy()
    guarded = hardened(stage.model, stage.walks, 0.0, 0, steps=20)
    windows = stage.honest.windows
    assert np.array_equal(stage.model.told, before)
    assert worth(guarded.rankings(windows), stage.honest).hits > 0.9 * worth(stage.model.rankings(windows), stage.honest).hits


def test_a_strong_one_tells_honest_users_less(stage: Scene) -> None:
    """It pushes what the student dislikes into the list, which costs whoever reads the list."""
    windows = stage.honest.windows
    mild, strong = (hardened(stage.model, stage.walks, strength, 0, steps=60) for strength in (0.0, 30.0))
    assert worth(strong.rankings(windows), stage.honest).ndcg < 0.7 * worth(mild.rankings(windows), stage.honest).ndcg
    assert agreement(strong.rankings(windows), stage.model.rankings(windows)) < 0.6


def test_the_slopes_of_the_student_are_those_of_its_loss() -> None:
    """By scores and by places, against differences, for the same draw of other items."""
    liked = np.random.default_rng(3).normal(size=(4, 15))
    liked[:, 14] = np.nan
    ranking = np.argsort(-np.nan_to_num(liked, nan=-9.0) + np.random.default_rng(4).normal(size=liked.shape))[:, :4]
    ranking = np.where(ranking == 14, 13, ranking) if not (ranking == 13).any() else ranking % 13

    def loss(scores: np.ndarray) -> float:
        rng = np.random.default_rng(8)
        rows = np.arange(4)[:, None]
        outside = np.isfinite(scores)
        outside[rows, ranking] = False
        others = np.argsort(-np.where(outside, rng.random(scores.shape), -1.0), axis=1)[:, :4]
        placed, other = scores[rows, ranking], scores[rows, others]
        hinges = np.maximum(0.5 - (placed[:, :-1] - placed[:, 1:]), 0.0).mean()
        return float(hinges + np.maximum(0.5 - (placed - other), 0.0).mean())

    _, by_score = student_slopes(liked, ranking, np.random.default_rng(8))
    for row in range(4):
        for item in range(14):
            step = np.zeros_like(liked)
            step[row, item] = 1e-6
            found = (loss(liked + step) - loss(liked - step)) / 2e-6
            assert by_score[row, item] == pytest.approx(found, abs=1e-6)


def test_what_hurts_most_is_the_largest_entry_of_the_swap_matrix_gradient() -> None:
    """As the paper has it: the argmax over items of g s^T, with an item that cannot be told left out."""
    rng = np.random.default_rng(0)
    liked, by_place = rng.normal(size=(6, 9)), rng.normal(size=(6, 4))
    liked[:, 2] = np.nan
    by_place[0, 0] = 0.0
    expected = np.nanargmax(by_place[:, :, None] * liked[:, None, :], axis=2)
    expected[0, 0] = -1
    assert np.array_equal(hurting(liked, by_place), expected)


def test_the_swap_loss_pushes_only_where_the_told_item_is_ahead() -> None:
    """Up the better one, down the one that stands there."""
    scores = np.array([[3.0, 2.0, 1.0]])
    slopes = swap_slopes(scores, np.array([[0, 1]]), np.array([[2, 0]]))
    assert slopes.tolist() == [[0.5, 0.0, -0.5]]
    assert not swap_slopes(scores, np.array([[0, 1]]), np.array([[-1, -1]])).any()


def test_a_negative_strength_is_refused(stage: Scene) -> None:
    """It would help the thief."""
    with pytest.raises(ValueError, match="strength"):
        hardened(stage.model, stage.walks, -0.1, 0)
