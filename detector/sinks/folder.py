"""Results as files in a folder: JSON Lines for alerts, decisions, clients and dead letters, and one summary."""

import fcntl
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from detector import private
from detector.contracts import Alert, DeadLetter, Decision, to_json
from detector.decisions.file import begin
from detector.errors import OutputError

DECISIONS = "decisions.jsonl"
NAMES = ("alerts.jsonl", DECISIONS, "clients.jsonl", "dead-letters.jsonl")


class FolderSink:
    """Writes into `folder`, which it creates if missing; results of an earlier run there are replaced.

    Manual decisions are no results: they stay, before those of this run. Only the owner can read them.

    Raises `OutputError`, here and in every method, when the folder cannot be written or the disk is full.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, BinaryIO] = {}
        try:
            private.make_folder(folder)
            (folder / "summary.json").unlink(missing_ok=True)
            for name in NAMES:
                self._files[name] = begin(folder / name) if name == DECISIONS else private.create(folder / name)
        except OSError as error:
            self.close()
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> OutputError:
        return OutputError(f"cannot write results to {self.folder}: {error.strerror or error}")

    def _write(self, name: str, lines: Iterable[bytes]) -> None:
        try:
            self._files[name].writelines(line + b"\n" for line in lines)
        except OSError as error:
            raise self._failure(error) from error

    def alerts(self, alerts: Iterable[Alert]) -> None:
        """Append alerts."""
        self._write("alerts.jsonl", map(to_json, alerts))

    def decisions(self, decisions: Iterable[Decision]) -> None:
        """Append decisions: whole lines at once and under a lock, since people append theirs while a run goes on."""
        lines = b"".join(to_json(decision) + b"\n" for decision in decisions)
        file = self._files[DECISIONS]
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                file.write(lines)
                file.flush()
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)
        except OSError as error:
            raise self._failure(error) from error

    def dead_letters(self, dead_letters: Iterable[DeadLetter]) -> None:
        """Append dead letters."""
        self._write("dead-letters.jsonl", map(to_json, dead_letters))

    def clients(self, clients: Iterable[dict[str, Any]]) -> None:
        """Append clients."""
        self._write("clients.jsonl", (json.dumps(client, separators=(",", ":")).encode() for client in clients))

    def flush(self) -> None:
        """Flush everything to the operating system, so that others can read it."""
        try:
            for file in self._files.values():
                file.flush()
        except OSError as error:
            raise self._failure(error) from error

    def summary(self, summary: dict[str, Any]) -> None:
        """Write the summary atomically: its presence says that the results are complete."""
        target = self.folder / "summary.json"
        draft = target.with_suffix(".json.new")
        try:
            private.write(draft, (json.dumps(summary, indent=2) + "\n").encode())
            draft.replace(target)
        except OSError as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Close the files."""
        failed: OSError | None = None
        for file in self._files.values():
            try:
                file.close()
            except OSError as error:
                failed = error
        self._files = {}
        if failed is not None:
            raise self._failure(failed) from failed
