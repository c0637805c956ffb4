"""Kept: copies of what a memory retains of a client at one moment, for readings of the odometer.

A batch may hold several queries of one client after a reading is due. So the kernel of the memory copies at that very query
what the reading needs; the reading itself is done after the kernel.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.kernels import part
from detector.engine.memory.reservoir import Memory


class Kept(NamedTuple):
    """For each of m readings the first `held` (m,) places hold queries; see `Memory` for the others, (m, places) of each.

    `stored` (m,) queries were ever retained, and `turn` (m,) tells versions of the model apart; see `Metered`.
    """

    z: npt.NDArray[np.int16]
    c: npt.NDArray[np.uint8]
    label: npt.NDArray[np.int32]
    mark: npt.NDArray[np.uint8]
    margin: npt.NDArray[np.int16]
    held: npt.NDArray[np.int64]
    stored: npt.NDArray[np.int64]
    turn: npt.NDArray[np.uint8]


def room_for(memory: Memory, readings: int) -> Kept:
    """Return room for so many readings."""
    _, coordinates, places = memory.z.shape
    return Kept(
        z=np.empty((readings, places, coordinates), np.int16),
        c=np.empty((readings, places, memory.c.shape[2]), np.uint8),
        label=np.empty((readings, places), np.int32),
        mark=np.empty((readings, places), np.uint8),
        margin=np.empty((readings, places), np.int16),
        held=np.zeros(readings, np.int64),
        stored=np.zeros(readings, np.int64),
        turn=np.zeros(readings, np.uint8),
    )


@part
def keep(memory, metered, s, kept, row):
    """Copy what is retained of client `s`."""
    kept.turn[row] = metered.turn[s]
    held = np.int64(memory.held[s])
    kept.held[row] = held
    kept.stored[row] = memory.stored[s]
    for m in range(held):
        for k in range(memory.z.shape[1]):
            kept.z[row, m, k] = memory.z[s, k, m]
        for j in range(memory.c.shape[2]):
            kept.c[row, m, j] = memory.c[s, m, j]
        kept.label[row, m] = memory.label[s, m]
        kept.mark[row, m] = memory.mark[s, m]
        kept.margin[row, m] = memory.margin[s, m]
