"""Drawing: the sketches of a batch's queries, from what the kernels reduced them to."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from detector.engine.links.sketch import Sketches
from detector.engine.models.reference import Reduced
from detector.ingest.batch import Batch


def sketches_of(
    batch: Batch,
    rows: npt.NDArray[np.intp],
    accounts: Sequence[str],
    reduced: Reduced,
    contents: npt.NDArray[np.uint64],
) -> Sketches:
    """Return sketches of the events at `rows` of a batch, whose `accounts` are given; the other arguments are the batch's."""
    summed = len(reduced.sums) > 0
    sums = reduced.sums[rows] if summed else np.zeros((len(rows), 2), np.uint32)
    return Sketches(
        model=batch.model,
        sequence=batch.sequence[rows],
        time=batch.time[rows],
        account=list(accounts),
        event_id=[batch.event_id[i] for i in rows.tolist()],
        sender=[batch.sender[i] for i in rows.tolist()],
        version=[batch.version[i] for i in rows.tolist()],
        z=reduced.z[rows],
        c=reduced.c[rows],
        total=sums[:, 0].copy(),
        weighed=sums[:, 1].copy(),
        content=contents[rows],
        label=batch.label[rows],
        confidence=batch.confidence[rows],
        runner_up=batch.runner_up[rows],
        perturbed=batch.perturbed[rows],
    )
