"""Calibration: what the engine sees of clients that are believed, or known, to be innocent.

Their queries go through a table like any others, under bars that nobody minds; what is kept are their features at each look
and the highest evidence of each.
"""

import numpy as np
import numpy.typing as npt

from detector.engine.clients import ClientTable
from detector.engine.features.row import NAMES
from detector.engine.judge import Judge
from detector.engine.memory.admission import FRESH
from detector.engine.models.novelty import Looks, Novelty
from detector.engine.models.reference import Reference
from detector.engine.observer import Seen
from detector.engine.policy import thresholds_for
from detector.engine.shard import EngineSettings

UNBOUNDED = 2**31


class Calibration:
    """Collects the looks and the evidence of calibration clients while a table processes them."""

    def __init__(self) -> None:
        self._client: list[str] = []
        self._queries: list[int] = []
        self._rows: list[npt.NDArray[np.float64]] = []
        self._peaks: dict[str, npt.NDArray[np.float32]] = {}
        self.queries: dict[str, int] = {}

    def observed(self, seen: Seen) -> None:
        """Take one pass over a part of a batch."""
        for event, row in zip(seen.look_event.tolist(), seen.rows, strict=True):
            self._client.append(seen.account[event])
            self._queries.append(int(seen.queries[event]))
            self._rows.append(row)
        for event in np.flatnonzero(seen.verdict == FRESH).tolist():
            client = seen.account[event]
            self._peaks[client] = seen.peak[event]
            self.queries[client] = int(seen.queries[event])

    @property
    def names(self) -> list[str]:
        """The clients that had a look, in order."""
        return sorted(set(self._client))

    def looks(self) -> Looks:
        """Return the looks of all of them, numbered in the order of `names`."""
        number = {name: i for i, name in enumerate(self.names)}
        return Looks(
            np.array([number[name] for name in self._client], np.int64),
            np.array(self._queries, np.int64),
            np.array(self._rows, np.float64).reshape(-1, len(NAMES)),
        )

    def channel_scores(self) -> npt.NDArray[np.float64]:
        """Return the highest evidence (clients, channels) of each."""
        return np.array([self._peaks[name] for name in self.names], np.float64)


def calibrate(model: str, known: Reference, settings: EngineSettings, calibration: Calibration) -> ClientTable:
    """Return a table that tells `calibration` of all its clients and forgets nobody."""
    idle = Novelty(None)
    return ClientTable(
        model,
        known,
        idle,
        Judge(thresholds_for(settings.policy, None, None), settings.policy, idle),
        max_clients=UNBOUNDED,
        lateness_ms=settings.lateness_ms,
        observer=calibration,
        secret=settings.secret,
    )
