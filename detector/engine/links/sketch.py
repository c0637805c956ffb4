"""Sketches: what a query shows of itself to the search for links between accounts, about 200 bytes each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detector.ingest.batch import Sender


@dataclass(frozen=True, slots=True, eq=False)
class Sketches:
    """Fresh queries of one model, in stream order; every column has n entries.

    `sequence` is the place in the stream, `time` the event time in milliseconds. `account` are keys of accounts (see
    `engine.account`), `event_id` and `sender` as in the log. `z` (n, COORDINATES) and `c` (n, SAMPLED) are the reduced input,
    `total` and `weighed` its checksums (see `memory.checksums`), `content` a hash by which exact repeats are known. `label` is
    the code of what the client was told, `confidence` and `runner_up` the two largest probabilities, NaN where not told.
    """

    model: str
    sequence: npt.NDArray[np.int64]
    time: npt.NDArray[np.int64]
    account: Sequence[str]
    event_id: Sequence[str]
    sender: Sequence[Sender]
    version: Sequence[str | None]
    z: npt.NDArray[np.int16]
    c: npt.NDArray[np.uint8]
    total: npt.NDArray[np.uint32]
    weighed: npt.NDArray[np.uint32]
    content: npt.NDArray[np.uint64]
    label: npt.NDArray[np.int32]
    confidence: npt.NDArray[np.float32]
    runner_up: npt.NDArray[np.float32]

    def __len__(self) -> int:
        """Return the number of queries."""
        return len(self.sequence)
