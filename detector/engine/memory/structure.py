"""Structure: how differences between a client's queries spread over the input, against the population's; see `foreign`."""

import numpy as np

from detector.engine.evidence.foreign import APART, PAIRS, spread_of_difference
from detector.engine.kernels import kernel
from detector.engine.memory.reservoir import mix


@kernel
def compare_structure(
    z_of, c_of, stored_of, s, reduced, values, squares, held, unit, variance, total, z_variance, z_total, table, seed
):
    """Return the logarithm of how the query's differences from up to four unrelated anchors spread; NaN if there are none."""
    summed = 0.0
    across = 0.0
    found = 0
    for draw in range(2 * PAIRS):
        m = np.int64(mix(seed, np.uint64(stored_of[s]) * np.uint64(2 * PAIRS) + np.uint64(draw)) % np.uint64(held))
        if squares[m] * unit * unit < APART * APART:
            continue
        summed += spread_of_difference(values, c_of[s, m], variance, total)
        if table:
            across += spread_of_difference(reduced, z_of[s, :, m], z_variance, z_total)
        found += 1
        if found == PAIRS:
            break
    if found == 0 or total <= 0.0:
        return np.nan
    structure = np.log(max(summed / found, 1e-6))
    return structure + np.log(max(across / found, 1e-6)) if table else structure
