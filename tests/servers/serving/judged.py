"""What the detector makes of a log that a real server wrote, beside what it makes of native events of the same queries."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detector.baseline.store import Baseline
from detector.config import Config, EngineSection, IngestSection
from detector.offline import replay as replaying

__all__ = ["Judged", "Query", "judged", "native"]


@dataclass(frozen=True, slots=True)
class Query:
    """A query as its client knows it: what was asked and answered; id and time are those that the server gave it."""

    event_id: str
    time_ms: int
    client: str
    vector: Sequence[float]
    label: Any = None
    probabilities: Sequence[float] | None = None
    more: dict[str, Any] = field(default_factory=dict)
    """Other fields of the event, over those that follow from the above; those of its client under ``client``."""

    def line(self, model: str) -> bytes:
        """Return the native event."""
        output = {"label": self.label, "probabilities": self.probabilities}
        known = {name: value for name, value in self.more.items() if name != "client"}
        event = {
            "event_id": self.event_id,
            "time": self.time_ms,
            "client": {"id": self.client, **self.more.get("client", {})},
            "model": {"id": model},
            "input": {"vector": list(self.vector)},
            "output": {name: value for name, value in output.items() if value is not None},
        }
        return json.dumps(event | known).encode()


@dataclass(frozen=True, slots=True)
class Judged:
    """Results of a replay: the files as they are, and what was refused."""

    alerts: bytes
    decisions: bytes
    clients: bytes
    dead_letters: list[dict[str, Any]]

    def of_clients(self) -> list[Any]:
        """Return the figures of each client, without what of its queries was refused."""
        found = map(json.loads, self.clients.splitlines())
        return [{name: value for name, value in client.items() if name != "refused"} for client in found]

    def decided(self) -> set[str]:
        """Return the clients that a decision is about."""
        return {json.loads(line)["subject"]["id"] for line in self.decisions.splitlines()}


def native(queries: Sequence[Query], model: str, path: Path) -> Path:
    """Write native events of queries into a file."""
    path.write_bytes(b"".join(query.line(model) + b"\n" for query in queries))
    return path


def judged(log: Path, out: Path, baseline: Baseline | None = None, **ingest: Any) -> Judged:
    """Replay a log, with ``[ingest]`` as given and the rest the same for all."""
    engine = EngineSection(seed=3, learning_events=64, naive_time_zone="Asia/Kolkata")
    replaying.replay([str(log)], out, Config(ingest=IngestSection(**ingest), engine=engine), baseline)
    return Judged(
        (out / "alerts.jsonl").read_bytes(),
        (out / "decisions.jsonl").read_bytes(),
        (out / "clients.jsonl").read_bytes(),
        [json.loads(line) for line in (out / "dead-letters.jsonl").read_bytes().splitlines()],
    )
