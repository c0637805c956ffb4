"""A file of lines, for programs that follow it and rotate it (logrotate, Filebeat, a forwarder).

Before each batch the sink checks the file's path. If the file was renamed or removed, it starts a new one, so a rotation needs
no signal and no restart. A batch counts as delivered once the disk has all of it. A partial batch, as on a full disk, is
removed.
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
    """Appends to the file at `path`; creates its folder if it is missing.

    Programs that follow the file usually run as another user of the file's group. So the group may read it and others may not;
    the umask of the process can exclude the group, too.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._number: int | None = None

    def deliver(self, batch: Sequence[Message]) -> None:
        """Append the batch and wait until the disk has it."""
        try:
            number = self._open()
            fcntl.flock(number, fcntl.LOCK_EX)  # other workers on this machine write to it, too
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
