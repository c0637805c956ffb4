"""Conduct: how many of a client's queries could not be used, and how often it gives one id to different queries.

Neither count says what was asked, so neither may stop a client. But a client whose queries cannot be read is not watched, and a
client that gives all queries one id may pass new queries off as repeats. The operator is alerted when a client's count is far
above the population's.

Evaluations become rarer as a client asks more. Each compares the client's counts with the usual share: twice the share of an
average client in the latest evaluations, and at least what honest servers show. The evidence is the logarithm of an e-value:
the likelihood of the client's counts under any share (Jeffreys' mixture) over that under the usual share. A client that keeps
to the usual share ever reaches ln(1 / p) with a probability of at most p, however often it is evaluated (Ville's inequality;
Ramdas et al., 2023).

Late events are not counted: they may be repeats, and a repeat must change nothing.

Blind to: a population in which every client does the same. The metrics of the whole service show that.
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

WORSE = 2.0  # usual share as a multiple of the average client's share, since clients differ
LEAST_CLIENTS = 4  # least number of other clients whose average says what is usual
USUAL_ALONE = 0.5  # usual share with fewer others: a client with more than half of its queries refused is not watched
MEMORY = 256  # latest evaluations that the average is taken over
USUAL_REFUSED = 0.02
USUAL_REUSED = 0.01
FIRST = 8  # records of a client at its first evaluation
MOST = 65_535  # largest count of refused queries per reason, and of reused ids
QUESTIONS = (whole.REFUSED.name, whole.REUSED.name)


class Conduct(NamedTuple):
    """Per client: refused queries by reason, and ids that were used again; of each at most `MOST` are counted."""

    refused: Annotated[npt.NDArray[np.uint16], Column(len(REASONS))]
    reused: Annotated[npt.NDArray[np.uint16], Column()]


def nobody() -> npt.NDArray[np.float64]:
    """Return the population (4,) before the first client: clients, evaluations, mean shares refused and reused."""
    return np.zeros(4)


@kernel
def is_due(records):
    """Tell whether a client is evaluated at so many records, refused ones included: at 8, then after about an eighth more.

    >>> [n for n in range(200) if is_due(n)][:12], is_due(1024), is_due(1025)
    ([8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96], True, False)
    """
    step = FIRST
    while step * 16 <= records:
        step *= 2
    return records > 0 and records % step == 0


@kernel
def evidence(hits, records, usual):
    """Return the logarithm of the e-value of `hits` in `records` against the share `usual`; 0 where the hits are below it.

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
    """Return the usual share of refused queries (`question` 0) or of reused ids (`question` 1)."""
    return max(WORSE * population[2 + question], USUAL_REUSED if question else USUAL_REFUSED)


@kernel
def update_conduct(state, population, slot, admitted, refused, found):
    """Count each event for its client, in stream order.

    Fills `found` (n, 2, 4) where a client is evaluated and above the usual share: per question the evidence, the hits, the
    records they are counted in, and the usual share.
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
