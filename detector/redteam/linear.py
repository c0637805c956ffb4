"""A linear model from its answers: a softmax regression's confidences are equations in its weights."""

import numpy as np

from detector.redteam.conversation import Array


def solve(features: Array, answers: Array, *, least: float = 1e-9) -> tuple[Array, Array]:
    """Weights (dimension, classes) and biases (classes,) of the softmax regression that gave `answers` (n, classes).

    `features` (n, dimension) are the queries, encoded where they have codes. Relative to class 0, whose weights are
    zero: a softmax does not determine more. Probabilities of `least` or below are taken as cut off by the server and
    not used. With more equations than unknowns the answer is that of least squares.

    Raises ValueError if a class has fewer usable equations than unknowns.

    >>> X = np.array([[0.0], [1.0], [2.0]])
    >>> positive = 1 / (1 + np.exp(-(3 * X - 1)))
    >>> weights, biases = solve(X, np.hstack([1 - positive, positive]))
    >>> weights.round(6).tolist(), biases.round(6).tolist()
    ([[0.0, 3.0]], [0.0, -1.0])
    """
    classes = answers.shape[1]
    unknowns = features.shape[1] + 1
    solution = np.zeros((unknowns, classes))
    system = np.hstack([features, np.ones((len(features), 1))])
    for label in range(1, classes):
        usable = (answers[:, label] > least) & (answers[:, 0] > least)
        if usable.sum() < unknowns:
            raise ValueError(f"{int(usable.sum())} usable answers for class {label}, {unknowns} are needed")
        ratio = np.log(answers[usable, label] / answers[usable, 0])
        solution[:, label] = np.linalg.lstsq(system[usable], ratio)[0]
    return solution[:-1], solution[-1]
