"""Decisions from a file: the decisions.jsonl that `detector run LOG --out` and `detector replay` write.

A file that is replaced or cut short belongs to another run, whose revisions begin anew: it is read from its beginning, and what
the former one said is forgotten.
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
                self._read(file, shelf, tick)
        except OSError as error:
            raise SourceError(f"{self._file}: cannot read the decisions: {error.strerror}") from error

    def _read(self, file: BinaryIO, shelf: Shelf, tick: Callable[[], bool]) -> None:
        store, rest, complete = Store(), b"", False
        ours, read = os.fstat(file.fileno()), 0
        while not tick():
            there = self._file.stat()
            is_another = not os.path.samestat(ours, there)
            if (is_another or there.st_size > read) and (piece := file.read(PIECE)):
                read += len(piece)
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
            if is_another or there.st_size < read:
                return
            time.sleep(PAUSE_S)
