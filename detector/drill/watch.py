"""What arrives about a client: alerts and decisions, as they are written to files."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from pydantic import ValidationError

from detector.contracts import Alert, Decision
from detector.contracts.decision import CLIENT_KINDS, Action
from detector.contracts.moment import parse_rfc3339
from detector.drill.plan import Step
from detector.errors import SourceError

__all__ = ["FileWatch", "Reader", "Sighting", "Watch", "read_alert", "read_decision"]

LONGEST: Final = 1 << 24  # bytes of one line


class Sighting(NamedTuple):
    """An alert or a decision: whom it is about, what it calls for, and what it says.

    `queries` is the client's query count by which an alert was raised, and `simulated` says that nothing is carried out.
    `time_ms` is the time of the query that raised an alert, or when a decision was made.
    """

    step: Step
    id: str
    clients: frozenset[str]
    action: Action
    told: str
    time_ms: int
    queries: int | None = None
    simulated: bool = False


Reader = Callable[[bytes], Sighting | None]


class Watch(Protocol):
    """A place where alerts or decisions arrive. Watching begins when it is made."""

    unreadable: int

    def poll(self) -> Sequence[Sighting]:
        """Return what has arrived since the last call, soon; raises `DetectorError` where the place cannot be read."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def read_alert(content: bytes) -> Sighting | None:
    """Read an alert; None where it is none."""
    try:
        alert = Alert.model_validate_json(content)
    except ValidationError:
        return None
    found = alert.detector
    clients = frozenset({alert.user.id, *(alert.related.user or ())})
    told = f"{alert.rule.id.removeprefix('extraction.')}, severity {alert.event.severity}"
    raised_ms = parse_rfc3339(alert.timestamp)
    return Sighting("alert", alert.event.id, clients, found.action, told, raised_ms, found.queries, found.shadow)


def read_decision(content: bytes) -> Sighting | None:
    """Read a decision; None where it is none, as what deletes one from a topic."""
    try:
        decision = Decision.model_validate_json(content)
    except ValidationError:
        return None
    clients = {member.id for member in decision.members or ()}
    if decision.subject.type in CLIENT_KINDS:
        clients.add(decision.subject.id)
    code = decision.reason.code.removeprefix("extraction.")
    told = decision.action if code == decision.action else f"{decision.action} ({code})"
    return Sighting(
        "decision",
        decision.decision_id,
        frozenset(clients),
        decision.action,
        told,
        decision.issued_ms,
        simulated=decision.simulated,
    )


class FileWatch:
    """Follows a file of JSON Lines from its present end; one that is not there yet is read from its beginning.

    A file that is replaced or cut short is read from its beginning, too. Blind to one that is rewritten and no shorter.
    """

    def __init__(self, path: Path, read: Reader) -> None:
        """Watch `path` from now on."""
        self.unreadable = 0
        self._path = path
        self._read = read
        self._rest = b""
        self._at, self._file = 0, (0, 0)
        if (found := self._status()) is not None:
            self._at, self._file = found.st_size, (found.st_dev, found.st_ino)

    def poll(self) -> Sequence[Sighting]:
        """Return what was appended since the last call; raises `SourceError`."""
        found = self._status()
        if found is None:
            return ()
        if (found.st_dev, found.st_ino) != self._file or found.st_size < self._at:
            self._at, self._file, self._rest = 0, (found.st_dev, found.st_ino), b""
        if found.st_size == self._at:
            return ()
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                piece = file.read(LONGEST)
        except OSError as error:
            raise self._failure(error) from error
        self._at += len(piece)
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > LONGEST:
            raise SourceError(f"{self._path}: a line of more than {LONGEST:,} bytes: this is no file of alerts or decisions")
        sightings = [self._read(line) for line in lines if line.strip()]
        self.unreadable += sightings.count(None)
        return [one for one in sightings if one is not None]

    def close(self) -> None:
        """Nothing is held open."""

    def _status(self) -> os.stat_result | None:
        try:
            return self._path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> SourceError:
        return SourceError(f"{self._path}: cannot be read: {error.strerror or error}")
