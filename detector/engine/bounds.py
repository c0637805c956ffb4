"""What a saved row of a client may hold: the compiled kernels check no bounds, so what they index with is checked before.

A row comes back from a topic. Whoever wrote it, no number in it may lead beyond an array, and no score may be one that never
compares: a NaN would pass every threshold or none. What else a row says is taken as it is.

Indices are checked by what the kernels do with them: `held`, `newest` and `label_places` name places, and so does `order` while
all of a client's queries are held.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detector.contracts.moment import LAST_MS
from detector.engine.features.coverage import LABELS
from detector.engine.memory.reservoir import ACCEPTED, USED
from detector.engine.policy import BLOCK
from detector.errors import SnapshotError

DEEPEST: Final = 250  # of a bisection, as the kernels count it
_TIME = (0, LAST_MS)
_PAST = (-LAST_MS, LAST_MS)  # a horizon lies before the first event

RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "Admission.first_ms": _TIME,
    "Admission.latest_ms": _TIME,
    "Admission.ahead_ms": _TIME,
    "Admission.block_ms": _PAST,
    "Admission.horizon_ms": _PAST,
    "Rate.rate_ms": _TIME,
    "Coverage.label_places": (0, LABELS - 1),
    "Memory.mark": (0, ACCEPTED | USED),
    "Memory.depth": (0, DEEPEST),
    "Evidence.score": (0, float(np.finfo(np.float32).max)),
    "Evidence.peak": (0, float(np.finfo(np.float32).max)),
    "Standing.reached": (0, BLOCK),
    "Standing.held": (0, BLOCK),
    "Standing.highest": (0, BLOCK),
    "Standing.held_until_ms": (0, 2 * LAST_MS),  # a decision may outlast the last moment
    "Standing.novelty": (-np.inf, np.inf),
}
"""Least and largest value by column; a NaN lies in no range."""


def check_rows(packed: npt.NDArray[Any], held: int, most: int) -> None:
    """Raise `SnapshotError` where packed rows, all with `held` anchors of `most`, hold what no kernel ever wrote."""
    for name, (low, high) in RANGES.items():
        values = packed[name]
        if values.size and not (values.min() >= low and values.max() <= high):  # NaN spreads through both, and fails
            raise SnapshotError(f"the snapshot is not one of ours: {name} is outside of {low:g} to {high:g}")
    newest, stored, order = packed["Memory.newest"], packed["Memory.stored"], packed["Memory.order"]
    if (packed["Memory.held"] != held).any():
        raise SnapshotError("the snapshot is not one of ours: Memory.held is another number than its layout has")
    if (newest >= max(held, 1)).any():
        raise SnapshotError("the snapshot is not one of ours: Memory.newest names a place that is empty")
    # Until the memory is full all queries are held, and their orders are places in an array.
    if held < most and ((stored != held).any() or (order >= max(held, 1)).any()):
        raise SnapshotError("the snapshot is not one of ours: Memory.order counts beyond the queries that are held")
