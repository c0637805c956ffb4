import numpy as np
import pytest

from detector.redteam.attacks.equation_solving import equation_solving
from detector.redteam.columns import TableColumns
from detector.redteam.conversation import Array, converse
from detector.redteam.linear import solve
from detector.redteam.setting import Setting
from detector.redteam.space import Space


def _softmax(logits: Array) -> Array:
    exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponent / exponent.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("classes", [2, 4])
def test_a_regression_is_recovered_from_as_many_answers_as_unknowns(classes: int) -> None:
    """Dimension + 1 answers give the weights to 1e-6, relative to class 0."""
    rng = np.random.default_rng(classes)
    weights, biases = rng.normal(0.0, 0.3, (12, classes)), rng.normal(size=classes)
    pool = rng.uniform(0.0, 1.0, (5, 12))
    client = equation_solving(Setting(pool, np.zeros(5, dtype=np.int64), rng, classes=classes))
    vectors, answers, synthetic = converse(client, lambda X: _softmax(X @ weights + biases), 13)
    found, offsets = solve(vectors, answers)
    assert np.abs(found - (weights - weights[:, :1])).max() < 1e-6
    assert np.abs(offsets - (biases - biases[0])).max() < 1e-6
    assert synthetic.all()


def test_more_answers_average_the_rounding_away() -> None:
    """Of answers rounded to three digits, a thousand tell the weights better than the least number."""
    rng = np.random.default_rng(1)
    weights = rng.normal(0.0, 2.0, (6, 3))
    pool = rng.uniform(0.0, 1.0, (5, 6))
    client = equation_solving(Setting(pool, np.zeros(5, dtype=np.int64), rng, classes=3))
    vectors, answers, _ = converse(client, lambda X: _softmax(X @ weights).round(3), 1000)
    errors = [np.abs(solve(vectors[:n], answers[:n])[0] - (weights - weights[:, :1])).mean() for n in (7, 1000)]
    assert errors[1] < errors[0] / 3.0


def test_codes_are_solved_as_indicators() -> None:
    """A regression on a table with codes is linear in the encoded record."""
    rng = np.random.default_rng(2)
    rows = np.column_stack([rng.uniform(0.0, 50.0, 40), rng.integers(0, 4, 40)])
    table = TableColumns.of(rows, categorical=[1])
    space = Space.of(table, (0.0, 1.0), 2)
    weights = rng.normal(size=(4, 2))
    client = equation_solving(Setting(rows, np.zeros(40, dtype=np.int64), rng, columns=table))
    vectors, answers, _ = converse(client, lambda X: _softmax(space.encode(X) @ weights), 30)
    assert np.abs(solve(space.encode(vectors), answers)[0][:, 1] - (weights[:, 1] - weights[:, 0])).max() < 1e-6


def test_certain_answers_draw_the_box_together() -> None:
    """Against a model that is sure nearly everywhere, later queries lie closer to the pool's mean."""
    pool = np.full((3, 8), 0.5)
    client = equation_solving(Setting(pool, np.zeros(3, dtype=np.int64), np.random.default_rng(0)))
    weights = np.stack([np.zeros(8), np.linspace(-200.0, 200.0, 8)], axis=1)
    vectors, _, _ = converse(client, lambda X: _softmax((X - 0.5) @ weights), 60)
    spread = np.abs(vectors - 0.5).max(axis=1)
    assert spread[-10:].max() < spread[0] / 4.0


def test_too_few_equations_are_an_error() -> None:
    """What cannot be solved is said with numbers."""
    with pytest.raises(ValueError, match="1 usable answers for class 1, 3 are needed"):
        solve(np.zeros((1, 2)), np.array([[0.5, 0.5]]))
