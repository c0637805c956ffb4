"""Decisions from a file: the decisions.jsonl that `detector run LOG --out` and `detector replay` write.

A file that is replaced, cut short or rewritten belongs to another run, whose revisions begin anew: it is read from its
beginning, and what the former one said is forgotten.

Blind to: a file that is rewritten in place with the same first 4096 bytes and is not shorter.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from detector.clock import Clock
from detector.errors import SourceError
from detector.gate.shelf import Shelf
from detector.gate.store import Store

__all__ = ["FileSource"]

PAUSE_S: Final = 0.05  # each look costs the thread that answers a switch, 60 us of processor time where nothing is new
PIECE: Final = 1 << 20
HEAD: Final = 4096  # bytes that tell whether a file was rewritten
LONGEST: Final = 1 << 24  # bytes of one line


class FileSource:
    """Follows one file."""

    def __init__(self, file: Path, clock: Clock) -> None:
        """Follow `file`, which need not be there yet."""
        self._file = file
        self._clock = clock

    def follow(self, shelf: Shelf, tick: Callable[[], bool]) -> None:
        """Read the file, and what is appended to it, until `tick` returns True or the file is another one."""
        try:
            with self._file.open("rb") as file:
                self._read(_Growing(file), shelf, tick)
        except OSError as error:
            raise SourceError(f"{self._file}: cannot read the decisions: {error.strerror}") from error

    def _read(self, file: "_Growing", shelf: Shelf, tick: Callable[[], bool]) -> None:
        store, rest, complete, is_another = Store(), b"", False, False
        while not tick():
            piece = file.more()
            if piece is None:
                return
            if piece:
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    if line.strip():
                        shelf.take(store, None, line, self._clock.now_ms())
                if len(rest) > LONGEST:
                    raise SourceError(f"{self._file}: a line has more than {LONGEST:,} bytes: these are no decisions")
                continue
            if not complete:
                shelf.put(store)
                shelf.live = store.sweep(self._clock.now_ms())
                complete = True
            shelf.fresh()
            if is_another:
                return
            is_another = file.is_another(self._file)  # then it is read on once: it may have grown before it was moved
            if not is_another:
                time.sleep(PAUSE_S)


class _Growing:
    """A file that is read as it grows."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._read = 0
        self._head = b""
        self._changed = (0, 0)  # size and time of the last change, when the head was last compared

    def more(self) -> bytes | None:
        """Return what has been appended; None where the file was cut short or begins otherwise than it did."""
        now = os.fstat(self._file.fileno())
        if now.st_size < self._read:
            return None
        if (now.st_size, now.st_mtime_ns) != self._changed:
            if os.pread(self._file.fileno(), len(self._head), 0) != self._head:
                return None
            self._changed = now.st_size, now.st_mtime_ns
        if now.st_size == self._read:
            return b""
        piece = self._file.read(PIECE)
        self._read += len(piece)
        self._head = (self._head + piece[:HEAD])[:HEAD]
        return piece

    def is_another(self, path: Path) -> bool:
        """Return whether the path is another file by now, or none."""
        try:
            return not os.path.samestat(os.fstat(self._file.fileno()), path.stat())
        except FileNotFoundError:
            return True
