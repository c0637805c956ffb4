"""Observing the engine: what it saw of each query, for fitting, explaining and pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from detector.ingest.batch import Batch


class Observer(Protocol):
    """Sees what the engine sees, event by event; for fitting, explaining and pictures."""

    def observed(self, seen: "Seen") -> None:
        """Take one pass over a part of a batch."""
        ...


@dataclass(frozen=True, slots=True)
class Seen:
    """One pass as an observer gets it; n events, of which `look_event` (looks,) were looks.

    `account` are the keys of the accounts (see `account`). `verdict` (n,) is 0 for fresh events; `queries` (n,)
    counts the client's queries; `peak` (n, channels) is the evidence so far; `ratio` (n, channels) the likelihood ratios of
    the event; `rows` (looks, features) and `score` (looks,) belong to the looks.
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
