"""Observers: they get what the engine computed for each query, for fitting, explanations and pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from detector.engine.findings import Reading
from detector.ingest.batch import Batch


class Observer(Protocol):
    """Gets what the engine computed, event by event; for fitting, explanations and pictures."""

    def observed(self, seen: "Seen") -> None:
        """Take in one pass over a part of a batch."""
        ...


@dataclass(frozen=True, slots=True)
class Seen:
    """One pass as an observer gets it: n events, of which `look_event` (evaluations,) were scheduled evaluations.

    `account` are the keys of the accounts (see `account`). `verdict` (n,) is 0 for fresh events. `queries` (n,) counts the
    client's queries. `peak` (n, channels) is the evidence so far, and `ratio` (n, channels) are the likelihood ratios of the
    event. `rows` (evaluations, features) and `score` (evaluations,) belong to the evaluations. `readings` are the highest
    readings of the odometer at the events where it was read.
    """

    batch: Batch
    verdict: npt.NDArray[np.uint8]
    queries: npt.NDArray[np.int64]
    ratio: npt.NDArray[np.float32]
    peak: npt.NDArray[np.float32]
    z: npt.NDArray[np.int16]
    look_event: npt.NDArray[np.intp]
    rows: npt.NDArray[np.float64]
    score: npt.NDArray[np.float64]
    account: Sequence[str]
    readings: Mapping[int, Reading] = field(default_factory=dict)
