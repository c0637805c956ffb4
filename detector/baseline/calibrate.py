"""Calibration: what the engine measures of clients that are believed, or known, to be innocent.

A client table processes their queries like any others; its thresholds and decisions are ignored. Kept are the features of each
client at its scheduled evaluations, and its highest evidence per channel.
"""

import numpy as np
import numpy.typing as npt

from detector.engine.clients import ClientTable
from detector.engine.features.row import NAMES
from detector.engine.judge import Judge
from detector.engine.memory.admission import FRESH
from detector.engine.models.novelty import Evaluations, Novelty
from detector.engine.models.reference import Reference
from detector.engine.observer import Seen
from detector.engine.policy import thresholds_for
from detector.engine.shard import EngineSettings

UNBOUNDED = 2**31


class Calibration:
    """Collects the evaluations and the evidence of calibration clients while a client table processes them."""

    def __init__(self) -> None:
        self._client: list[str] = []
        self._queries: list[int] = []
        self._rows: list[npt.NDArray[np.float64]] = []
        self._peaks: dict[str, npt.NDArray[np.float32]] = {}
        self.queries: dict[str, int] = {}

    def observed(self, seen: Seen) -> None:
        """Take in one pass over a part of a batch."""
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
        """The clients that were evaluated, in the order of what they did.

        Folds and profiles follow this order, so what is learned does not depend on what clients are called. Clients that did
        alike stand side by side, so that every second one is like the others.
        """
        first: dict[str, tuple[float, ...]] = {}
        for name, row in zip(self._client, self._rows, strict=True):
            if name not in first:
                first[name] = tuple(np.nan_to_num(row, nan=-1.0).tolist())
        return sorted(first, key=lambda name: (first[name], name))

    def evaluations(self) -> Evaluations:
        """Return the evaluations of all clients, which are numbered in the order of `names`."""
        number = {name: i for i, name in enumerate(self.names)}
        return Evaluations(
            np.array([number[name] for name in self._client], np.int64),
            np.array(self._queries, np.int64),
            np.array(self._rows, np.float64).reshape(-1, len(NAMES)),
        )

    def channel_scores(self) -> npt.NDArray[np.float64]:
        """Return the highest evidence of each client, (clients, channels)."""
        return np.array([self._peaks[name] for name in self.names], np.float64)


def calibrate(model: str, known: Reference, settings: EngineSettings, calibration: Calibration) -> ClientTable:
    """Return a client table that `calibration` observes and that forgets no client."""
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
        links=True,
    )
