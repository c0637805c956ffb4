"""Backfill: the results of a replay or run are delivered from their folder to the receivers.

It waits for the receivers, and gives up on one after five attempts in which it accepted nothing. Records that a receiver
refuses for good are written to ``dead-letters-<name>.jsonl`` in the folder, with the reason. Running it again delivers
everything again: Elasticsearch still has each document once, other receivers get repeats with the same ids.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from detector.errors import OutputError, SourceError
from detector.sinks.dispatch import FILES, DeadLetterFile, dead_letter_file
from detector.sinks.entry import Entry, Manner, Tally
from detector.sinks.message import Kind
from detector.sinks.receiver import DeliveryRecord, Receiver
from detector.sinks.worker import DeliveryWorker

ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Delivered:
    """How a delivery ended: documents accepted, documents there before, records refused for good, and records left.

    `trouble` is why records are left.
    """

    name: str
    delivered: int = 0
    repeated: int = 0
    refused: int = 0
    left: int = 0
    trouble: str | None = None

    @property
    def complete(self) -> bool:
        """Whether the receiver has everything."""
        return not self.refused and not self.left

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    def tell(self, folder: Path) -> str:
        """Return what was not delivered, as a sentence."""
        missing = [f"{self.left:,} not delivered ({self.trouble})"] if self.left else []
        if self.refused:
            missing.append(
                f"{self.refused:,} were not taken; they are in {dead_letter_file(folder, self.name)}, with the reason"
            )
        return f"delivery {self.name!r}: {'; '.join(missing)}"


@dataclass(frozen=True, slots=True)
class Backfilled:
    """How a folder was delivered: the lines read, and how each delivery ended."""

    lines: int
    deliveries: tuple[Delivered, ...]


def deliver_folder(
    folder: Path, receivers: Sequence[Receiver], tell: Callable[[int], None] = lambda _lines: None
) -> Backfilled:
    """Deliver the alerts and decisions of `folder` to every receiver; `tell` gets the number of lines read, every 100 lines.

    Raises `SourceError` when there are none, `OutputError` when refused lines cannot be kept.
    """
    present: list[Kind] = [kind for kind in ("alert", "decision") if (folder / FILES[kind]).is_file()]
    if not present:
        raise SourceError(f"{folder}: no results here: there is neither {' nor '.join(FILES.values())}")
    for receiver in receivers:
        _begin(dead_letter_file(folder, receiver.name))
    tally = Tally()
    manner = Manner(capacity=2000, capacity_bytes=16 * 1024 * 1024, attempts=ATTEMPTS)
    workers = [DeliveryWorker(each, DeadLetterFile(folder, each.name), tally, manner) for each in receivers]
    lines = 0
    missed = [0 for _ in workers]
    for entry in _entries(folder, present):
        lines += 1
        for number, worker in enumerate(workers):
            missed[number] += receivers[number].wants(entry.record.kind) and not worker.put(entry, wait=True)
            worker.finished()
        if lines % 100 == 0:
            tell(lines)
    tell(lines)
    done: list[Delivered] = []
    for number, worker in enumerate(workers):
        left = missed[number] + len(worker.close(None))
        if worker.failure is not None:
            raise worker.failure
        name = worker.name
        counts = (tally.count(name, "delivered"), tally.count(name, "repeated"), tally.count(name, "refused"))
        done.append(Delivered(name, *counts, left, worker.trouble))
    return Backfilled(lines, tuple(done))


def _begin(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error


def _entries(folder: Path, kinds: Sequence[Kind]) -> Iterator[Entry]:
    for kind in kinds:
        path = folder / FILES[kind]
        try:
            with path.open("rb") as file:
                for number, line in enumerate(file, start=1):
                    # In a file an empty line is an invalid record, not a tombstone as in a topic.
                    record = DeliveryRecord(kind, line.rstrip(b"\r\n") or b" ")
                    yield Entry(record, str(path), number, doubtful=True)
        except OSError as error:
            raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
