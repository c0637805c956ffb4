import numpy as np

from detector.redteam.attacks.boundary import wander
from detector.redteam.conversation import found_by
from detector.redteam.victim import Victim


def test_the_walk_comes_closer_and_never_takes_the_label_back(victim: Victim) -> None:
    """After 400 steps the point is much nearer to the picture than where it began, and still of another label."""
    X = victim.attacker.vectors
    labels = victim.predict(X).argmax(axis=1)
    original, label = X[0], int(labels[0])
    start = X[labels != label][0]
    point, asked = found_by(
        wander(original, label, start, np.random.default_rng(0), victim.value_range, steps=400), victim.predict
    )
    assert int(victim.predict(point[None]).argmax()) != label
    assert np.linalg.norm(point - original) < 0.7 * np.linalg.norm(start - original)
    assert 400 <= asked <= 800
