"""Parked clients: suspects that had to make room, kept outside memory until they ask again.

A cohort hands over the whole snapshot of a suspect that leaves, and takes it back before that client's next query is
processed, so nothing of what is found depends on who was parked. The engine does no I/O: it is given a store. `InMemory` is
the default, which bounds the rows of a cohort but not the memory; `SpillFile` keeps the snapshots in a temporary file.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol

from detector.errors import OutputError

SLACK = 16 * 1024 * 1024  # bytes of the file that may lie idle beside as many as are in use


class Parked(Protocol):
    """Keeps the snapshots of clients by model and client; `len` is how many."""

    def put(self, model: str, client: str, snapshot: bytes) -> None:
        """Keep the snapshot of a client, instead of one that is kept already."""

    def take(self, model: str, client: str) -> bytes | None:
        """Return the snapshot of a client and keep it no longer; None where there is none."""

    def read(self, model: str, client: str) -> bytes:
        """Return the snapshot of a client that is kept; raises KeyError where there is none."""

    def clients(self, model: str) -> Iterator[str]:
        """Yield the clients of a model, in no particular order."""

    def __len__(self) -> int: ...


class InMemory:
    """Keeps snapshots in memory.

    >>> store = InMemory()
    >>> store.put("model", "client", b"snapshot")
    >>> store.take("model", "client"), store.take("model", "client"), len(store)
    (b'snapshot', None, 0)
    """

    def __init__(self) -> None:
        """Start with nothing."""
        self._kept: dict[tuple[str, str], bytes] = {}

    def put(self, model: str, client: str, snapshot: bytes) -> None:
        """Keep the snapshot of a client."""
        self._kept[model, client] = snapshot

    def take(self, model: str, client: str) -> bytes | None:
        """Return the snapshot of a client and keep it no longer."""
        return self._kept.pop((model, client), None)

    def read(self, model: str, client: str) -> bytes:
        """Return the snapshot of a client that is kept."""
        return self._kept[model, client]

    def clients(self, model: str) -> Iterator[str]:
        """Yield the clients of a model."""
        return (client for owner, client in self._kept if owner == model)

    def __len__(self) -> int:
        return len(self._kept)


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
