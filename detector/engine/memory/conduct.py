"""Conduct: how many of a client's queries could not be used, and how often it gives one id to different queries.

Neither says what was asked, so neither may stop anybody. But a client whose queries cannot be read is not watched, and one who
names all queries alike looks like a shipper that repeats itself; both are told to the operator when a client is out of line
with the population.

Each client's counts are compared, at evaluations that become rarer as it asks more, with the usual share: twice what an average
client of the latest evaluations shows, and at least what honest servers show. The evidence is the logarithm of an e-value, the
likelihood of the client's counts under any share (Jeffreys' mixture) over that under the usual one. Whoever keeps to the usual
share ever reaches ln(1 / p) with a probability of at most p, however often one looks (Ville's inequality; Ramdas et al., 2023).

Late events are not counted: they may be repeats, and a repeat must change nothing.

Blind to: a population whose every client does the same, which is for the state of the whole service to tell.
Innocent triggers: a client with a wrong schema, a load test that sends one request id.
"""

import math
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.contracts.dead_letter import REASONS
from detector.engine.columns import Column
from detector.engine.evidence import whole
from detector.engine.kernels import kernel
from detector.engine.memory.admission import FRESH, REFUSED

WORSE = 2.0  # times the average client's share: clients differ, and only who is beyond them is out of line
LEAST_CLIENTS = 4  # others that must have been met before they say what is usual
USUAL_ALONE = 0.5  # before that: whoever has most of its queries refused is not watched, whatever others do
MEMORY = 256  # evaluations that the average is taken over
USUAL_REFUSED = 0.02
USUAL_REUSED = 0.01
FIRST = 8  # records of a client at its first evaluation
MOST = 65_535  # refused queries that are counted for each reason
QUESTIONS = (whole.REFUSED.name, whole.REUSED.name)


class Conduct(NamedTuple):
    """Per client: refused queries by reason, and ids that were used again; of each at most `MOST` are counted."""

    refused: Annotated[npt.NDArray[np.uint16], Column(len(REASONS))]
    reused: Annotated[npt.NDArray[np.uint16], Column()]


def nobody() -> npt.NDArray[np.float64]:
    """Return the population (4,) before anybody was met: clients, evaluations, mean shares refused and reused."""
    return np.zeros(4)


@kernel
def is_due(records):
    """Tell whether a client with so many records, refused ones included, is evaluated: at 8, and at every eighth more or so.

    >>> [n for n in range(200) if is_due(n)][:12], is_due(1024), is_due(1025)
    ([8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96], True, False)
    """
    step = FIRST
    while step * 16 <= records:
        step *= 2
    return records > 0 and records % step == 0


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
        if verdict not in (FRESH, REFUSED):
            continue
        s = slot[i]
        if verdict == REFUSED:
            reason = refused[i] - 1
            state.refused[s, reason] = min(state.refused[s, reason] + 1, MOST)
        elif admitted.reused[i]:
            state.reused[s] = min(state.reused[s] + 1, MOST)
        hits = (np.int64(state.refused[s].sum()), np.int64(state.reused[s]))
        records = admitted.position[i] + hits[0]
        if not is_due(records):
            continue
        others = population[0]
        if records == FIRST:
            population[0] += 1.0
        else:
            others -= 1.0
        population[1] = min(population[1] + 1.0, MEMORY)
        for question in range(2):
            usual = usual_share(population, question) if others >= LEAST_CLIENTS else USUAL_ALONE
            if hits[question]:
                found[i, question, 0] = evidence(hits[question], records, usual)
                found[i, question, 1] = hits[question]
                found[i, question, 2] = records
                found[i, question, 3] = usual
            population[2 + question] += (hits[question] / records - population[2 + question]) / population[1]
