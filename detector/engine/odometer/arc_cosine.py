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
    return Kin(inputs, asked).predictions(targets, penalty)


class Kin:
    """The kernel of n inputs (n, inputs) with each other and with m inputs `asked` (inputs, m).

    Copies from some of the inputs, too, are solved from it.
    """

    def __init__(self, inputs: Floats, asked: Floats) -> None:
        n = len(inputs)
        self._own = np.empty((n, n))
        self._asked = np.empty((n, asked.shape[1]), np.float32)
        fill_kernel(inputs, np.ascontiguousarray(inputs.T), asked, self._own, self._asked)

    def predictions(self, targets: Floats, penalty: float, every: int = 1) -> npt.NDArray[np.int64]:
        """Return the class (m,) of each input asked by a copy that knows every second input, say, for `every` = 2.

        What was told of all inputs are the `targets` (n, classes). Of classes with equal scores the first counts.
        """
        classes = np.empty(self._asked.shape[1], np.int64)
        solve_kernel(self._own, self._asked, targets, every, np.float32(penalty), classes)
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
    for d in range(0, x.shape[0] - 3, 4):  # four at a time, so that sums are written a quarter as often
        a, b, e, f = x[d], x[d + 1], x[d + 2], x[d + 3]
        for j in range(products.shape[0]):
            products[j] = products[j] + a * others[d, j] + b * others[d + 1, j] + e * others[d + 2, j] + f * others[d + 3, j]
    for d in range(x.shape[0] // 4 * 4, x.shape[0]):
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
def fill_kernel(inputs, columns, asked, own, across):
    """Fill `own` (n, n) with the kernel of n inputs, and `across` (n, m) with that of each and the inputs `asked` (inputs, m).

    `inputs` (n, inputs) and `columns` (inputs, n) are the same numbers.
    """
    n = inputs.shape[0]
    m = asked.shape[1]
    lengths, asked_lengths = np.empty(n, np.float32), np.empty(m, np.float32)
    lengths_of(columns, lengths)
    lengths_of(asked, asked_lengths)
    products = np.empty(n, np.float32)
    for i in range(n):
        row_of(inputs[i], lengths[i], columns, lengths, products)
        for j in range(n):
            own[i, j] = products[j]
        row_of(inputs[i], lengths[i], asked, asked_lengths, across[i])


@kernel
def solve_kernel(own, across, targets, every, penalty, classes):
    """Solve the ridge of every so manieth input by Cholesky's decomposition, and write the class of each input asked.

    For `own` and `across` see `fill_kernel`. `targets` (n, classes) is what was told of all inputs.
    """
    n = (own.shape[0] + every - 1) // every
    m = across.shape[1]
    outputs = targets.shape[1]
    gram = np.empty((n, n))
    mean = 0.0
    for i in range(n):
        for j in range(n):
            gram[i, j] = own[i * every, j * every]
        mean += gram[i, i] / n
    right = np.empty((outputs, n))
    for i in range(n):
        gram[i, i] += penalty * mean
        for c in range(outputs):
            right[c, i] = targets[i * every, c] - 1.0 / outputs
    solve(gram, right)
    scores = np.zeros((outputs, m), np.float32)
    for i in range(0, n - 3, 4):
        one, two = across[i * every], across[(i + 1) * every]
        three, four = across[(i + 2) * every], across[(i + 3) * every]
        for c in range(outputs):
            a, b = np.float32(right[c, i]), np.float32(right[c, i + 1])
            e, f = np.float32(right[c, i + 2]), np.float32(right[c, i + 3])
            score = scores[c]
            for j in range(m):
                score[j] = score[j] + a * one[j] + b * two[j] + e * three[j] + f * four[j]
    for i in range(n // 4 * 4, n):
        one = across[i * every]
        for c in range(outputs):
            weight = np.float32(right[c, i])
            score = scores[c]
            for j in range(m):
                score[j] += weight * one[j]
    highest = np.full(m, -np.inf, np.float32)
    classes[:] = 0
    for c in range(outputs):
        score = scores[c]
        for j in range(m):
            higher = score[j] > highest[j]
            highest[j] = score[j] if higher else highest[j]
            classes[j] = c if higher else classes[j]
