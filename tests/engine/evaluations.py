"""Scheduled evaluations of made-up clients, for tests of novelty and of its fitting."""

import numpy as np

from detector.engine.features.row import NAMES
from detector.engine.models.novelty import Evaluations

FIRST = [8, 16, 24, 32, 48, 64, 71, 79]


def evaluations(clients: int, *, crowds: int = 1, seed: int = 0, missing: float = 0.0) -> Evaluations:
    """Return evaluations of clients in `crowds` groups that have little in common."""
    rng = np.random.default_rng(seed)
    client, queries, rows = [], [], []
    for i in range(clients):
        own = 3.0 * (i % crowds) + 0.3 * rng.normal(size=len(NAMES))
        for count in FIRST:
            row = own + 0.1 * rng.normal(size=len(NAMES))
            row[rng.random(len(NAMES)) < missing] = np.nan
            client.append(i)
            queries.append(count)
            rows.append(row)
    return Evaluations(np.array(client), np.array(queries), np.array(rows))
