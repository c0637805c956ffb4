"""Which evaluations of calibration clients newcomers are compared with."""

import numpy as np

from detector.engine.features.row import NAMES
from detector.engine.fitting.drift import compared
from detector.engine.models.drift import MOST_COMPARED, RUNGS
from detector.engine.models.novelty import Evaluations


def everybody(clients: int) -> Evaluations:
    """Return the evaluations of clients at the first two rungs."""
    rows = np.random.default_rng(10).normal(size=(2 * clients, len(NAMES)))
    return Evaluations(np.tile(np.arange(clients), 2), np.repeat(RUNGS[:2], clients), rows)


def test_compared_looks_are_few() -> None:
    """Of a large calibration a limited number of clients is kept, at rungs only; of a small one, all."""
    many = everybody(MOST_COMPARED + 100)
    kept = compared(many)
    assert [np.count_nonzero(kept.queries == rung) for rung in RUNGS[:3]] == [MOST_COMPARED, MOST_COMPARED, 0]
    off = Evaluations(np.zeros(2, np.int64), np.array([8, 24]), np.zeros((2, len(NAMES))))
    assert compared(off).queries.tolist() == [8]
    assert len(compared(Evaluations(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, len(NAMES))))).rows) == 0
