"""Decisions in a file of JSON Lines, for a set-up without Kafka; the audit trail is a file beside it.

`detector replay` and `detector run` on files write such a file, and a gateway's gate follows it. Lines are only appended, under
a lock, so several people and programs may write. A line that is not complete yet is left for the next look.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from detector import private
from detector.contracts import to_json
from detector.contracts.audit import Audit
from detector.contracts.decision import Decision
from detector.decisions.register import Register
from detector.errors import OutputError, SourceError

__all__ = ["DecisionFile", "audit_beside", "begin"]

LOOK_EVERY_S = 0.2


def audit_beside(path: Path) -> Path:
    """Return the audit trail's file for a decisions file.

    >>> audit_beside(Path("results/decisions.jsonl")).name
    'decisions.audit.jsonl'
    """
    return path.with_name(f"{path.stem}.audit.jsonl")


def begin(path: Path) -> BinaryIO:
    """Open a decisions file for a run that begins anew: what the detector decided before goes, what people decided stays.

    Lines that cannot be read go as well. Raises `OSError`.
    """
    if not path.is_file():
        return private.append(path)
    with path.open("rb") as former:
        fcntl.flock(former, fcntl.LOCK_EX)  # a person who decides now waits, and appends behind what is kept
        kept = [line.strip() + b"\n" for line in former if _is_of_a_person(line)]
        with private.create(path) as file:
            file.write(b"".join(kept))
    return private.append(path)


def _is_of_a_person(line: bytes) -> bool:
    try:
        found = msgspec.json.decode(line, type=_Origin)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return found.origin == "manual"


class _Origin(msgspec.Struct):
    origin: str


class DecisionFile:
    """The decisions in `path`, and their audit trail in `audit`. See `DecisionLog`."""

    def __init__(self, path: Path, audit: Path) -> None:
        self._path = path
        self._audit = audit

    def register(self) -> Register:
        """Read the file; one that is not there yet holds nothing. Raises `SourceError` where it cannot be read."""
        register = Register()
        try:
            with self._path.open("rb") as file:
                for line in file:
                    if line.strip():
                        register.take(line.strip())
        except FileNotFoundError:
            pass
        except OSError as error:
            raise SourceError(f"{self._path}: cannot read the decisions: {error.strerror or error}") from error
        return register

    def add(self, decision: Decision, trail: Audit) -> bool:
        """Append under a lock, the audit record first. Raises `OutputError` where the disk does not take it."""
        try:
            private.make_folder(self._path.parent)
            with private.append(self._path) as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed
                held = {entry.key: entry.revision for entry in self.register()}
                if held.get(decision.key, 0) >= decision.revision:
                    return False
                self.note(trail)
                _append(file, to_json(decision) + b"\n", torn=_torn(self._path))
        except OSError as error:
            raise OutputError(f"{self._path}: cannot write the decision: {error.strerror or error}") from error
        return True

    def note(self, trail: Audit) -> None:
        """Append to the audit trail. Raises `OutputError` where the disk does not take it."""
        try:
            private.make_folder(self._audit.parent)
            with private.append(self._audit) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                _append(file, to_json(trail) + b"\n", torn=_torn(self._audit))
        except OSError as error:
            raise OutputError(f"{self._audit}: cannot write the audit trail: {error.strerror or error}") from error

    def records(self, *, beginning: bool, stop: Callable[[], bool]) -> Iterator[tuple[str | None, bytes | None]]:
        """Follow the file, also where it is made or replaced later. Raises `SourceError` where it cannot be read."""
        at, number, first = 0, None, True
        try:
            while not stop():
                try:
                    with self._path.open("rb") as file:
                        there = os.fstat(file.fileno())
                        if number != there.st_ino or there.st_size < at:
                            at, number = 0 if beginning or not first else there.st_size, there.st_ino
                        file.seek(at)
                        for line in file:
                            if not line.endswith(b"\n"):
                                break
                            at += len(line)
                            if line.strip():
                                yield None, line.strip()
                except FileNotFoundError:
                    number = None
                first = False
                time.sleep(LOOK_EVERY_S)
        except OSError as error:
            raise SourceError(f"{self._path}: cannot read the decisions: {error.strerror or error}") from error


def _torn(path: Path) -> bool:
    """Tell whether the last line lacks its end, as after a crash."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if not size:
            return False
        file.seek(size - 1)
        return file.read(1) != b"\n"


def _append(file: BinaryIO, line: bytes, *, torn: bool) -> None:
    file.write(b"\n" + line if torn else line)
    file.flush()
    os.fsync(file.fileno())
