"""Conduct: how many of a client's queries could not be used, and how often it gives one id to different queries.

Neither says what was asked, so neither may stop anybody. But a client whose queries cannot be read is not watched, and one who
names all queries alike looks like a shipper that repeats itself; both are told to the operator when a client is out of line
with the population.

Each client's counts are compared, at evaluations that come as those of models do, with the usual share: twice what an average
client of the latest evaluations shows, and at least what honest servers show. The evidence is the logarithm of an e-value, the
likelihood of the client's counts under any share (Jeffreys' mixture) over that under the usual one; whoever keeps to the usual
share ever reaches ln(1 / p) with a probability of at most p, however often one looks (Ville's inequality; Ramdas et al., 2023).

Late events are counted and say nothing: they may be repeats, and a repeat must change nothing.

Blind to: a population whose every client does the same, which is for the state of the whole service to tell.
Innocent triggers: a client with a wrong schema, a load test that sends one request id.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.contracts.dead_letter import REASONS
from detector.features.admission import FRESH, LATE, REFUSED, look_after
from detector.kernels import kernel

WORSE = 2.0  # times the average client's share: clients differ, and only who is beyond them is out of line
LEAST_CLIENTS = 4  # others that must have been met before anybody can be out of line
MEMORY = 256  # evaluations that the average is taken over
USUAL_REFUSED = 0.02
USUAL_REUSED = 0.01
LATE_PLACE = REASONS.index("late")
QUESTIONS = ("refused", "reused")

LAYOUT = {
    "refused": ("u4", (len(REASONS),)),
    "reused": ("u4", ()),
    "records": ("u4", ()),
    "next_evaluation": ("u4", ()),
    "counted": ("u4", (3,)),
}


class Conduct(NamedTuple):
    """Per client: refused queries by reason, ids that were used again, records in all, and the counts last evaluated."""

    refused: npt.NDArray[np.uint32]
    reused: npt.NDArray[np.uint32]
    records: npt.NDArray[np.uint32]
    next_evaluation: npt.NDArray[np.uint32]
    counted: npt.NDArray[np.uint32]


def nobody() -> npt.NDArray[np.float64]:
    """Return the population (4,) before anybody was met: clients, evaluations, mean shares refused and reused."""
    return np.zeros(4)


@kernel
def evidence(hits, records, usual):
    """Return the logarithm of the e-value that `hits` of `records` speak against the share `usual`, 0 where they are fewer.

    >>> round(evidence(16, 16, 0.02), 1), evidence(1, 100, 0.02)
    (60.6, 0.0)
    """
    if usual >= 1.0 or hits <= usual * records:
        return 0.0
    others = records - hits
    mixture = math.lgamma(hits + 0.5) + math.lgamma(others + 0.5) - math.lgamma(records + 1.0) - math.log(math.pi)
    return max(mixture - hits * math.log(usual) - others * math.log(1.0 - usual), 0.0)


@kernel
def usual_share(population, question):
    """Return the share that a client may show: `question` 0 is of refused queries, 1 of ids used again."""
    return max(WORSE * population[2 + question], USUAL_REUSED if question else USUAL_REFUSED)


@kernel
def update_conduct(state, population, slot, admitted, refused, found):
    """Count each event for its client, in stream order.

    Fills `found` (n, 2, 4) where a client is evaluated and out of line: per question its evidence, the count and the records
    that speak for it, and the usual share.
    """
    for i in range(slot.shape[0]):
        verdict = admitted.verdict[i]
        s = slot[i]
        if verdict == LATE:
            state.refused[s, LATE_PLACE] += 1
        if verdict not in (FRESH, REFUSED):
            continue
        if verdict == REFUSED:
            state.refused[s, refused[i] - 1] += 1
        state.reused[s] += admitted.reused[i]
        state.records[s] += 1
        records = state.records[s]
        if records < max(state.next_evaluation[s], look_after(0)):
            continue
        state.next_evaluation[s] = look_after(records)
        others = population[0] - (1.0 if state.counted[s, 0] else 0.0)
        hits = (np.int64(state.refused[s].sum()) - np.int64(state.refused[s, LATE_PLACE]), np.int64(state.reused[s]))
        if state.counted[s, 0] == 0:
            population[0] += 1.0
        population[1] = min(population[1] + 1.0, MEMORY)
        since = float(records - state.counted[s, 0])
        for question in range(2):
            if others >= LEAST_CLIENTS:
                usual = usual_share(population, question)
                found[i, question, 0] = evidence(hits[question], records, usual)
                found[i, question, 1] = hits[question]
                found[i, question, 2] = records
                found[i, question, 3] = usual
            recent = float(hits[question] - state.counted[s, 1 + question]) / since
            population[2 + question] += (recent - population[2 + question]) / population[1]
            state.counted[s, 1 + question] = hits[question]
        state.counted[s, 0] = records
