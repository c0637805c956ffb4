"""The inputs of a delivery worker: entries, a place for dead letters, gauges, and its limits."""

from dataclasses import dataclass
from typing import Literal, Protocol

from detector.contracts.dead_letter import Reason
from detector.sinks.receiver import DeliveryRecord

Sent = Literal["delivered", "repeated", "refused"]


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A record to deliver, with its origin: a file and a line counted from 1, or a topic, partition and offset.

    `doubtful` says that this record, and those after it, may have been delivered before.
    """

    record: DeliveryRecord
    source: str
    number: int
    partition: int = 0
    key: bytes | None = None
    doubtful: bool = False


class DeadLetters(Protocol):
    """Keeps records that a receiver refuses for good; used by the worker's thread."""

    def put(self, entry: Entry, reason: Reason, detail: str) -> None:
        """Keep a record; an exception ends the worker."""

    def flush(self) -> None:
        """Return when everything put so far is kept; an exception ends the worker."""

    def close(self) -> None:
        """Close connections and files."""


class Gauges(Protocol):
    """Receives the figures of deliveries by name: `detector.service.telemetry.metrics.Metrics`, or a `Tally`."""

    def sent(self, sink: str, outcome: Sent, documents: int = 1) -> None:
        """Count documents."""

    def sink_up(self, sink: str, *, up: bool) -> None:
        """Note whether the last attempt went through."""

    def sending_again(self, sink: str) -> None:
        """Count an attempt that failed."""

    def sink_current(self, sink: str) -> None:
        """Note that the receiver has just accepted something."""


@dataclass(frozen=True, slots=True)
class Manner:
    """The limits of a worker: the size of its queue, its share of the CPU, and when it gives up.

    It gives up after `attempts` failures in a row that delivered nothing; None means never.
    """

    capacity: int = 10_000
    capacity_bytes: int = 64 * 1024 * 1024
    share: float = 1.0
    attempts: int | None = None


class Tally:
    """Counts the outcomes of deliveries where there are no metrics.

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
        """Do nothing."""

    def sending_again(self, sink: str) -> None:
        """Do nothing."""

    def sink_current(self, sink: str) -> None:
        """Do nothing."""
