import numpy as np

from detector.redteam.conversation import Array
from detector.redteam.copy import best_fidelity_at, fidelity
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


def test_the_best_copy_is_at_least_the_network(victim: Victim) -> None:
    """At each moment the best of the learners; beyond the last query nothing more is known, before the first nothing."""
    pool = victim.attacker.vectors[:120]
    answers = victim.predict(pool)
    found = best_fidelity_at((0, 40, 120, 999), pool, answers, victim.test.vectors, victim.predict, 0)
    assert sorted(found) == [0, 40, 120, 999]
    assert found[0] == 0.0
    assert found[40] < found[120] == found[999]
    assert found[120] >= fidelity(pool, answers, victim.test.vectors, victim.predict, 0)


def test_a_linear_model_is_copied_by_its_equations() -> None:
    """As many exact answers as unknowns are a perfect copy."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(10, 4))
    X = rng.uniform(-1.0, 1.0, (200, 10))

    def predict(rows: Array) -> Array:
        exponent = np.exp(rows @ weights)
        return np.asarray(exponent / exponent.sum(axis=1, keepdims=True))

    assert best_fidelity_at([11], X[:11], predict(X[:11]), X[11:], predict, 0)[11] == 1.0
