"""Step: the difference between a retained query and the new one, in the units that the channels compare."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.kernels import kernel


class Asked(NamedTuple):
    """The new query of a client.

    `query` and `z` (coordinates,) are its projection, as 32-bit floats and as the memory's integers. `c` (samples,) are its
    sampled values. `margin` is the logarithm of the largest over the second largest probability, NaN where the log has none.
    """

    query: npt.NDArray[np.float32]
    z: npt.NDArray[np.int16]
    c: npt.NDArray[np.uint8]
    label: np.int32
    margin: np.float32


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
def margin_of(confidence, runner_up):
    """Return the logarithm of the largest over the second largest probability; NaN where the log has no probabilities."""
    if np.isnan(confidence):
        return np.float32(np.nan)
    return np.log(max(confidence, np.float32(1e-6))) - np.log(max(runner_up, np.float32(1e-6)))
