import numpy as np

from detector.redteam.network import one_hot, train
from detector.redteam.victim import Victim


def test_gradients_match_finite_differences() -> None:
    """The gradient of the own label's log-probability is the slope that one measures."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 5))
    labels = rng.integers(0, 3, 40)
    network = train(X, one_hot(labels, 3), rng, hidden=12, steps=100)
    gradients = network.label_gradients(X[:4], labels[:4])
    rows = np.arange(4)
    for i in range(5):
        nudge = 1e-6 * np.eye(5)[i]
        above = np.log(network.probabilities(X[:4] + nudge)[rows, labels[:4]])
        below = np.log(network.probabilities(X[:4] - nudge)[rows, labels[:4]])
        np.testing.assert_allclose(gradients[:, i], (above - below) / 2e-6, rtol=1e-4, atol=1e-6)


def test_gradients_survive_a_network_that_is_sure() -> None:
    """Where the probability is one to the last digit, the direction is still there."""
    network = train(np.array([[0.0], [1.0]]), np.eye(2), np.random.default_rng(1), hidden=8)
    far = np.array([[10.0]])
    assert network.probabilities(far)[0, 1] == 1.0
    assert network.label_gradients(far, np.array([1]))[0, 0] > 0.0


def test_training_learns_the_distribution_not_only_the_label() -> None:
    """Soft targets are reproduced, whatever their scale and the scale of the inputs."""
    X = np.array([[0.0, 900.0], [300.0, 0.0], [0.0, 0.0]])
    targets = np.array([[0.7, 0.3], [0.4, 0.6], [0.05, 0.95]])
    network = train(X, 5.0 * targets, np.random.default_rng(0), hidden=16, decay=0.0)
    np.testing.assert_allclose(network.probabilities(X), targets, atol=0.03)


def test_training_is_determined_by_its_generator(victim: Victim) -> None:
    """The same seed gives the same weights to the last bit; another seed gives others."""
    X, y = victim.attacker.vectors[:30], one_hot(victim.attacker.labels[:30], 10)
    first, again, other = (train(X, y, np.random.default_rng(seed), steps=20) for seed in (4, 4, 5))
    assert np.array_equal(first.inner, again.inner)
    assert not np.array_equal(first.inner, other.inner)


def test_training_copes_with_a_single_flat_row() -> None:
    """One constant example, without any spread to scale by, still trains."""
    network = train(np.full((1, 4), 3.0), np.array([[0.0, 1.0]]), np.random.default_rng(0), hidden=4)
    assert network.probabilities(np.full((1, 4), 3.0))[0, 1] > 0.9
