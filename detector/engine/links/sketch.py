"""Sketches: what a query shows of itself to the search for links between accounts, about 200 bytes each."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.ingest.batch import Sender


@dataclass(frozen=True, slots=True, eq=False)
class Sketches:
    """Fresh queries of one model, in stream order; every column has n entries.

    `sequence` is the place in the stream, `time` the event time in milliseconds. `account` are keys of accounts (see
    `engine.account`), `event_id` and `sender` as in the log. `z` (n, COORDINATES) and `c` (n, SAMPLED) are the reduced input,
    `total` and `weighed` its checksums (see `memory.checksums`), `content` a hash by which exact repeats are known. `label` is
    the code of the answer, `confidence` and `runner_up` the two largest probabilities, NaN where there are none. `perturbed` is
    as in `ingest.batch.Batch`.
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
    perturbed: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        """Return the number of queries."""
        return len(self.sequence)

    def take(self, rows: npt.NDArray[np.intp]) -> "Sketches":
        """Return the queries at `rows`, in that order."""
        taken: dict[str, Any] = {}
        for column in fields(self):
            values = getattr(self, column.name)
            if column.name != "model":
                taken[column.name] = values[rows] if isinstance(values, np.ndarray) else [values[i] for i in rows.tolist()]
        return Sketches(model=self.model, **taken)


def in_stream_order(parts: Sequence[Sketches]) -> dict[str, Sketches]:
    """Return sketches of any models and shards as one for each model, in stream order."""
    by_model: dict[str, list[Sketches]] = {}
    for part in parts:
        by_model.setdefault(part.model, []).append(part)
    return {model: _joined(some) for model, some in by_model.items()}


def _joined(parts: Sequence[Sketches]) -> Sketches:
    if len(parts) == 1 and (len(parts[0]) == 1 or bool(np.all(np.diff(parts[0].sequence) > 0))):
        return parts[0]
    columns: dict[str, Any] = {}
    for column in fields(parts[0]):
        values = [getattr(part, column.name) for part in parts]
        if column.name != "model":
            columns[column.name] = (
                np.concatenate(values) if isinstance(values[0], np.ndarray) else [one for some in values for one in some]
            )
    joined = Sketches(model=parts[0].model, **columns)
    return joined.take(np.argsort(joined.sequence, kind="stable"))
