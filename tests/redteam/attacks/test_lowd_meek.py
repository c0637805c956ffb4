import numpy as np
import pytest

from detector.redteam.attacks.lowd_meek import normal_at
from detector.redteam.columns import TableColumns
from detector.redteam.conversation import Array, Predict, found_by
from detector.redteam.space import Space


def _plane(weights: Array, bias: float) -> Predict:
    def predict(X: Array) -> Array:
        side = (X @ weights + bias > 0.0).astype(np.float64)
        return np.column_stack([1.0 - side, side])

    return predict


@pytest.mark.parametrize("seed", range(5))
def test_the_normal_of_a_hyperplane_is_found_from_labels(seed: int) -> None:
    """Direction and sign agree with the plane's to one degree, at some dozen queries a feature."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.5, 1.5, 10) * rng.choice([-1.0, 1.0], 10)
    bias = -float(weights.sum()) / 2.0
    predict = _plane(weights, bias)
    points = rng.uniform(0.0, 1.0, (200, 10))
    side = predict(points).argmax(axis=1)
    inside, outside = points[side == 0][0], points[side == 1][0]
    space = Space.of(None, (0.0, 1.0), 10)
    normal, asked = found_by(normal_at(inside, 0, outside, space, rng, tolerance=1e-5, gap=0.02), predict)
    assert normal is not None
    assert normal @ weights / np.linalg.norm(weights) > np.cos(np.radians(1.0))
    assert asked < 10 * 30


def test_a_feature_that_does_not_matter_weighs_nothing() -> None:
    """Moved from end to end without a change of label, a feature has weight zero."""
    predict = _plane(np.array([1.0, 0.0, -1.0]), 0.05)
    space = Space.of(None, (0.0, 1.0), 3)
    rng = np.random.default_rng(1)
    normal, _ = found_by(
        normal_at(np.array([0.1, 0.5, 0.6]), 0, np.array([0.9, 0.4, 0.3]), space, rng, tolerance=1e-4, gap=0.05), predict
    )
    assert normal is not None
    assert normal[1] == 0.0
    assert normal[0] == pytest.approx(-normal[2], rel=0.01)


def test_codes_are_left_out() -> None:
    """A code that flips the label is no witness, and a code has no weight."""
    rows = np.array([[0.0, 0.0], [1.0, 2.0], [0.5, 1.0]])
    space = Space.of(TableColumns.of(rows, categorical=[1]), (0.0, 1.0), 2)
    by_code = _plane(np.array([0.0, 1.0]), -0.5)
    found, _ = found_by(normal_at(rows[0], 0, rows[1], space, np.random.default_rng(0), tolerance=1e-3, gap=0.05), by_code)
    assert found is None
    by_number = _plane(np.array([1.0, 0.0]), -0.5)
    found, _ = found_by(normal_at(rows[0], 0, rows[1], space, np.random.default_rng(0), tolerance=1e-3, gap=0.05), by_number)
    assert found is not None
    assert found.tolist() == [1.0, 0.0]
