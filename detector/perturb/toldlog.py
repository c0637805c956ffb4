"""The log of what was told: marked answers as events of the native format, appended where they are made.

The model server logs before an answer is marked, so its log cannot say what the client was told; this one can. One line is one
answer. A line that the disk does not take is lost and counted: the answer goes out all the same, and proves nothing.
"""

import threading
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from detector import private
from detector.clock import Clock, SystemClock
from detector.contracts.moment import rfc3339
from detector.errors import ConfigError
from detector.perturb.record import answer_fields

if TYPE_CHECKING:
    from detector.perturb.marks import Marking

__all__ = ["ToldLog"]


class ToldLog:
    """Appends to a file that only its owner can read. Raises `ConfigError` where it cannot be opened."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        try:
            private.make_folder(path.parent)
            self._file: BinaryIO = private.append(path)
        except OSError as error:
            raise ConfigError(f"[ownership] told_log: cannot write {path}: {error.strerror or error}") from error

    def add(self, model: str, mode: str, marking: "Marking") -> bool:
        """Append the answers to a request, which a mode has perturbed as well; return whether that worked. Never raises."""
        try:
            time = rfc3339(self._clock.now_ms())
            lines = [self._event(model, time, mode, marking, at) for at in range(len(marking.answers))]
            with self._lock:
                self._file.write(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
                self._file.flush()
        except (OSError, ValueError, TypeError):
            return False
        return True

    def close(self) -> None:
        """Close the file; what is added after that is lost."""
        with self._lock, suppress(OSError):
            self._file.close()

    def _event(self, model: str, time: str, mode: str, marking: "Marking", at: int) -> dict[str, Any]:
        vector = [None if number != number else number for number in marking.inputs[at].tolist()]  # noqa: PLR0124  # NaN
        return {
            "event_id": uuid.uuid4().hex,
            "time": time,
            "client": {"id": marking.client},
            "model": {"id": model},
            "input": {"vector": vector},
            "output": _output(marking.originals[at], marking.answers[at], mode, marking),
        }


def _output(original: Sequence[float], told: Sequence[float], mode: str, marking: "Marking") -> dict[str, Any]:
    return {
        **answer_fields(told, None),
        "perturbed": {"mode": mode, "mark": marking.name._asdict()},
        "original": answer_fields(original, None),
    }
