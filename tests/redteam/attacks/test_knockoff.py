import numpy as np
import pytest

from detector.redteam.attacks.knockoff import knockoff_adaptive, knockoff_random
from detector.redteam.conversation import Array, converse
from detector.redteam.setting import Setting
from detector.redteam.victim import Victim


def test_a_given_data_set_is_asked_once_through_in_random_order(victim: Victim) -> None:
    """Each foreign picture is asked exactly once, not in the order given, and then the conversation ends."""
    foreign = np.random.default_rng(0).uniform(0.0, 16.0, (40, 64))
    pool = victim.attacker
    client = knockoff_random(victim.setting(pool, np.random.default_rng(1)), foreign=foreign)
    vectors, _, _ = converse(client, victim.predict, 1_000)
    assert len(vectors) == 40
    assert not np.array_equal(vectors, foreign)
    assert np.array_equal(vectors[np.lexsort(vectors.T)], foreign[np.lexsort(foreign.T)])


def test_drawn_pictures_are_foreign_to_the_victim(victim: Victim) -> None:
    """Drawn pictures lie further from the pool than fresh pictures of the victim's own kind do."""
    pool = victim.attacker
    client = knockoff_random(victim.setting(pool, np.random.default_rng(1)))
    vectors, _, _ = converse(client, victim.predict, 100)
    own = np.linalg.norm(victim.benign.vectors[:100, None] - pool.vectors[None], axis=2).min(axis=1)
    theirs = np.linalg.norm(vectors[:, None] - pool.vectors[None], axis=2).min(axis=1)
    assert np.quantile(theirs, 0.1) > np.quantile(own, 0.9)


@pytest.mark.parametrize("seed", range(3))
def test_the_bandit_goes_where_answers_teach(seed: int) -> None:
    """Of a victim that is sure of plain shapes and of nothing else, shapes are soon asked nearly always."""

    def predict(X: Array) -> Array:
        answers = np.full((len(X), 4), 0.25)
        for i, x in enumerate(X):
            if len(np.unique(x.round(6))) <= 4:
                answers[i] = np.eye(4)[int(7.0 * x.sum()) % 4]
        return answers

    pool, labels = np.zeros((1, 144)), np.zeros(1, dtype=np.int64)
    client = knockoff_adaptive(Setting(pool, labels, np.random.default_rng(seed), classes=4))
    _, answers, _ = converse(client, predict, 400)
    sure = answers.max(axis=1) > 0.9
    assert sure[:20].mean() < 0.7
    assert sure[-100:].mean() > 0.9
