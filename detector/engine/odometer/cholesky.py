"""Cholesky's decomposition, by which the copies that are solved get their weights."""

import numpy as np

from detector.engine.kernels import kernel


@kernel
def solve(gram, right):
    """Solve for the weights in place: `right` (outputs, n) becomes them, `gram` (n, n) its decomposition.

    Only the lower triangle of `gram` is read, which must be that of a positive definite matrix. Sums run in a fixed order.
    """
    n = gram.shape[0]
    for d in range(n):
        for e in range(d + 1):
            total = gram[d, e]
            for k in range(e):
                total -= gram[d, k] * gram[e, k]
            gram[d, e] = np.sqrt(max(total, 1e-12)) if d == e else total / gram[e, e]
    for c in range(right.shape[0]):
        for d in range(n):
            total = right[c, d]
            for k in range(d):
                total -= gram[d, k] * right[c, k]
            right[c, d] = total / gram[d, d]
        for d in range(n - 1, -1, -1):
            total = right[c, d]
            for k in range(d + 1, n):
                total -= gram[k, d] * right[c, k]
            right[c, d] = total / gram[d, d]
