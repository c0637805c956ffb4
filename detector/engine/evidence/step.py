"""Step: the difference between a retained query and the new one, in the units that the channels compare."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.kernels import kernel

LEAST_LEVELS = 3  # least number of different values that make a grid
OWN_LEVEL = 0.85  # least ratio of a move to a client's level, and of the level to the move: both are rounded


class Asked(NamedTuple):
    """The new query of a client.

    `query` and `z` (coordinates,) are its projection, as 32-bit floats and as the memory's integers. `c` (samples,) are its
    sampled values. `margin` is the logarithm of the largest over the second largest probability, NaN where the log has none.
    `landmark` is the logarithm of the distance to the population's nearest landmark.
    """

    query: npt.NDArray[np.float32]
    z: npt.NDArray[np.int16]
    c: npt.NDArray[np.uint8]
    label: np.int32
    margin: np.float32
    landmark: np.float32


class Step(NamedTuple):
    """The step to the new query from the retained query at `place`, the nearest one.

    `distance` is its length in median nearest-neighbour distances and `length` its length in value ranges; both come from the
    projection. `delta` (measured,) is how far each sampled number moved, in value ranges. `start` (measured,) are the sampled
    numbers of the retained query. `changed` tells whether the label changed.
    """

    place: int
    distance: float
    length: float
    changed: bool
    delta: npt.NDArray[np.float32]
    start: npt.NDArray[np.uint8]


@kernel
def step_between(start, values, c_unit, delta):
    """Write the step from the sampled values of a retained query to those of the new one into `delta` (measured,).

    The values are integers. `c_unit` is the size of one integer step in value ranges, and `delta` is in value ranges.
    """
    for j in range(delta.shape[0]):
        delta[j] = (np.float32(values[j]) - np.float32(start[j])) * c_unit


@kernel
def least_gap(start, delta, rounding, share):
    """Return the least difference between two sampled values of ``start + share * step``, in roundings.

    It is infinite where there are fewer than `LEAST_LEVELS` different values, which make no grid.
    """
    least = np.inf
    levels = 0
    for j in range(delta.shape[0]):
        value = np.float64(start[j]) + share * delta[j] / rounding
        new = True
        for k in range(j):
            gap = abs(value - np.float64(start[k]) - share * delta[k] / rounding)
            if gap > 1.5:
                least = min(least, gap)
            else:
                new = False
        levels += new
    return least if levels >= LEAST_LEVELS else np.inf


@kernel
def is_own_level(start, delta, size, rounding):
    """Tell whether a move of `size` is one level of a grid on which both queries lie, as those of a coarse sensor do.

    Clients differ: some see 17 grey levels where others see 256, and what is flicker for the one is construction for the other.
    A step that was made leaves the grid of the query that it starts from. `start` (measured,) are the sampled numbers there, in
    units of `rounding`; `delta` (measured,) and `size` are in value ranges.
    """
    for share in range(2):
        level = least_gap(start, delta, rounding, share) * rounding
        if not OWN_LEVEL * level < size < level / OWN_LEVEL + rounding:
            return False
    return True


@kernel
def margin_of(confidence, runner_up):
    """Return the logarithm of the largest over the second largest probability; NaN where the log has no probabilities."""
    if np.isnan(confidence):
        return np.float32(np.nan)
    return np.log(max(confidence, np.float32(1e-6))) - np.log(max(runner_up, np.float32(1e-6)))
