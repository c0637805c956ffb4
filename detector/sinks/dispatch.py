"""Dispatch: the results of a run on this machine to every receiver, each with a courier of its own.

The run never waits for a receiver. When a courier's queue is full, or a receiver refuses a message, or at the end some are
left, the lines go to a file of the receiver's own, ``undelivered-<name>.jsonl``, as they would have been sent: nothing is lost,
and they can be sent by hand. The service on Kafka needs no such file; it reads its topics again (`detector.service.deliver`).
"""

import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from detector import private
from detector.contracts import Alert, DeadLetter, Decision
from detector.errors import OutputError
from detector.sinks.delivery import LAST_S, Courier, Refuse
from detector.sinks.message import Document, Message
from detector.sinks.receivers import Receiver

PATIENCE_S = 30.0


class Dispatch:
    """A sink that sends; use it besides the one that keeps the results (`detector.sinks.stream.Both`).

    `folder` is where lines go that were not delivered.
    """

    def __init__(self, receivers: Sequence[Receiver], folder: Path, *, capacity: int = 10_000) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._kept: dict[str, int] = {}
        self._failed: OutputError | None = None
        self._couriers = [
            (
                receiver,
                Courier(
                    receiver.name, receiver.open(), self._keeper(receiver.name), capacity=capacity, at_once=receiver.at_once
                ),
            )
            for receiver in receivers
        ]

    def _keeper(self, name: str) -> Refuse:
        return lambda message, _why: self._keep(name, [message])

    def _keep(self, name: str, messages: Sequence[Message]) -> None:
        """Write what is not delivered; a fault is raised in the thread of the run, when it next comes by."""
        if not messages:
            return
        path = self._folder / f"undelivered-{name}.jsonl"
        with self._lock:
            try:
                private.make_folder(self._folder)
                with private.append(path) as file:
                    file.writelines(message.body + b"\n" for message in messages)
            except OSError as error:
                self._failed = OutputError(f"cannot keep what was not delivered in {path}: {error.strerror or error}")
            self._kept[name] = self._kept.get(name, 0) + len(messages)

    def _send(self, documents: Iterable[Document]) -> None:
        for document in documents:
            for receiver, courier in self._couriers:
                message = receiver.written(document)
                if message is not None and not courier.put(message):
                    self._keep(receiver.name, [message])
        if self._failed is not None:
            raise self._failed

    def alerts(self, alerts: Iterable[Alert]) -> None:
        """Send alerts."""
        self._send(alerts)

    def decisions(self, decisions: Iterable[Decision]) -> None:
        """Send decisions."""
        self._send(decisions)

    def dead_letters(self, letters: Iterable[DeadLetter]) -> None:
        """Leave dead letters out."""

    def clients(self, clients: Iterable[dict[str, Any]]) -> None:
        """Leave clients out."""

    def close(self, patience_s: float = PATIENCE_S) -> list[str]:
        """Deliver what is queued, then stop; return one sentence per receiver that did not get everything.

        It returns soon after `patience_s`, whatever the receivers do.

        Raises `OutputError` when what was not delivered could not be kept either.
        """
        told = []
        until = time.monotonic() + patience_s  # for all of them: they deliver at the same time
        for receiver, courier in self._couriers:
            left_s = until - time.monotonic()
            self._keep(receiver.name, courier.close(max(left_s, 0.0), max(LAST_S + min(left_s, 0.0), 0.0)))
            if count := self._kept.get(receiver.name, 0):
                why = f" ({courier.trouble})" if courier.trouble else ""
                told.append(
                    f"delivery {receiver.name!r}: {count:,} not delivered{why}, "
                    f"kept in {self._folder / f'undelivered-{receiver.name}.jsonl'}"
                )
        if self._failed is not None:
            raise self._failed
        return told
