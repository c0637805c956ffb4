"""Intake: what is done with a batch before the kernels of the families, between them and after them, in one call each.

A batch may hold one event. Then a dozen small steps in numpy would cost more than all that is computed for the event.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.evidence.accumulate import NOTHING, WORTH_NOTING
from detector.engine.kernels import kernel
from detector.engine.memory.admission import FRESH, LATE, REPEATED
from detector.engine.memory.metered import is_reading


class Given(NamedTuple):
    """The columns of a batch that kernels read, n entries each; see `ingest.batch.Batch`."""

    vector: npt.NDArray[np.float32]
    sequence: npt.NDArray[np.int64]
    time: npt.NDArray[np.int64]
    label: npt.NDArray[np.int32]
    confidence: npt.NDArray[np.float32]
    runner_up: npt.NDArray[np.float32]
    weight: npt.NDArray[np.float32]
    refused: npt.NDArray[np.uint8]
    digest: npt.NDArray[np.uint64]
    perturbed: npt.NDArray[np.uint8]


class Summary(NamedTuple):
    """How many events of a batch were `fresh`, `repeated` and `late`, and what has to be looked at one by one.

    That is whether any event may be evidence that is worth noting (`constructed`), whether the conduct of any client is above
    the usual share (`odd`), and whether any client asks for the first time on a day (`newly`).
    """

    fresh: int
    repeated: int
    late: int
    constructed: bool
    odd: bool
    newly: bool


@kernel
def begin(given, slot, seed, owner, content, told, place, admitted, conduct, ratio):
    """Make the arrays ready for `n` events of the clients at `slot`: nothing in them is of an earlier batch afterwards.

    `seed` (clients,) is the random number of each client, and `owner` (n,) receives that of each event. `content` (n,) becomes
    the digest of the record where a query was refused. `told` (n,) are the bits of `Memory.mark` that say what was told.
    """
    for i in range(slot.shape[0]):
        owner[i] = seed[slot[i]]
        if given.refused[i]:
            content[i] = given.digest[i]
        told[i] = (given.perturbed[i] & 3) << 2  # the bits `LABEL_TOLD` and `MISLED`
        place[i] = 0
        admitted.position[i] = 0
        admitted.evaluation[i] = False
        admitted.reused[i] = False
        conduct[i] = 0.0
        ratio[i] = NOTHING


@kernel
def schedule(admitted, metered, evaluation, reading, rows):
    """Give each scheduled evaluation a row of `rows`, all NaN, and each reading of the odometer its number; return how many.

    `evaluation` and `reading` (n,) are -1 where there is none. Nothing is read unless the model is `metered`.
    """
    evaluations = 0
    readings = 0
    for i in range(evaluation.shape[0]):
        evaluation[i] = -1
        reading[i] = -1
        if not admitted.evaluation[i]:
            continue
        evaluation[i] = evaluations
        rows[evaluations] = np.nan
        evaluations += 1
        if metered and is_reading(admitted.position[i]):
            reading[i] = readings
            readings += 1
    return evaluations, readings


@kernel
def summarise(time, slot, admitted, conduct, ratio, peak, latest, day_ms):
    """Return the fields of a `Summary`; `latest` (clients,) is the latest day of each client, and a day has `day_ms`."""
    fresh = 0
    repeated = 0
    late = 0
    constructed = False
    odd = False
    newly = False
    for i in range(slot.shape[0]):
        verdict = admitted.verdict[i]
        repeated += verdict == REPEATED
        late += verdict == LATE
        if verdict == FRESH:
            fresh += 1
            newly |= time[i] // day_ms > np.int64(latest[slot[i]])
        for question in range(conduct.shape[1]):
            odd |= conduct[i, question, 0] != 0.0
        for j in range(ratio.shape[1]):
            constructed |= ratio[i, j] > NOTHING and peak[i, j] >= WORTH_NOTING[j]
    return fresh, repeated, late, constructed, odd, newly
