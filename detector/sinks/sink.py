"""The protocol of sinks, which receive everything that is found in a log."""

from collections.abc import Iterable
from typing import Any, Protocol

from detector.contracts import Alert, DeadLetter, Decision


class Sink(Protocol):
    """Receives documents; see `detector.sinks`."""

    def alerts(self, alerts: Iterable[Alert]) -> None:
        """Take alerts."""

    def decisions(self, decisions: Iterable[Decision]) -> None:
        """Take decisions."""

    def dead_letters(self, dead_letters: Iterable[DeadLetter]) -> None:
        """Take dead letters."""

    def clients(self, clients: Iterable[dict[str, Any]]) -> None:
        """Take clients, in their state at the end or when they were forgotten."""
