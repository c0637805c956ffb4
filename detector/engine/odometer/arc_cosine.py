"""The kernel copy: a network without end in width, solved from the retained queries instead of trained.

Its kernel is the arc-cosine kernel of order 1 (Cho and Saul, NeurIPS 2009) with a constant input, plus the linear kernel:
ridge regression with it is what wide networks of one hidden layer tend to. It has no state of its own, and the same queries
always give the same copy.
"""

import numpy as np
import numpy.typing as npt

from detector.engine.kernels import kernel, part
from detector.engine.odometer.cholesky import solve

PENALTY, TABLE_PENALTY = 0.1, 0.01  # added to the diagonal, as a share of its mean; records have sharper borders

Floats = npt.NDArray[np.float32]


def kernel_predictions(inputs: Floats, targets: Floats, asked: Floats, penalty: float = PENALTY) -> npt.NDArray[np.int64]:
    """Return the class of each of m inputs, `asked` (inputs, m), by a copy.

    It is fitted on the inputs (n, inputs) and what was told of them, (n, classes). Of classes with equal scores the first
    counts.
    """
    classes = np.empty(asked.shape[1], np.int64)
    solve_kernel(inputs, np.ascontiguousarray(inputs.T), targets, asked, np.float32(penalty), classes)
    return classes


@part
def row_of(x, length, others, lengths, products):
    """Fill `products` (m,) with the kernel of one input and m others, (inputs, m); lengths include the constant.

    The arc cosine is formula 4.4.45 of Abramowitz and Stegun (error below 7e-5): sums and roots alone, so that every machine
    computes the same, and many at once.
    """
    pi = np.float32(np.pi)
    one = np.float32(1.0)
    for j in range(products.shape[0]):
        products[j] = one
    for d in range(x.shape[0]):
        value = x[d]
        for j in range(products.shape[0]):
            products[j] += value * others[d, j]
    for j in range(products.shape[0]):
        inner = products[j]
        both = length * lengths[j]
        cosine = min(max(inner / both, -one), one)
        size = abs(cosine)
        poly = np.float32(1.5707288) + size * (
            np.float32(-0.2121144) + size * (np.float32(0.0742610) + size * np.float32(-0.0187293))
        )
        angle = np.sqrt(one - size) * poly
        turned = angle if cosine >= np.float32(0.0) else pi - angle
        sine = np.sqrt(one - cosine * cosine)
        products[j] = both * (sine + (pi - turned) * cosine) / pi + inner


@part
def lengths_of(inputs, lengths):
    """Fill `lengths` (m,) with the lengths of m inputs, (inputs, m), each with a constant 1."""
    for j in range(lengths.shape[0]):
        lengths[j] = np.float32(1.0)
    for d in range(inputs.shape[0]):
        for j in range(lengths.shape[0]):
            lengths[j] += inputs[d, j] * inputs[d, j]
    for j in range(lengths.shape[0]):
        lengths[j] = np.sqrt(lengths[j])


@kernel
def solve_kernel(inputs, columns, targets, asked, penalty, classes):
    """Solve the ridge by Cholesky's decomposition, and write the class of each input in `asked` (inputs, m).

    `inputs` (n, inputs) and `columns` (inputs, n) are the same numbers.
    """
    n = inputs.shape[0]
    m = asked.shape[1]
    outputs = targets.shape[1]
    own = np.empty(n, np.float32)
    lengths_of(columns, own)
    gram = np.empty((n, n))
    products = np.empty(n, np.float32)
    mean = 0.0
    for i in range(n):
        row_of(inputs[i], own[i], columns, own, products)
        for j in range(n):
            gram[i, j] = products[j]
        mean += gram[i, i] / n
    right = np.empty((outputs, n))
    for i in range(n):
        gram[i, i] += penalty * mean
        for c in range(outputs):
            right[c, i] = targets[i, c] - 1.0 / outputs
    solve(gram, right)
    scores = np.zeros((outputs, m), np.float32)
    lengths, products = np.empty(m, np.float32), np.empty(m, np.float32)
    lengths_of(asked, lengths)
    for i in range(n):
        row_of(inputs[i], own[i], asked, lengths, products)
        for c in range(outputs):
            weight = np.float32(right[c, i])
            for j in range(m):
                scores[c, j] += weight * products[j]
    for j in range(m):
        highest = np.float32(-np.inf)
        classes[j] = 0
        for c in range(outputs):
            if scores[c, j] > highest:
                highest = scores[c, j]
                classes[j] = c
