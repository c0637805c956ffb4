"""Blocks of text -> numbered lines.

The work per line is one `bytes.split`. A line over the limit is cut to its beginning, so that memory stays bounded
whatever the text holds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from detector.ingest.batch import Origin

__all__ = ["BYTE_ORDER_MARK", "Chunk", "Cutter", "Damaged", "LineCutter", "Lines"]

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Damaged:
    """A record that cannot be given whole: longer than the limit, cut off by the end of the data, or broken.

    `record` holds its beginning, at most ``max_record_bytes`` of it.
    """

    line: int
    reason: Literal["oversized", "truncated", "encoding", "json", "schema"]
    detail: str
    record: bytes


class Lines(Protocol):
    """Lines in the order in which they are to be processed; `damaged`, where there is one, comes after them.

    ``len(lines)`` counts both, so it is what a counter of records grows by.
    """

    @property
    def lines(self) -> list[bytes]:
        """The lines, without their line ends."""

    @property
    def damaged(self) -> Damaged | None:
        """The record that comes after them and cannot be given whole."""

    def __len__(self) -> int:
        """Return the number of records, the damaged one included."""

    def origin(self, at: int) -> Origin:
        """Return where record `at` came from."""

    def part(self, start: int, stop: int) -> "Lines":
        """Return lines `start` to `stop`, and what is damaged if the last one is among them."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive records of one source: lines without their line ends, or objects and rows of a file of another form.

    `lines` are the lines numbered `first_line`, `first_line` + 1, and so on, or where `numbers` are given, the records that
    begin in those lines; `damaged`, where there is one, is what comes after them. ``len(chunk)`` counts both, so it is what a
    counter of records grows by.
    """

    source: str
    first_line: int
    lines: list[bytes]
    damaged: Damaged | None = None
    numbers: Sequence[int] | None = None

    def __len__(self) -> int:
        """Return the number of records, the damaged one included."""
        return len(self.lines) + (self.damaged is not None)

    def origin(self, at: int) -> Origin:
        """Return where record `at` came from."""
        if self.damaged is not None and at == len(self.lines):
            return Origin(self.source, self.damaged.line)
        return Origin(self.source, self.first_line + at if self.numbers is None else self.numbers[at])

    def part(self, start: int, stop: int) -> "Chunk":
        """Return lines `start` to `stop`, and what is damaged if the last one is among them."""
        damaged = self.damaged if stop >= len(self.lines) else None
        numbers = None if self.numbers is None else self.numbers[start:stop]
        return Chunk(self.source, self.first_line + start, self.lines[start:stop], damaged, numbers)


class Cutter(Protocol):
    """Cuts blocks of a log into records, whatever the form of the log. How the blocks are cut does not show in the records."""

    next_line: int

    def cut(self, block: bytes) -> Iterator[Chunk]:
        """Give the records that end within this block."""

    def finish(self) -> Iterator[Chunk]:
        """Give what is left at the end of the log."""

    def abandon(self, detail: str) -> Iterator[Chunk]:
        """Give what is left where the rest of the log is lost."""


class LineCutter:
    r"""Cuts blocks into lines, numbers them, and keeps the beginning of a line whose end has not come yet.

    One ``\r`` before a newline is dropped, and so is a byte order mark before the first line. How the text was cut into blocks
    shows in the chunks only, not in the lines.

    >>> cutter = LineCutter("log.jsonl", max_record_bytes=4)
    >>> [chunk.lines for chunk in cutter.cut(b"one\r\ntwo\nth")], [chunk.lines for chunk in cutter.finish()]
    ([[b'one', b'two']], [[b'th']])
    """

    def __init__(self, source: str, max_record_bytes: int) -> None:
        """Begin with line 1 of `source`."""
        self.source = source
        self.limit = max_record_bytes
        self.next_line = 1
        self.kept = bytearray()  # at most one byte over the limit: a carriage return does not count
        self.size = 0  # of the unfinished line, what is not kept included

    def cut(self, block: bytes) -> Iterator[Chunk]:
        """Give the lines that end within this block."""
        lines = block.split(b"\n")
        rest = lines.pop()
        if lines:
            self._keep(lines[0])
            lines[0] = bytes(self.kept)
            if self.size > self.limit + 1:
                yield self._oversized(self.size, lines.pop(0))
            self._forget()
            if b"\r" in block or (lines and lines[0].endswith(b"\r")):
                lines = [line.removesuffix(b"\r") for line in lines]
            yield from self._chunks(lines)
        self._keep(rest)

    def finish(self) -> Iterator[Chunk]:
        """Give what stands after the last newline as a line."""
        if self.size > self.limit + 1:
            yield self._oversized(self.size, bytes(self.kept))
        elif self.size:
            yield from self._chunks([bytes(self.kept).removesuffix(b"\r")])
        self._forget()

    def abandon(self, detail: str) -> Iterator[Chunk]:
        """Give what stands after the last newline as a line whose end is lost."""
        if self.size:
            yield self._damaged("truncated", detail, bytes(self.kept))
        self._forget()

    def _keep(self, part: bytes) -> None:
        self.kept += part[: self.limit + 1 - len(self.kept)]
        self.size += len(part)

    def _forget(self) -> None:
        self.kept.clear()
        self.size = 0

    def _chunks(self, lines: list[bytes]) -> Iterator[Chunk]:
        start = 0
        if lines and max(map(len, lines)) > self.limit:
            for i, line in enumerate(lines):
                if len(line) > self.limit:
                    yield from self._whole(lines[start:i])
                    yield self._oversized(len(line), line)
                    start = i + 1
        yield from self._whole(lines[start:] if start else lines)

    def _whole(self, lines: list[bytes]) -> Iterator[Chunk]:
        if lines:
            if self.next_line == 1:
                lines[0] = lines[0].removeprefix(BYTE_ORDER_MARK)
            self.next_line += len(lines)
            yield Chunk(self.source, self.next_line - len(lines), lines)

    def _oversized(self, size: int, beginning: bytes) -> Chunk:
        return self._damaged("oversized", f"{size} bytes, more than the limit of {self.limit}", beginning)

    def _damaged(self, reason: Literal["oversized", "truncated"], detail: str, beginning: bytes) -> Chunk:
        damaged = Damaged(self.next_line, reason, detail, beginning[: self.limit])
        self.next_line += 1
        return Chunk(self.source, damaged.line, [], damaged)
