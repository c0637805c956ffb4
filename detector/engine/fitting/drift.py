"""Choosing the scheduled evaluations of calibration clients that newcomers are compared with."""

import numpy as np

from detector.engine.models.drift import MOST_COMPARED, RUNGS, TIE_SEED
from detector.engine.models.novelty import Evaluations


def compared(evaluations: Evaluations) -> Evaluations:
    """Return the evaluations that newcomers are compared with: at each rung those of at most `MOST_COMPARED` clients."""
    order = np.random.default_rng(TIE_SEED).permutation(int(evaluations.client.max(initial=-1)) + 1)
    chosen = np.zeros(len(evaluations.client), bool)
    for rung in RUNGS:
        here = np.flatnonzero(evaluations.queries == rung)
        chosen[here[np.argsort(order[evaluations.client[here]])[:MOST_COMPARED]]] = True
    return Evaluations(
        evaluations.client[chosen].astype(np.int64),
        evaluations.queries[chosen].astype(np.int64),
        evaluations.rows[chosen].astype(np.float32).astype(np.float64),
    )
