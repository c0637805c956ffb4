"""What a saved row of a client may hold: the compiled kernels check no bounds, so what they index with is checked before.

A row comes back from a topic. Whoever wrote it, no number in it may lead beyond an array, and no score may be one that never
compares: a NaN would pass every threshold or none. What else a row says is taken as it is.

A column's own range is declared with it. What depends on several columns is checked here: `held`, `newest` and `order` name
places of the memory; `order` does so only while all of a client's queries are retained.
"""

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from detector.engine.columns import Column
from detector.errors import SnapshotError


def check_rows(packed: npt.NDArray[Any], declared: Mapping[str, Column], held: int, most: int) -> None:
    """Raise `SnapshotError` where packed rows, all with `held` retained queries of `most`, hold what no kernel ever wrote."""
    for name, column in declared.items():
        values = packed[name]
        if column.within is None or not values.size:
            continue
        low, high = column.within
        if not (values.min() >= low and values.max() <= high):  # NaN spreads through both, and fails
            raise SnapshotError(f"the snapshot is not one of ours: {name} is outside of {low:g} to {high:g}")
    newest, stored, order = packed["Memory.newest"], packed["Memory.stored"], packed["Memory.order"]
    if (packed["Memory.held"] != held).any():
        raise SnapshotError("the snapshot is not one of ours: Memory.held is another number than its layout has")
    if (newest >= max(held, 1)).any():
        raise SnapshotError("the snapshot is not one of ours: Memory.newest names a place that is empty")
    # Until the memory is full all queries are held, and their orders are places in an array.
    if held < most and ((stored != held).any() or (order >= max(held, 1)).any()):
        raise SnapshotError("the snapshot is not one of ours: Memory.order counts beyond the queries that are held")
