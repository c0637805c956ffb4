"""The kernel copy, against its formula in plain numpy."""

import numpy as np
import numpy.typing as npt
import pytest

from detector.engine.odometer.arc_cosine import PENALTY, Kin, kernel_predictions


def kernel_of(left: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the arc-cosine kernel of order 1 and the linear kernel, with a constant input."""
    left, right = (np.concatenate([part, np.ones((len(part), 1))], axis=1) for part in (left, right))
    both = np.linalg.norm(left, axis=1)[:, None] * np.linalg.norm(right, axis=1)
    inner = left @ right.T
    cosine = np.clip(inner / both, -1.0, 1.0)
    angle = np.arccos(cosine)
    return np.asarray(both * (np.sin(angle) + (np.pi - angle) * cosine) / np.pi + inner)


@pytest.mark.parametrize(("n", "width", "classes"), [(1, 1, 2), (20, 5, 2), (64, 48, 11), (33, 24, 65)])
def test_the_copy_is_the_ridge_of_the_kernel(n: int, width: int, classes: int) -> None:
    """Scores are those of numpy's solver, but for the rounding of the arc cosine."""
    rng = np.random.default_rng(n)
    inputs, asked = rng.normal(size=(n, width)).astype(np.float32), rng.normal(size=(200, width)).astype(np.float32)
    targets = rng.dirichlet(np.ones(classes), n).astype(np.float32)
    gram = kernel_of(inputs.astype(float), inputs.astype(float))
    gram += PENALTY * np.trace(gram) / n * np.eye(n)
    scores = kernel_of(asked.astype(float), inputs.astype(float)) @ np.linalg.solve(gram, targets - 1.0 / classes)
    found = kernel_predictions(inputs, targets, np.ascontiguousarray(asked.T))
    best = scores.max(axis=1) - scores[np.arange(200), found]
    assert (best < 1e-3 * np.abs(scores).max()).all()
    assert (best == 0.0).mean() > 0.95


def test_equal_queries_do_not_break_it() -> None:
    """A single input, asked again and again, has a copy that says what was told."""
    inputs = np.tile(np.array([[1.0, -2.0]], np.float32), (64, 1))
    targets = np.tile(np.array([[0.0, 1.0, 0.0]], np.float32), (64, 1))
    assert kernel_predictions(inputs, targets, np.ascontiguousarray(inputs[:3].T)).tolist() == [1, 1, 1]


@pytest.mark.parametrize("n", [1, 16, 33, 64])
def test_a_copy_from_half_of_the_queries_needs_no_kernel_of_its_own(n: int) -> None:
    """It is the copy that would be solved from these queries alone."""
    rng = np.random.default_rng(n)
    inputs, asked = rng.normal(size=(n, 7)).astype(np.float32), rng.normal(size=(7, 300)).astype(np.float32)
    targets = rng.dirichlet(np.ones(4), n).astype(np.float32)
    half = kernel_predictions(inputs[::2].copy(), targets[::2].copy(), asked)
    kin = Kin(inputs, asked)
    assert kin.predictions(targets, PENALTY, every=2).tolist() == half.tolist()
    assert kin.predictions(targets, PENALTY).tolist() == kernel_predictions(inputs, targets, asked).tolist()
    assert n == 1 or kin.predictions(targets, PENALTY).tolist() != half.tolist()
