"""Events as columns: what ingest hands to the engine.

A `Batch` holds events of one model in the order of the stream. Numbers sit in arrays so that compiled kernels can pass over
the whole batch; the few strings stay Python lists and are looked at only when a client is new or an alert is written.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.contracts.dead_letter import REASONS, Reason

LABEL_ALONE, LABEL_CHANGED = 1, 2  # values of `Batch.perturbed`


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record came from: a file name (or ``-``) and its line, counted from 1.

    `index` tells the events of one record apart, counted from 0.
    """

    source: str
    line: int
    index: int = 0


@dataclass(frozen=True, slots=True)
class Sender:
    """What a record says of its client beyond the id; goes into alerts, and decides whether a block is allowed.

    `trusted` is None where the record does not say; the policy decides then.
    """

    type: str | None = None
    trusted: bool | None = None
    organization: str | None = None
    ip: str | None = None
    user_agent: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one model, in stream order; every column has n entries.

    `sequence` is the record's position in the whole stream, over all models, and orders the outputs.
    `label` is a 32-bit code of the predicted label (`label_code`), `confidence` and `runner_up` the two largest
    probabilities (NaN where the log holds labels only). `weight` is how many queries the event stands for (`sampled_rate`).
    `vector` is float32 of shape (n, dimension), NaN where a value is missing.

    A query that could not be used is an event, too, so that it counts for its client: `refused` (n,) is 0 for a usable query
    and else one more than the reason's place in `REASONS`. Its numbers mean nothing; `digest` (n,), of its record, tells a
    repeat of it from another. Refused queries of unknown length come in a batch of dimension 0.

    `perturbed` (n,) is not 0 where the client was told something else than the model said: `LABEL_ALONE` where the label is
    right and no more than that can be relied on, `LABEL_CHANGED` where it was told another label. The label and the
    probabilities are then the model's own where the log has them, and the probabilities NaN where it has not. Left out, no
    event is.

    `told` is there only where the assembler was asked for it: the probabilities that each response gave, as packed float64. The
    label and the two largest probabilities are then also those that the client was told.
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
    refused: npt.NDArray[np.uint8]
    digest: npt.NDArray[np.uint64]
    perturbed: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    told: Sequence[bytes] | None = None

    def __post_init__(self) -> None:
        """Fill in what was left out."""
        if len(self.perturbed) != len(self.sequence):
            object.__setattr__(self, "perturbed", np.zeros(len(self.sequence), np.uint8))

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
            refused=self.refused[rows],
            digest=self.digest[rows],
            perturbed=self.perturbed[rows],
            told=None if self.told is None else [self.told[i] for i in rows],
        )

    def unperturbed(self) -> "Batch":
        """Return the events whose answers were the model's own: only they may teach what is usual."""
        return self if not self.perturbed.any() else self.take(np.flatnonzero(self.perturbed == 0))

    def refuse(self, rows: npt.NDArray[np.bool_], code: int, digest: npt.NDArray[np.uint64]) -> "Batch":
        """Return the batch with the events at `rows` (n,) refused for a reason; `digest` (n,) tells them apart."""
        return replace(
            self,
            vector=np.where(rows[:, None], np.float32(0.0), self.vector),
            refused=np.where(rows, np.uint8(code), self.refused),
            digest=np.where(rows, digest, self.digest),
        )


def code_of(reason: Reason) -> int:
    """Return the code of a reason in `Batch.refused`.

    >>> code_of("encoding"), code_of("schema")
    (1, 3)
    """
    return REASONS.index(reason) + 1


def usable(batches: Sequence[Batch]) -> list[Batch]:
    """Return the batches that hold inputs, of those that ingest made; the others are of refused queries."""
    return [batch for batch in batches if batch.vector.shape[1]]


def join(batches: Sequence[Batch]) -> Batch:
    """Return batches of one model and dimension as one, in stream order; batches of dimension 0 may be among them."""
    if len(batches) == 1:
        return batches[0]
    dimension = max(batch.vector.shape[1] for batch in batches)
    vectors = [
        batch.vector if batch.vector.shape[1] == dimension else np.zeros((len(batch), dimension), np.float32)
        for batch in batches
    ]
    joined: dict[str, Any] = {
        column.name: np.concatenate([getattr(batch, column.name) for batch in batches])
        if isinstance(getattr(batches[0], column.name), np.ndarray)
        else [value for batch in batches for value in getattr(batch, column.name)]
        for column in fields(Batch)
        if column.name not in {"model", "vector", "told"}
    }
    whole = Batch(model=batches[0].model, vector=np.concatenate(vectors), **joined)
    return whole.take(np.argsort(whole.sequence, kind="stable"))
