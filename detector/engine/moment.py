"""A moment in a client's stream that has to be judged, and the kinds of evidence that it may show."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from detector.engine.account import Account
from detector.engine.evidence.registry import EVIDENCE
from detector.engine.findings import Kind, Reading
from detector.engine.state import HARM, NOVELTY, PLACES, Columns
from detector.ingest.batch import Batch


@dataclass(frozen=True, slots=True)
class ConductEvidence:
    """A client's conduct is above the usual share: `question` says in what (`conduct.QUESTIONS`), `hits` of `records` show it.

    `evidence` is the logarithm of odds against the `usual` share.
    """

    question: int
    evidence: float
    hits: int
    records: int
    usual: float


@dataclass(frozen=True, slots=True)
class Moment:
    """One query of a client that has to be judged.

    `score` is set at scheduled evaluations, and `row` are the features at the latest one. `odds` are set where the client's
    conduct was evaluated and is above the usual share.
    """

    batch: Batch
    event: int
    slot: int
    queries: int
    peak: npt.NDArray[np.float32]
    channels: list[int]
    score: float | None
    odds: tuple[ConductEvidence, ...]
    row: npt.NDArray[np.float64]
    emitted: int

    def odd(self, place: int) -> ConductEvidence:
        """Return the evidence of conduct at a place behind novelty."""
        return next(odd for odd in self.odds if NOVELTY + 1 + odd.question == place)

    def asked(self, place: int) -> int:
        """Return how many queries a kind of evidence is based on: for conduct all records, refused ones included."""
        return self.odd(place).records if is_conduct(place) else self.queries


class Judged(Protocol):
    """The client table whose clients are judged, as far as the judge needs it."""

    model: str
    key: str
    columns: Columns

    def name(self, slot: int) -> str:
        """Return the key of the account at a slot."""
        ...

    def account(self, slot: int) -> Account:
        """Return the account at a slot."""
        ...

    def examples(self, slot: int, channel: int) -> tuple[str, ...]:
        """Return ids of the latest events that carried evidence in a channel."""
        ...

    def reading(self, slot: int) -> Reading | None:
        """Return the highest reading of the odometer, None where there is none."""
        ...

    @property
    def metered(self) -> bool:
        """Whether the odometer measures the model."""
        ...


def is_conduct(place: int) -> bool:
    """Tell whether a place is one of conduct: behind novelty, before harm."""
    return NOVELTY < place < HARM


def kind_of(place: int) -> Kind:
    """Return the kind of the evidence at a place: a channel, or novelty, conduct or harm behind them."""
    return EVIDENCE[PLACES[place]].kind
