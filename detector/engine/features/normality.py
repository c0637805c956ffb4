"""Normality: the Shapiro-Wilk statistic W of a window of numbers, compiled.

W compares two estimates of the spread of a sample: one from its sorted values, weighted by what a normal sample would
have at each rank, and the usual sum of squares. It is 1 for a perfectly normal shape and falls with skew, heavy tails,
clumps and gaps. Only W is computed, no p-value: detectors put a threshold on W itself.

>>> window = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
>>> round(shapiro_w(window, shapiro_coefficients(10), np.empty(10)), 4)
0.3657

Source: P. Royston, "Remark AS R94: A Remark on Algorithm AS 181: The W-test for Normality", Applied Statistics 44
(1995), the same approximation as `scipy.stats.shapiro`.
"""

import numpy as np
import numpy.typing as npt

from detector.engine.kernels import kernel

# Polynomials of R94 in 1/sqrt(n), highest power first, for the two largest weights.
_LARGEST = np.array([-2.706056, 4.434685, -2.071190, -0.147981, 0.221157, 0.0])
_SECOND = np.array([-3.582633, 5.682633, -1.752461, -0.293762, 0.042981, 0.0])

# AS 111 (Beasley and Springer 1977), the normal quantile that R94 was published with: at p, with q = p - 0.5, it is q
# times a ratio of polynomials in q^2 where |q| <= 0.42, else a ratio of polynomials in sqrt(-log p). An exact quantile
# would move W by up to 4e-9 from other implementations.
_CENTRE = (
    np.array([-25.44106049637, 41.39119773534, -18.61500062529, 2.50662823884]),
    np.array([3.13082909833, -21.06224101826, 23.08336743743, -8.47351093090, 1.0]),
)
_TAIL = (
    np.array([2.32121276858, 4.85014127135, -2.29796479134, -2.78718931138]),
    np.array([1.63706781897, 3.54388924762, 1.0]),
)

# Range below which R94 (and scipy) treats the sample as constant.
_CONSTANT = 1e-19


def shapiro_coefficients(n: int) -> npt.NDArray[np.float64]:
    """Return the n // 2 weights of `shapiro_w` for samples of n values.

    The weight at i belongs to the difference between the i-th largest and the i-th smallest value; the weights fall,
    and twice the sum of their squares is 1. Compute them once for each window length.

    Raises ValueError unless n is from 3 to 5000, the range in which R94 was fitted.

    >>> shapiro_coefficients(3).round(4).tolist()
    [0.7071]
    >>> shapiro_coefficients(10).round(4).tolist()
    [0.5737, 0.329, 0.2143, 0.1228, 0.0401]
    """
    if not 3 <= n <= 5000:
        raise ValueError(f"Shapiro-Wilk weights for n = {n}; n must be from 3 to 5000")
    if n == 3:
        return np.array([np.sqrt(0.5)])
    half = n // 2
    expected = -_lower_quantile((np.arange(1, half + 1) - 0.375) / (n + 0.25))
    total = 2.0 * float(expected @ expected)
    largest = np.polyval(_LARGEST, n**-0.5) + expected[0] / np.sqrt(total)
    if n <= 5:
        given = np.array([largest])
    else:
        given = np.array([largest, np.polyval(_SECOND, n**-0.5) + expected[1] / np.sqrt(total)])
    k = len(given)
    scale = np.sqrt((1.0 - 2.0 * float(given @ given)) / (total - 2.0 * float(expected[:k] @ expected[:k])))
    weights = np.concatenate((given, expected[k:] * scale))
    return np.asarray(weights / np.sqrt(2.0 * (weights @ weights)), dtype=np.float64)


def _lower_quantile(p: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    q = p - 0.5
    square = q * q
    root = np.sqrt(-np.log(p))
    centre = q * np.polyval(_CENTRE[0], square) / np.polyval(_CENTRE[1], square)
    tail = -np.polyval(_TAIL[0], root) / np.polyval(_TAIL[1], root)
    return np.where(-q <= 0.42, centre, tail)


@kernel
def shapiro_w(
    values: npt.NDArray[np.float64], coefficients: npt.NDArray[np.float64], scratch: npt.NDArray[np.float64]
) -> float:
    """Return W of n finite `values`, about 0 to 1; 1.0 for constant ones (range below 1e-19), where W is undefined.

    `coefficients` is `shapiro_coefficients(n)`, not checked here; `scratch`, float64 of at least n, is overwritten and
    saves an allocation for each call. `values` may be in any order and is left as it is. Made for windows of up to a
    few hundred values: it sorts by insertion, quadratic in n but ahead of a general sort at n = 100. Agrees with
    `scipy.stats.shapiro` to 1e-12. Not for NaN or infinity, which give a meaningless number.
    """
    n = values.shape[0]
    ordered = scratch[:n]
    for i in range(n):
        value = values[i]
        j = i
        while j > 0 and ordered[j - 1] > value:
            ordered[j] = ordered[j - 1]
            j -= 1
        ordered[j] = value
    middle = ordered[n // 2]
    spread = ordered[n - 1] - ordered[0]
    if spread < _CONSTANT:
        return 1.0
    # Values near 1e200 would overflow when squared, and values far from 0 would cancel: work in units of the range.
    mean = 0.0
    for i in range(n):
        ordered[i] = (ordered[i] - middle) / spread
        mean += ordered[i]
    mean /= n
    squares = 0.0
    for i in range(n):
        deviation = ordered[i] - mean
        squares += deviation * deviation
    weighted = 0.0
    for i in range(n // 2):
        weighted += coefficients[i] * (ordered[n - 1 - i] - ordered[i])
    return min(weighted * weighted / squares, 1.0)
