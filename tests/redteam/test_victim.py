import numpy as np
from sklearn.datasets import load_digits

from detector.redteam.victim import Victim, digits_victim


def test_pools_share_no_picture(victim: Victim) -> None:
    """Together the five pools are the data set, each picture in exactly one of them."""
    pools = (victim.training, victim.baseline, victim.benign, victim.attacker, victim.test)
    rows = np.concatenate([pool.vectors for pool in pools])
    whole = load_digits().data
    assert rows.shape == whole.shape
    assert np.array_equal(rows[np.lexsort(rows.T)], whole[np.lexsort(whole.T)])
    assert min(len(pool.labels) for pool in pools) >= 200


def test_the_model_is_worth_stealing(victim: Victim) -> None:
    """It is right on more than nine of ten pictures that it has not seen."""
    assert (victim.predict(victim.test.vectors).argmax(axis=1) == victim.test.labels).mean() > 0.9


def test_answers_are_the_models_own_as_a_log_holds_them(victim: Victim) -> None:
    """Floored at 0.0001, six digits, and otherwise what scikit-learn's own predict_proba says."""
    X = np.random.default_rng(0).uniform(0.0, 16.0, (100, 64))
    answers = victim.predict(X)
    assert answers.min() >= 1e-4
    assert np.array_equal(answers, answers.round(6))
    np.testing.assert_allclose(answers, np.maximum(victim.model.predict_proba(X), 1e-4), atol=1e-6)


def test_the_same_seed_trains_the_same_victim(victim: Victim) -> None:
    """Seed 7 again gives the same split and the same answers; another seed does not."""
    again, other = digits_victim(7), digits_victim(8)
    X = victim.test.vectors
    assert np.array_equal(victim.attacker.vectors, again.attacker.vectors)
    assert np.array_equal(victim.predict(X), again.predict(X))
    assert not np.array_equal(victim.predict(X), other.predict(X))
