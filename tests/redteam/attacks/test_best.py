import numpy as np

from detector.redteam.attacks.best import best, uncertain
from detector.redteam.conversation import converse
from detector.redteam.network import train
from detector.redteam.victim import Victim


def test_made_pictures_confuse_the_copy_they_were_made_on(victim: Victim) -> None:
    """Entropy rises for every picture, and no pixel moves further than the steps allow."""
    X = victim.attacker.vectors[:60]
    copy = train(X, victim.predict(X), np.random.default_rng(0))
    made = uncertain(copy, X, victim.value_range, step=16.0 * 4 / 255, iterations=10)
    entropy = [-(p * np.log(p + 1e-12)).sum(axis=1) for p in (copy.probabilities(X), copy.probabilities(made))]
    assert (entropy[1] > entropy[0]).mean() > 0.95
    assert np.abs(made - X).max() <= 16.0 * 40 / 255 + 1e-9


def test_the_victim_is_less_sure_of_them_too(victim: Victim) -> None:
    """What the copy cannot decide, the victim finds harder than natural pictures."""
    pool = victim.attacker
    client = best(victim.setting(pool, np.random.default_rng(1)))
    _, answers, synthetic = converse(client, victim.predict, 120)
    assert answers[synthetic].max(axis=1).mean() < answers[~synthetic].max(axis=1).mean() - 0.05
