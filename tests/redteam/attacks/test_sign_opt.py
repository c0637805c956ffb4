import numpy as np

from detector.redteam.attacks.sign_opt import turn
from detector.redteam.conversation import found_by
from detector.redteam.victim import Victim


def test_turning_brings_the_boundary_nearer(victim: Victim) -> None:
    """The direction found has the boundary nearer than the direction of the start, and a different label behind it."""
    X = victim.attacker.vectors
    labels = victim.predict(X).argmax(axis=1)
    original, label = X[0], int(labels[0])
    start = X[labels != label][0]
    rng = np.random.default_rng(0)
    _, before = found_by(turn(original, label, start, rng, victim.value_range, probes=0, rounds=0), victim.predict)[0]
    direction, after = found_by(turn(original, label, start, rng, victim.value_range, probes=100, rounds=8), victim.predict)[0]
    assert after < 0.8 * before
    beyond = np.clip(original + 1.001 * after * direction, *victim.value_range)
    assert int(victim.predict(beyond[None]).argmax()) != label
