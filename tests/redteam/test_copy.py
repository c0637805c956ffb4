import numpy as np

from detector.redteam.copy import fidelity
from detector.redteam.network import one_hot
from detector.redteam.victim import Victim


def test_a_copy_gets_better_with_what_it_was_told(victim: Victim) -> None:
    """Averaged over three thieves, fidelity grows from 20 to 80 to 300 natural queries and ends high."""
    pool = victim.attacker.vectors
    means = []
    for told in (20, 80, 300):
        rows = [np.random.default_rng(seed).permutation(len(pool))[:told] for seed in range(3)]
        means.append(
            np.mean([fidelity(pool[r], victim.predict(pool[r]), victim.test.vectors, victim.predict, 0) for r in rows])
        )
    assert means[0] + 0.05 < means[1]
    assert means[1] + 0.01 < means[2]
    assert means[2] > 0.9


def test_who_was_told_nothing_has_nothing(victim: Victim) -> None:
    """No query, no copy."""
    assert fidelity(np.empty((0, 0)), np.empty((0, 0)), victim.test.vectors, victim.predict, 0) == 0.0


def test_one_query_copies_one_class(victim: Victim) -> None:
    """A copy that has seen one picture agrees with the victim about where the victim says that class."""
    pool = victim.attacker.vectors[:1]
    answer = victim.predict(pool)
    share = (victim.predict(victim.test.vectors).argmax(axis=1) == answer.argmax()).mean()
    assert abs(fidelity(pool, answer, victim.test.vectors, victim.predict, 0) - share) < 0.05


def test_labels_alone_copy_too(victim: Victim) -> None:
    """Where the log holds labels only, they are given one-hot and still make a copy."""
    pool = victim.attacker.vectors
    labels = one_hot(victim.predict(pool).argmax(axis=1), 10)
    assert fidelity(pool, labels, victim.test.vectors, victim.predict, 0) > 0.85


def test_fidelity_is_determined_by_its_seed(victim: Victim) -> None:
    """The same seed gives the same figure."""
    pool = victim.attacker.vectors[:40]
    figures = {fidelity(pool, victim.predict(pool), victim.test.vectors, victim.predict, 3) for _ in range(2)}
    assert len(figures) == 1
