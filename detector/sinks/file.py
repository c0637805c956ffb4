"""A file of lines, made for programs that read along and rename it from time to time (logrotate, Filebeat, a forwarder).

Before each batch the file is looked for under its name: when it was renamed or removed, a new one is begun, so nothing has to
be told or restarted. A batch is on the disk when it counts as delivered, whole or not at all: what a full disk left of it is
taken away again.
"""

import contextlib
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from detector.config import DeliverySection
from detector.errors import RetryableError
from detector.sinks.delivery import Delivery
from detector.sinks.formats import Format, encoder
from detector.sinks.message import Message
from detector.sinks.receiver import Receiver, SinkKind, rendered


class FileSection(DeliverySection):
    """A file of lines."""

    kind: Literal["file"] = Field("file", description="what takes it")
    format: Format = Field("native", description="how alerts and decisions are written")
    path: Path = Field(description="where lines are appended")


class LinesFile(Delivery):
    """Appends to the file at `path`; its folder is made where it is missing.

    What reads along usually runs as another user, of the file's group: the group may read what is made here, others may not,
    and the mask of the process can forbid the group, too.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._number: int | None = None

    def deliver(self, batch: Sequence[Message]) -> None:
        """Append the batch and wait until the disk has it."""
        try:
            number = self._open()
            fcntl.flock(number, fcntl.LOCK_EX)  # the other workers of this machine write to it, too
            before = os.fstat(number).st_size
            try:
                _write(number, b"".join(message.body + b"\n" for message in batch))
                os.fsync(number)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(number, before)
                raise
            finally:
                fcntl.flock(number, fcntl.LOCK_UN)
        except OSError as error:
            self.close()
            raise RetryableError(f"{self._path}: {error.strerror or error}") from error

    def _open(self) -> int:
        if self._number is not None:
            ours = os.fstat(self._number)
            try:
                there = self._path.stat()
            except FileNotFoundError:
                self.close()
            else:
                if (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino):
                    self.close()
        if self._number is None:
            self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._number = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        return self._number

    def close(self) -> None:
        """Close the file."""
        if self._number is not None:
            os.close(self._number)
            self._number = None


def _write(number: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(number, view) :]


def _build(section: FileSection) -> Receiver:
    return Receiver(section, rendered(encoder(section.format)), lambda: LinesFile(section.path))


SINK = SinkKind(FileSection, _build)
