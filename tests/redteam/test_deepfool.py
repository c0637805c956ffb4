import numpy as np

from detector.redteam.deepfool import deepfool_distances
from detector.redteam.network import Network, train


def _linear() -> Network:
    """A network that is linear for non-negative inputs."""
    return Network(np.eye(2), np.zeros(2), np.array([[1.0, 0.0], [0.0, 1.0]]), np.zeros(2))


def test_the_distance_to_a_straight_boundary_is_exact() -> None:
    """To the diagonal it is the gap over the square root of two, with the method's overshoot of 2%."""
    X = np.array([[3.0, 1.0], [2.0, 1.9]])
    np.testing.assert_allclose(deepfool_distances(_linear(), X), np.array([2.0, 0.1]) / np.sqrt(2.0), rtol=0.025)


def test_points_near_a_learnt_boundary_come_first() -> None:
    """Of a trained network, points with a small gap between the classes have small distances."""
    rng = np.random.default_rng(0)
    X = rng.uniform(0.0, 1.0, (300, 2))
    network = train(X, np.eye(2)[(X[:, 0] > X[:, 1]).astype(int)], rng)
    distance = deepfool_distances(network, X)
    assert np.corrcoef(distance, np.abs(X[:, 0] - X[:, 1]))[0, 1] > 0.8


def test_one_class_has_no_boundary() -> None:
    """Nothing is anywhere near it."""
    alone = Network(np.eye(2), np.zeros(2), np.ones((2, 1)), np.zeros(1))
    assert np.isinf(deepfool_distances(alone, np.ones((2, 2)))).all()
