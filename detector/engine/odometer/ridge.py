"""The ridge: a linear copy of the model, which sees at once what foreign inputs teach.

It is solved anew from the retained queries at each reading, so it has no state of its own.
"""

import numpy as np
import numpy.typing as npt

from detector.engine.kernels import kernel
from detector.engine.odometer.cholesky import solve

PENALTY = 0.3

Floats = npt.NDArray[np.float32]


def ridge_predictions(inputs: Floats, targets: Floats, asked: Floats) -> npt.NDArray[np.int64]:
    """Return the class of each input in `asked` (m, inputs) by a linear copy.

    It is fitted on the inputs (n, inputs) and what was told of them, (n, classes). Of classes with equal scores the first
    counts.
    """
    classes = np.empty(len(asked), np.int64)
    solve_and_predict(inputs, targets, asked, PENALTY, classes)
    return classes


@kernel
def solve_and_predict(inputs, targets, asked, penalty, classes):
    """Fit by Cholesky's decomposition of the normal equations, with a constant input, and write the classes of `asked`."""
    n, width = inputs.shape
    size = width + 1
    outputs = targets.shape[1]
    gram = np.zeros((size, size))
    right = np.zeros((outputs, size))
    row = np.ones(size)
    for i in range(n):
        for d in range(width):
            row[d] = inputs[i, d]
        for d in range(size):
            for e in range(d + 1):
                gram[d, e] += row[d] * row[e]
            for c in range(outputs):
                right[c, d] += row[d] * (targets[i, c] - 1.0 / outputs)
    for d in range(size):
        gram[d, d] += penalty
    solve(gram, right)
    for i in range(asked.shape[0]):
        highest = -np.inf
        classes[i] = 0
        for c in range(outputs):
            score = right[c, width]
            for d in range(width):
                score += asked[i, d] * right[c, d]
            if score > highest:
                highest = score
                classes[i] = c
