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
    for k in range(n):
        column = columns[k]
        pivot = np.sqrt(max(column[k], 1e-12))
        column[k] = pivot
        for d in range(k + 1, n):
            column[d] /= pivot
        for e in range(k + 1, n):
            factor = column[e]
            other = columns[e]
            for d in range(e, n):
                other[d] -= column[d] * factor
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
