"""One way to play published detectors, so that all of them see the same clients.

A detector is fitted on benign sessions and then watches clients, one `Watch` each. Whatever it computes is a score that
grows with suspicion, and it flags a client when a score is above its threshold: the one that was published, or the largest
score of benign calibration clients, which is how thresholds are calibrated here too. Nothing else is unified: how often a
score comes, what a window is and whether memory is shared between clients are as in each source.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from tests.quality.published import prada

Array: TypeAlias = npt.NDArray[np.float64]
Labels: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """One client's queries in their order: `vectors` (n, dimension) and `answers` (n, classes).

    Where a log holds labels only, the answers are zero but for a one at the label.
    """

    vectors: Array
    answers: Array
    client: str = ""

    @property
    def labels(self) -> Labels:
        """The class the model predicted for each query, (n,)."""
        return np.asarray(self.answers.argmax(axis=1), dtype=np.int64)


class Watch(Protocol):
    """A detector's memory of one client."""

    def observe(self, vector: Array, answer: Array) -> float | None:
        """Take the client's next query and the model's answer; return the new score, or None where none is due."""


class PublishedDetector(Protocol):
    """A published detector."""

    @property
    def threshold(self) -> float:
        """A client is flagged by a score above this, as published. ValueError where it follows from a fit not yet made."""

    def fit(self, sessions: Sequence[Session]) -> None:
        """Learn what the detector needs to know of benign traffic; a second fit replaces the first."""

    def watch(self) -> Watch:
        """Begin to watch a client. Raises ValueError where the detector needs a fit that has not been made."""


def scores(detector: PublishedDetector, session: Session) -> Array:
    """Watch one client and return the score after each query, (n,); NaN where the detector gives none."""
    watch = detector.watch()
    seen = [watch.observe(vector, answer) for vector, answer in zip(session.vectors, session.answers, strict=True)]
    return np.array([np.nan if score is None else score for score in seen], dtype=np.float64)


def calibrated(detector: PublishedDetector, sessions: Sequence[Session]) -> float:
    """The threshold that none of these benign clients passes: the largest score that any of them reaches.

    With m clients, exchangeable with the next, that one is flagged with a probability of at most 1 in m + 1. The clients
    must be others than those of the fit. Raises ValueError if none of them lasts long enough to get a score.
    """
    reached = [scores(detector, session) for session in sessions]
    known = [float(np.nanmax(seen)) for seen in reached if not np.isnan(seen).all()]
    if not known:
        raise ValueError("no calibration client got a score: there are none, or all are shorter than the detector's window")
    return max(known)


def flagged_at(seen: Array, threshold: float) -> int | None:
    """How many queries the client had sent when its score was first above the threshold; None if it never was.

    >>> flagged_at(np.array([np.nan, 0.1, 0.5, 0.2]), 0.3)
    3
    """
    above = np.flatnonzero(seen > threshold)
    return int(above[0]) + 1 if len(above) else None


class PradaDetector:
    """PRADA behind the common interface: the score is -W, and the published threshold -0.95 (MNIST).

    There is nothing to fit. The authors let a later test take the alarm back; a score above the threshold is an alarm at the
    time, which is what `flagged_at` asks for.
    """

    def __init__(self, delta: float = 0.95) -> None:
        """Flag when W is below `delta`."""
        self.threshold = -delta

    def fit(self, sessions: Sequence[Session]) -> None:
        """Learn nothing."""

    def watch(self) -> Watch:
        """Begin with an empty growing set."""
        return _PradaWatch(prada.Prada(-self.threshold))


class _PradaWatch:
    def __init__(self, client: prada.Prada) -> None:
        self._client = client

    def observe(self, vector: Array, answer: Array) -> float | None:
        verdict = self._client.observe(vector, int(np.argmax(answer)))
        return -verdict.w if verdict.tested and verdict.w is not None else None


def pooled(sessions: Sequence[Session]) -> tuple[Array, Labels]:
    """All queries of all sessions, (n, dimension), and their predicted classes, (n,); ValueError if there are none."""
    if not sum(len(session.vectors) for session in sessions):
        raise ValueError("there is no benign query to learn from")
    return np.concatenate([s.vectors for s in sessions]), np.concatenate([s.labels for s in sessions])
