"""Events as columns: what ingest hands to the engine.

A `Batch` holds events of one model in the order of the stream. Numbers sit in arrays so that compiled kernels can pass over
the whole batch; the few strings stay Python lists and are looked at only when a client is new or an alert is written.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record came from: a file name (or ``-``) and its line, counted from 1."""

    source: str
    line: int


@dataclass(frozen=True, slots=True)
class Sender:
    """What a record says of its client beyond the id; goes into alerts, and decides whether a block is allowed."""

    type: str | None = None
    trusted: bool = True
    organization: str | None = None
    ip: str | None = None
    user_agent: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one model, in stream order; every column has n entries.

    `sequence` is the record's position in the whole stream, over all models, and orders the outputs.
    `label` is a 32-bit code of the predicted label (`label_code`), `confidence` and `runner_up` the two largest
    probabilities (NaN where the log holds labels only). `weight` is how many queries the event stands for (`sampled_rate`).
    `vector` is float32 of shape (n, dimension); all finite.
    """

    model: str
    sequence: npt.NDArray[np.int64]
    time: npt.NDArray[np.int64]
    client: Sequence[str]
    event_id: Sequence[str]
    vector: npt.NDArray[np.float32]
    label: npt.NDArray[np.int32]
    confidence: npt.NDArray[np.float32]
    runner_up: npt.NDArray[np.float32]
    weight: npt.NDArray[np.float32]
    sender: Sequence[Sender]
    version: Sequence[str | None]

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.sequence)

    def take(self, rows: npt.NDArray[np.intp]) -> "Batch":
        """Return the events at `rows`, in that order."""
        return Batch(
            model=self.model,
            sequence=self.sequence[rows],
            time=self.time[rows],
            client=[self.client[i] for i in rows],
            event_id=[self.event_id[i] for i in rows],
            vector=self.vector[rows],
            label=self.label[rows],
            confidence=self.confidence[rows],
            runner_up=self.runner_up[rows],
            weight=self.weight[rows],
            sender=[self.sender[i] for i in rows],
            version=[self.version[i] for i in rows],
        )
