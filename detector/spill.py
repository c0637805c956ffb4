"""A temporary file for the clients that had to make room in memory: the store that the engine is given for them."""

import os
import tempfile
from collections.abc import Callable, Iterator
from typing import BinaryIO

from detector.errors import OutputError

SLACK = 16 * 1024 * 1024  # bytes of the file that may lie idle beside as many as are in use


class SpillFile:
    """Keeps snapshots in a temporary file without a name, which only this process can read and which ends with it.

    The file is made when the first snapshot comes, where `TMPDIR` says. In memory remain about 200 bytes a client. What was
    taken leaves a gap; once more than half of the file is gaps, it is written anew.

    Raises `OutputError`, in every method, when the file cannot be made, written or read.
    """

    def __init__(self, make: Callable[[], BinaryIO] = tempfile.TemporaryFile, slack: int = SLACK) -> None:
        """Start with nothing; `make` opens an empty file for writing and reading, `slack` is how many bytes of gaps stay."""
        self._make = make
        self._slack = slack
        self._file: BinaryIO | None = None
        self._places: dict[tuple[str, str], tuple[int, int]] = {}  # offset and length
        self._used = 0
        self._end = 0

    def put(self, model: str, client: str, snapshot: bytes) -> None:
        """Keep the snapshot of a client."""
        self.drop(model, client)
        try:
            if self._file is None:
                self._file = self._make()
            elif self._end > 2 * self._used + self._slack:
                self._write_anew(self._file)
            _write(self._file, snapshot, self._end)
        except OSError as error:
            raise self._failure("kept", error) from error
        self._places[model, client] = (self._end, len(snapshot))
        self._end += len(snapshot)
        self._used += len(snapshot)

    def drop(self, model: str, client: str) -> None:
        """Keep the snapshot of a client no longer, if there is one."""
        _, length = self._places.pop((model, client), (0, 0))
        self._used -= length

    def take(self, model: str, client: str) -> bytes | None:
        """Return the snapshot of a client and keep it no longer."""
        if (model, client) not in self._places:
            return None
        snapshot = self.read(model, client)
        self.drop(model, client)
        return snapshot

    def read(self, model: str, client: str) -> bytes:
        """Return the snapshot of a client that is kept."""
        offset, length = self._places[model, client]
        assert self._file is not None  # noqa: S101  # there is a place in it
        try:
            return _read(self._file, offset, length)
        except OSError as error:
            raise self._failure("read", error) from error

    def clients(self, model: str) -> Iterator[str]:
        """Yield the clients of a model."""
        return (client for owner, client in self._places if owner == model)

    def __len__(self) -> int:
        return len(self._places)

    def _write_anew(self, old: BinaryIO) -> None:
        new, places, end = self._make(), {}, 0
        for key, (offset, length) in self._places.items():
            _write(new, _read(old, offset, length), end)
            places[key] = (end, length)
            end += length
        self._file, self._places, self._end = new, places, end
        old.close()

    def _failure(self, what: str, error: OSError) -> OutputError:
        return OutputError(
            f"clients that made room cannot be {what} in a temporary file: {error.strerror or error}; name a folder with more "
            "space in TMPDIR, or raise [engine] max_clients"
        )

    def __del__(self) -> None:
        if self._file is not None:
            self._file.close()


def _write(file: BinaryIO, data: bytes, offset: int) -> None:
    written = 0
    while written < len(data):
        written += os.pwrite(file.fileno(), data[written:], offset + written)


def _read(file: BinaryIO, offset: int, length: int) -> bytes:
    parts = []
    while length > 0:
        part = os.pread(file.fileno(), length, offset)
        if not part:
            raise OSError(0, "it has become shorter")
        parts.append(part)
        offset += len(part)
        length -= len(part)
    return b"".join(parts)
