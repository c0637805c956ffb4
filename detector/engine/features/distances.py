"""Distances: features of the minimum distances of a client's queries to its own earlier ones, at a scheduled evaluation.

PRADA (Juuti et al., EuroS&P 2019, section 5) tests whether these distances are normally distributed. Here its growing sets are
bounded by the memory, and the test is one feature among several.
"""

import numpy as np

from detector.engine.features.normality import shapiro_w
from detector.engine.kernels import kernel

NAMES = (
    "distance_mean",
    "distance_low",
    "distance_mid",
    "distance_high",
    "normality",
    "near_duplicate_rate",
    "repeat_rate",
    "step",
    "structure",
)

WINDOW = 100
LEAST_DISTANCES = 4


@kernel
def accept(class_count_of, class_sum_of, class_square_of, class_bar_of, s, place, distance):
    """Tell whether PRADA would add the query to the growing set of its label, and keep that set's statistics."""
    if np.isnan(distance):
        # In PRADA the first query of a label enters with distance 0. Here so does one whose predecessors are all forgotten.
        class_count_of[s, place] = max(class_count_of[s, place], 1)
        return True
    if not distance > class_bar_of[s, place]:
        return False
    n = class_count_of[s, place] + 1
    class_count_of[s, place] = n
    class_sum_of[s, place] += distance
    class_square_of[s, place] += distance * distance
    mean = class_sum_of[s, place] / n
    spread = np.sqrt(max(class_square_of[s, place] / n - mean * mean, 0.0))
    class_bar_of[s, place] = max(class_bar_of[s, place], mean - spread)
    return True


@kernel
def describe_distances(memory, s, coefficients, ordered, scratch, row):
    """Write the distance features of client `s` into `row`; too few distances leave them missing (NaN).

    `coefficients` (window + 1, half) are those of the Shapiro-Wilk statistic.
    `ordered` and `scratch` (window,) are overwritten.
    """
    n = min(np.int64(memory.window_count[s]), memory.window.shape[1])
    if n < LEAST_DISTANCES:
        for j in range(5):
            row[j] = np.nan
    else:
        logs = 0.0
        mean = 0.0
        for j in range(n):
            value = np.float64(memory.window[s, j])
            mean += value
            logs += np.log(max(value, 1e-3))
            k = j
            while k > 0 and ordered[k - 1] > value:
                ordered[k] = ordered[k - 1]
                k -= 1
            ordered[k] = value
        mean /= n
        variance = 0.0
        for j in range(n):
            variance += (ordered[j] - mean) ** 2
        bound = 3.0 * np.sqrt(variance / n)
        first = 0
        last = n
        while first < last and abs(ordered[first] - mean) >= bound:
            first += 1
        while last > first and abs(ordered[last - 1] - mean) >= bound:
            last -= 1
        row[0] = logs / n
        row[1] = np.log(max(ordered[n // 10], 1e-3))
        row[2] = np.log(max(ordered[n // 2], 1e-3))
        row[3] = np.log(max(ordered[(9 * n) // 10], 1e-3))
        kept = last - first
        row[4] = shapiro_w(ordered[first:last], coefficients[kept, : kept // 2], scratch) if kept >= 8 else np.nan
    fresh = max(np.int64(memory.stored[s]), 1)
    row[5] = memory.near[s] / fresh
    row[6] = memory.repeats[s] / (fresh + memory.repeats[s])
    row[7] = memory.step_mean[s] if memory.stored[s] > 1 else np.nan
    row[8] = memory.structure[s] if memory.structure_count[s] > 0 else np.nan
