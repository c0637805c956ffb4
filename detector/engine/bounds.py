"""Bounds: checks on a client's saved row. The compiled kernels check no bounds, so their indexes are checked before.

A row is read back from a topic. Whoever wrote it, no number in it may index beyond an array, and no score may be NaN, which
would pass every threshold or none. All other content of a row is accepted.

A column declares its own range. Conditions on several columns are checked here: `held`, `newest` and `order` are places of the
memory, `order` only while all of a client's queries are retained.
"""

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from detector.engine.columns import Column
from detector.errors import SnapshotError


def check_rows(packed: npt.NDArray[Any], declared: Mapping[str, Column], held: int, most: int) -> None:
    """Raise `SnapshotError` for packed rows, with `held` of at most `most` retained queries, that no kernel has written."""
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
    # Until the memory is full all queries are retained, and their orders are places in an array.
    if held < most and ((stored != held).any() or (order >= max(held, 1)).any()):
        raise SnapshotError("the snapshot is not one of ours: Memory.order counts beyond the queries that are retained")
