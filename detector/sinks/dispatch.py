"""Dispatch: the results of a local run are sent to every receiver, each with its own delivery worker.

The run never waits for a receiver. When a worker's queue is full, or records are left at the end, their lines are written to
``undelivered-<name>.jsonl`` in the form they would have been sent: nothing is lost, and they can be sent manually. Records that
a receiver refuses for good go to ``dead-letters-<name>.jsonl``, with the reason. The service on Kafka needs no such files,
since its topics keep everything (`detector.service.deliver`).
"""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from detector import private
from detector.contracts import Alert, DeadLetter, Decision, to_json
from detector.contracts.dead_letter import Reason
from detector.errors import DeliveryError, OutputError
from detector.sinks.entry import Entry, Manner, Tally
from detector.sinks.message import Document
from detector.sinks.receiver import DeliveryRecord, Receiver
from detector.sinks.worker import LAST_S, DeliveryWorker

PATIENCE_S = 30.0
FILES = {"alert": "alerts.jsonl", "decision": "decisions.jsonl"}
"""The file of each kind of record in a folder of results."""


def dead_letter_file(folder: Path, name: str) -> Path:
    """Return the file of what a delivery's receiver refuses for good."""
    return folder / f"dead-letters-{name}.jsonl"


def _undelivered_file(folder: Path, name: str) -> Path:
    return folder / f"undelivered-{name}.jsonl"


class DeadLetterFile:
    """Keeps what one receiver refuses for good, as dead-letter records in ``dead-letters-<name>.jsonl``."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = dead_letter_file(folder, name)

    def put(self, entry: Entry, reason: Reason, detail: str) -> None:
        """Append a record; raises `OutputError` when the file cannot be written."""
        dead_letter = DeadLetter.of(entry.source, entry.number, reason, detail, entry.record.data)
        append(self._path, [to_json(dead_letter)])

    def flush(self) -> None:
        """Do nothing: `put` has written everything."""

    def close(self) -> None:
        """Do nothing: no file is open."""


def append(path: Path, lines: Iterable[bytes]) -> None:
    """Append lines to a file that only its owner can read; raises `OutputError` when it cannot be written."""
    try:
        private.make_folder(path.parent)
        with private.append(path) as file:
            file.writelines(line + b"\n" for line in lines)
    except OSError as error:
        raise OutputError(f"cannot keep what was not delivered in {path}: {error.strerror or error}") from error


class Dispatch:
    """A sink that delivers; use it together with one that keeps the results (`detector.sinks.stream.Both`).

    `folder` gets the lines that were not delivered.
    """

    def __init__(self, receivers: Sequence[Receiver], folder: Path, *, capacity: int = 10_000) -> None:
        self._folder = folder
        self._kept: dict[str, int] = {}
        self._closed: set[str] = set()
        self._tally = Tally()
        self._numbers = {"alert": 0, "decision": 0}
        self._workers = [
            (each, DeliveryWorker(each, DeadLetterFile(folder, each.name), self._tally, Manner(capacity=capacity)))
            for each in receivers
        ]

    def _keep(self, receiver: Receiver, entries: Iterable[Entry]) -> None:
        """Write undelivered entries to their file."""
        lines: list[bytes] = []
        for entry in entries:
            try:
                message = receiver.message(entry.record)
            except DeliveryError:
                message = None
            if message is not None:
                lines.append(message.body)
        if lines:
            append(_undelivered_file(self._folder, receiver.name), lines)
            self._kept[receiver.name] = self._kept.get(receiver.name, 0) + len(lines)

    def _send(self, documents: Iterable[Document]) -> None:
        for document in documents:
            record = DeliveryRecord.of(document)
            self._numbers[record.kind] += 1
            entry = Entry(record, FILES[record.kind], self._numbers[record.kind])
            for receiver, worker in self._workers:
                if not worker.put(entry):
                    self._keep(receiver, [entry])
                worker.finished()
                if worker.failure is not None:
                    raise worker.failure

    def alerts(self, alerts: Iterable[Alert]) -> None:
        """Send alerts."""
        self._send(alerts)

    def decisions(self, decisions: Iterable[Decision]) -> None:
        """Send decisions."""
        self._send(decisions)

    def dead_letters(self, dead_letters: Iterable[DeadLetter]) -> None:
        """Leave dead letters out."""

    def clients(self, clients: Iterable[dict[str, Any]]) -> None:
        """Leave clients out."""

    def close(self, patience_s: float = PATIENCE_S) -> list[str]:
        """Deliver the queued entries, then stop; return one sentence per receiver that did not get everything.

        It returns soon after `patience_s`, whatever the receivers do. Where it is interrupted, it can be called again.

        Raises `OutputError` when what was not delivered could not be kept either.
        """
        sentences = []
        failed: Exception | None = None
        until = time.monotonic() + patience_s  # one deadline for all workers, which deliver in parallel
        for receiver, worker in self._workers:
            left_s = until - time.monotonic()
            left = worker.close(max(left_s, 0.0), max(LAST_S + min(left_s, 0.0), 0.0))
            if receiver.name not in self._closed:
                self._closed.add(receiver.name)
                try:
                    self._keep(receiver, left)
                except OutputError as error:
                    failed = error
            failed = failed or worker.failure
            sentences += self._sentences(worker)
        if failed is not None:
            raise failed
        return sentences

    def _sentences(self, worker: DeliveryWorker) -> list[str]:
        name = worker.name
        sentences = []
        if count := self._kept.get(name, 0):
            why = f" ({worker.trouble})" if worker.trouble else ""
            sentences.append(
                f"delivery {name!r}: {count:,} not delivered{why}, kept in {_undelivered_file(self._folder, name)}"
            )
        if count := self._tally.count(name, "refused"):
            sentences.append(
                f"delivery {name!r}: {count:,} refused for good, kept with the reason in {dead_letter_file(self._folder, name)}"
            )
        return sentences
