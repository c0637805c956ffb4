"""The ridge: a linear copy of the model, which sees at once what foreign inputs teach.

It is solved anew from the retained queries at each reading, so it has no state of its own.
"""

import numpy as np
import numpy.typing as npt

from detector.engine.kernels import kernel

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
    right = np.zeros((size, outputs))
    row = np.ones(size)
    for i in range(n):
        for d in range(width):
            row[d] = inputs[i, d]
        for d in range(size):
            for e in range(d + 1):
                gram[d, e] += row[d] * row[e]
            for c in range(outputs):
                right[d, c] += row[d] * (targets[i, c] - 1.0 / outputs)
    for d in range(size):
        gram[d, d] += penalty
        for e in range(d + 1):
            total = gram[d, e]
            for k in range(e):
                total -= gram[d, k] * gram[e, k]
            gram[d, e] = np.sqrt(max(total, 1e-12)) if d == e else total / gram[e, e]
    for c in range(outputs):
        for d in range(size):
            total = right[d, c]
            for k in range(d):
                total -= gram[d, k] * right[k, c]
            right[d, c] = total / gram[d, d]
        for d in range(size - 1, -1, -1):
            total = right[d, c]
            for k in range(d + 1, size):
                total -= gram[k, d] * right[k, c]
            right[d, c] = total / gram[d, d]
    for i in range(asked.shape[0]):
        highest = -np.inf
        classes[i] = 0
        for c in range(outputs):
            score = right[width, c]
            for d in range(width):
                score += asked[i, d] * right[d, c]
            if score > highest:
                highest = score
                classes[i] = c
