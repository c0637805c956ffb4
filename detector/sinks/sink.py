"""What a sink is: the taker of all that is found in a log."""

from collections.abc import Iterable
from typing import Any, Protocol

from detector.contracts import Alert, DeadLetter, Decision


class Sink(Protocol):
    """Takes the documents; see `detector.sinks`."""

    def alerts(self, alerts: Iterable[Alert]) -> None:
        """Take alerts."""

    def decisions(self, decisions: Iterable[Decision]) -> None:
        """Take decisions."""

    def dead_letters(self, dead_letters: Iterable[DeadLetter]) -> None:
        """Take dead letters."""

    def clients(self, clients: Iterable[dict[str, Any]]) -> None:
        """Take clients as they stand at the end, or as they were when they were forgotten."""
