"""Cholesky's decomposition, by which the copies that are solved get their weights."""

import numpy as np

from detector.engine.kernels import kernel


@kernel
def solve(gram, right):
    """Solve for the weights in place: `right` (outputs, n) becomes them. `gram` (n, n) is only read.

    Only the lower triangle of `gram` is read, which must be that of a positive definite matrix. Sums run in a fixed order. The
    innermost loops run over sums that do not wait for each other, which the processor takes several at a time of.
    """
    n = gram.shape[0]
    outputs = right.shape[0]
    columns = np.empty((n, n))  # of the decomposition
    for d in range(n):
        for e in range(d + 1):
            columns[e, d] = gram[d, e]
    for e in range(n):
        own = columns[e, e:]
        for k in range(0, e - 3, 4):  # four at a time, so that sums are written a quarter as often
            first, second, third, fourth = columns[k, e:], columns[k + 1, e:], columns[k + 2, e:], columns[k + 3, e:]
            p, q, r, s = first[0], second[0], third[0], fourth[0]
            for i in range(own.shape[0]):
                own[i] = own[i] - first[i] * p - second[i] * q - third[i] * r - fourth[i] * s
        for k in range(e // 4 * 4, e):
            first = columns[k, e:]
            p = first[0]
            for i in range(own.shape[0]):
                own[i] -= first[i] * p
        pivot = np.sqrt(max(own[0], 1e-12))
        own[0] = pivot
        for i in range(1, own.shape[0]):
            own[i] /= pivot
    weights = np.empty((n, outputs))
    for c in range(outputs):
        for d in range(n):
            weights[d, c] = right[c, d]
    for d in range(n):
        own = weights[d]
        for k in range(d):
            factor = columns[k, d]
            for c in range(outputs):
                own[c] -= factor * weights[k, c]
        for c in range(outputs):
            own[c] /= columns[d, d]
    for d in range(n - 1, -1, -1):
        own = weights[d]
        for k in range(d + 1, n):
            factor = columns[d, k]
            for c in range(outputs):
                own[c] -= factor * weights[k, c]
        for c in range(outputs):
            own[c] /= columns[d, d]
    for c in range(outputs):
        for d in range(n):
            right[c, d] = weights[d, c]
