"""The decisions of the time of a log: a decisions.jsonl of `detector run` or `replay`, and the audit trail beside it.

Reading is as lenient as the gate's (`detector.gate.records`): what a gateway would have obeyed counts. All decisions are
kept in memory, about one kilobyte each.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from detector.contracts.moment import parse_rfc3339
from detector.decisions.file import audit_beside
from detector.errors import SourceError
from detector.gate.packing import FOREVER_MS
from detector.gate.records import Record, read_value

__all__ = ["Entry", "Trail", "read_trail"]

_LONGEST: Final = 1 << 24  # bytes of one line


class Entry(NamedTuple):
    """One decision: when it was made and by whom, and what the gate reads of it."""

    issued_ms: int
    record: Record
    decision_id: str
    origin: str
    actor: str | None
    policy: str | None

    @property
    def is_unlimited(self) -> bool:
        """Whether it holds until it is lifted."""
        return self.record.expires_ms == FOREVER_MS


class Trail(NamedTuple):
    """Decisions by time; `unreadable` lines hold none. `audited` are the ids in the audit trail, None where there is none."""

    path: Path
    entries: tuple[Entry, ...]
    unreadable: int
    audited: frozenset[str] | None


class _Said(msgspec.Struct):
    decision_id: str
    issued_at: str
    origin: str
    actor: str | None = None
    policy_version: str | None = None


class _Decided(msgspec.Struct):
    decision: _Said


class _Audit(msgspec.Struct):
    detector: _Decided


def read_trail(path: Path, audit: Path | None = None) -> Trail:
    """Read the decisions in `path`, and their audit trail, by default the file beside it.

    Raises `SourceError` where the decisions cannot be read, or the file holds lines and no decision.
    """
    entries, unreadable = [], 0
    decode = msgspec.json.Decoder(_Said).decode
    for line in _lines(path):
        record = read_value(line)
        try:
            said = decode(line)
            issued_ms = parse_rfc3339(said.issued_at)
        except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
            record = None
        if record is None:
            unreadable += 1
        else:
            actor = said.actor if said.actor and said.actor.strip() else None
            entries.append(Entry(issued_ms, record, said.decision_id, said.origin, actor, said.policy_version))
    if unreadable and not entries:
        raise SourceError(f"{path}: none of its {unreadable:,} lines is a decision; decisions.jsonl of a run is meant")
    entries.sort(key=lambda entry: entry.issued_ms)
    return Trail(path, tuple(entries), unreadable, _audited(audit or audit_beside(path)))


def _audited(path: Path) -> frozenset[str] | None:
    if not path.is_file():
        return None
    decode = msgspec.json.Decoder(_Audit).decode
    found = set()
    for line in _lines(path):
        try:
            found.add(decode(line).detector.decision.decision_id)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            continue
    return frozenset(found)


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while line := file.readline(_LONGEST):
                if line.strip():
                    yield line.strip()
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
