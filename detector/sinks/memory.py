"""A sink in memory: what was found, as documents in lists."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from detector.contracts import Alert, DeadLetter, Decision, to_json


class MemorySink:
    """Keeps the documents in lists, as they came.

    `raised` alerts, `decided` decisions, `dead` dead-letter records, and `reported` clients (as they left, or at the end).
    """

    def __init__(self) -> None:
        """Start empty."""
        self.forget()

    def forget(self) -> None:
        """Start over with new lists; those that were handed out stay as they are."""
        self.raised: list[Alert] = []
        self.decided: list[Decision] = []
        self.dead: list[DeadLetter] = []
        self.reported: list[dict[str, Any]] = []

    def alerts(self, alerts: Iterable[Alert]) -> None:
        """Take alerts."""
        self.raised += alerts

    def decisions(self, decisions: Iterable[Decision]) -> None:
        """Take decisions."""
        self.decided += decisions

    def dead_letters(self, dead_letters: Iterable[DeadLetter]) -> None:
        """Take dead-letter records."""
        self.dead += dead_letters

    def clients(self, clients: Iterable[dict[str, Any]]) -> None:
        """Take clients."""
        self.reported += clients

    def written(self) -> Mapping[str, bytes]:
        """Return alerts, decisions and clients as the bytes that files would hold; equal runs give equal bytes."""
        return {
            "alerts": b"\n".join(map(to_json, self.raised)),
            "decisions": b"\n".join(map(to_json, self.decided)),
            "clients": b"\n".join(json.dumps(client, allow_nan=False).encode() for client in self.reported),
        }
