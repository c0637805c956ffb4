"""Drawing: the sketches of a batch's queries, from what the kernels reduced them to."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from detector.engine.links.sketch import Sketches
from detector.engine.models.reference import Reduced
from detector.ingest.batch import Batch

V = TypeVar("V")
N = TypeVar("N", bound=np.generic)


def sketches_of(
    batch: Batch,
    rows: npt.NDArray[np.intp] | None,
    accounts: Sequence[str],
    reduced: Reduced,
    contents: npt.NDArray[np.uint64],
) -> Sketches:
    """Return sketches of the events at `rows` of a batch, None for all; the other arguments are those of the whole batch.

    They share no array with the arguments.
    """
    summed = len(reduced.sums) > 0
    n = len(batch) if rows is None else len(rows)
    return Sketches(
        model=batch.model,
        sequence=_of(batch.sequence, rows),
        time=_of(batch.time, rows),
        account=_among(accounts, rows),
        event_id=_among(batch.event_id, rows),
        sender=_among(batch.sender, rows),
        version=_among(batch.version, rows),
        z=_of(reduced.z, rows),
        c=_of(reduced.c, rows),
        total=_of(reduced.sums[:, 0], rows) if summed else np.zeros(n, np.uint32),
        weighed=_of(reduced.sums[:, 1], rows) if summed else np.zeros(n, np.uint32),
        content=_of(contents, rows),
        label=_of(batch.label, rows),
        confidence=_of(batch.confidence, rows),
        runner_up=_of(batch.runner_up, rows),
        perturbed=_of(batch.perturbed, rows),
    )


def _of(column: npt.NDArray[N], rows: npt.NDArray[np.intp] | None) -> npt.NDArray[N]:
    return column.copy() if rows is None else column[rows]


def _among(values: Sequence[V], rows: npt.NDArray[np.intp] | None) -> list[V]:
    return list(values) if rows is None else [values[i] for i in rows.tolist()]
