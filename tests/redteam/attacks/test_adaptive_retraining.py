import numpy as np

from detector.redteam.attacks.adaptive_retraining import adaptive_retraining
from detector.redteam.conversation import Array, converse
from detector.redteam.setting import Setting


def _halves(X: Array) -> Array:
    positive = 1.0 / (1.0 + np.exp(-20.0 * (X[:, [0]] - X[:, [1]])))
    return np.hstack([1.0 - positive, positive])


def test_later_rounds_come_closer_to_the_boundary() -> None:
    """The first round is uniform; afterwards queries crowd where the model changes its mind."""
    client = adaptive_retraining(Setting(np.zeros((1, 2)), np.zeros(1, dtype=np.int64), np.random.default_rng(0)))
    vectors, _, synthetic = converse(client, _halves, 125)
    gap = np.abs(vectors[:, 0] - vectors[:, 1])
    assert np.median(gap[75:]) < np.median(gap[:25]) / 4.0
    assert synthetic.all()
