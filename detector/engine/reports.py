"""Reports: the current state of clients, read from rows of their columns."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from detector.contracts.dead_letter import REASONS
from detector.engine.account import account_of
from detector.engine.evidence.accumulate import CHANNELS
from detector.engine.features.row import NAMES
from detector.engine.findings import Report, Unfamiliar
from detector.engine.memory.admission import evaluation_after
from detector.engine.models.novelty import Novelty
from detector.engine.odometer.meters import Meters
from detector.engine.policy import ALERT
from detector.engine.state import Columns


def _schedule() -> npt.NDArray[np.int64]:
    """Return the numbers of queries at which evaluations are scheduled, up to the most that are counted."""
    found = [int(evaluation_after(0))]
    while found[-1] < 2**32:
        found.append(int(evaluation_after(found[-1])))
    return np.array(found, np.int64)


EVALUATIONS = _schedule()
NOTHING_SHOWN = dict.fromkeys((*CHANNELS, "novelty"), 0.0)


def reports_of(
    columns: Columns,
    slots: npt.NDArray[np.int64],
    clients: Sequence[str],
    model: str,
    novelty: Novelty,
    emitted: int = -1,
    meters: Meters | None = None,
) -> Iterator[Report]:
    """Yield the reports of these `clients`, whose rows of `columns` are at `slots`.

    `novelty` knows who is unfamiliar, and `meters` what the odometer read, where it is read.

    Many clients may leave at once, and nearly all of them have no evidence. So a figure that none of them has is not looked up.
    """
    standing, conduct = columns.standing, columns.conduct
    peaks = columns.evidence.peak[slots]
    shown = peaks.any(axis=1) | (standing.novelty[slots] != 0)
    odd = conduct.refused[slots].any(axis=1)
    unfamiliar = _unfamiliar(columns, slots, novelty)
    figures = (columns.admission.queries[slots], standing.highest[slots], conduct.reused[slots], shown, odd)
    for i, (queries, highest, reused, evidence, refused) in enumerate(zip(*(f.tolist() for f in figures), strict=True)):
        account = account_of(clients[i])
        row = standing.row[slots[i]].tolist() if queries >= EVALUATIONS[0] else []
        yield Report(
            client=account.client,
            address=account.address,
            model=model,
            queries=queries,
            highest=highest,
            evidence=_evidence(peaks[i], float(standing.novelty[slots[i]])) if evidence else NOTHING_SHOWN,
            features={name: round(value, 4) for name, value in zip(NAMES, row, strict=False) if math.isfinite(value)},
            refused=_refused(conduct.refused[slots[i]]) if refused else {},
            reused=reused,
            unfamiliar=unfamiliar.get(i),
            emitted=emitted,
            odometer=None if meters is None else meters.reading(columns.metered, int(slots[i])),
        )


def evaluated_at(queries: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return how many queries clients had asked at their latest evaluation, 0 where they had none.

    >>> evaluated_at(np.array([7, 8, 23, 165])).tolist()
    [0, 8, 16, 157]
    """
    passed = np.searchsorted(EVALUATIONS, queries, side="right")
    return np.where(passed > 0, EVALUATIONS[np.maximum(passed - 1, 0)], 0)


def _unfamiliar(columns: Columns, slots: npt.NDArray[np.int64], novelty: Novelty) -> dict[int, Unfamiliar]:
    """Return who of the clients is unlike every known one, of those that were evaluated and not alerted on."""
    queries = evaluated_at(columns.admission.queries[slots].astype(np.int64))  # a row is compared with its own stage
    asked = np.flatnonzero((queries > 0) & (columns.standing.highest[slots] < ALERT))
    found = novelty.unfamiliar(columns.standing.row[slots[asked]].astype(np.float64), queries[asked])
    return {int(asked[i]): kind for i, kind in found.items()}


def _evidence(peaks: npt.NDArray[np.float32], novelty: float) -> dict[str, float]:
    found = {name: round(peak, 4) for name, peak in zip(CHANNELS, peaks.tolist(), strict=True)}
    return found | {"novelty": round(novelty, 4)}


def _refused(counts: npt.NDArray[np.uint16]) -> dict[str, int]:
    return {reason: count for reason, count in zip(REASONS, counts.tolist(), strict=True) if count}
