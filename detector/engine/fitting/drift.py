"""Choosing the looks of calibration clients that newcomers are compared with."""

import numpy as np

from detector.engine.models.drift import MOST_COMPARED, RUNGS, TIE_SEED
from detector.engine.models.novelty import Looks


def compared(looks: Looks) -> Looks:
    """Return the looks that newcomers are compared with: those at rungs, of at most `MOST_COMPARED` clients each."""
    order = np.random.default_rng(TIE_SEED).permutation(int(looks.client.max(initial=-1)) + 1)
    chosen = np.zeros(len(looks.client), bool)
    for rung in RUNGS:
        here = np.flatnonzero(looks.queries == rung)
        chosen[here[np.argsort(order[looks.client[here]])[:MOST_COMPARED]]] = True
    return Looks(
        looks.client[chosen].astype(np.int64),
        looks.queries[chosen].astype(np.int64),
        looks.rows[chosen].astype(np.float32).astype(np.float64),
    )
