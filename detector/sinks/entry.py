"""What a delivery worker is fed with, and what it needs of whoever feeds it: entries, dead letters, figures, a manner."""

from dataclasses import dataclass
from typing import Literal, Protocol

from detector.contracts.dead_letter import Reason
from detector.sinks.receiver import DeliveryRecord

Sent = Literal["delivered", "repeated", "refused"]


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A record on its way, and where it came from: a file and a line counted from 1, or a topic, partition and offset.

    `doubtful` says that it, and what follows, may have been delivered before.
    """

    record: DeliveryRecord
    source: str
    number: int
    partition: int = 0
    key: bytes | None = None
    doubtful: bool = False


class DeadLetters(Protocol):
    """Where records go that a receiver will never take; used by the worker's thread."""

    def put(self, entry: Entry, reason: Reason, detail: str) -> None:
        """Keep a record; what it raises ends the worker."""

    def flush(self) -> None:
        """Return when all that was put is kept; what it raises ends the worker."""

    def close(self) -> None:
        """Let go of connections and files."""


class Gauges(Protocol):
    """Who is told how a delivery does, by its name: `detector.service.telemetry.metrics.Metrics`, or a `Tally`."""

    def sent(self, sink: str, outcome: Sent, documents: int = 1) -> None:
        """Count documents."""

    def sink_up(self, sink: str, *, up: bool) -> None:
        """Note whether the last attempt went through."""

    def sending_again(self, sink: str) -> None:
        """Count an attempt that failed."""

    def sink_current(self, sink: str) -> None:
        """Note that the receiver was given something just now."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a worker works: how much it takes in, which share of the time it may compute, and when it gives up.

    It gives up after so many `attempts` one after the other that got nothing through; None is never.
    """

    capacity: int = 10_000
    capacity_bytes: int = 64 * 1024 * 1024
    share: float = 1.0
    attempts: int | None = None


class Tally:
    """Counts what deliveries did, where nobody measures them.

    >>> tally = Tally()
    >>> tally.sent("siem", "delivered", 3)
    >>> tally.count("siem", "delivered"), tally.count("siem", "refused")
    (3, 0)
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[str, Sent], int] = {}

    def count(self, sink: str, outcome: Sent) -> int:
        """Return how many documents of a delivery came to an outcome."""
        return self._counts.get((sink, outcome), 0)

    def sent(self, sink: str, outcome: Sent, documents: int = 1) -> None:
        """Count documents; each delivery is one thread's."""
        self._counts[sink, outcome] = self.count(sink, outcome) + documents

    def sink_up(self, sink: str, *, up: bool) -> None:
        """Leave it out."""

    def sending_again(self, sink: str) -> None:
        """Leave it out."""

    def sink_current(self, sink: str) -> None:
        """Leave it out."""
