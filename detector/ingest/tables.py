"""Blocks of text -> rows of a table with a header, each as a JSON object of texts by column name.

A row ends at a line end that is not within quotes. A row with more or fewer cells than the header is refused, because nobody
can say which cell belongs to which column.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from detector.ingest.lines import Chunk, Damaged

__all__ = ["RowCutter"]

_CLOSING: Final = re.compile(rb'(?:[^"]|"")*"(?!")')
MOST_READS: Final = 8
"""How often a line is read again because quotes before it were not closed: else a log of such lines takes quadratic time."""


class _Line(NamedTuple):
    content: bytes
    number: int
    reads: int


class RowCutter:
    r"""Cuts rows out of blocks; the same records whatever the blocks are.

    >>> cutter = RowCutter("log.csv", max_record_bytes=100, delimiter=",")
    >>> [chunk.lines for chunk in (*cutter.cut(b'id,note\ne1,"a\nb"\n'), *cutter.finish())]
    [[b'{"id":"e1","note":"a\\nb"}']]
    """

    def __init__(self, source: str, max_record_bytes: int, delimiter: str) -> None:
        """Begin with the header in line 1 of `source`."""
        self.source = source
        self.limit = max_record_bytes
        self.next_line = 1
        self._delimiter = delimiter
        self._opening = re.compile(rb"(?:^|(?<=[" + re.escape(delimiter.encode()) + rb']))"')
        self._names: Sequence[str] | None = None
        self._kept = bytearray()  # of the unfinished line, at most one byte over the limit
        self._size = 0
        self._row: list[_Line] = []  # the lines so far of a row that is within quotes
        self._row_size = 0
        self._found: list[bytes] = []
        self._numbers: list[int] = []

    def cut(self, block: bytes) -> Iterator[Chunk]:
        """Give the rows that end within this block."""
        lines = block.split(b"\n")
        rest = lines.pop()
        for line in lines:
            yield from self._line_ends(line)
        self._keep(rest)
        yield from self._flush()

    def finish(self) -> Iterator[Chunk]:
        """Give what stands after the last line end."""
        if self._size:
            yield from self._line_ends(b"")
        while self._row:
            yield from self._flush()
            first = self._row[0]
            yield self._damaged("schema", "the quotes of this row are not closed", first.content, first.number)
            yield from self._read(deque(self._again()))
        yield from self._flush()

    def abandon(self, detail: str) -> Iterator[Chunk]:
        """Give what stands after the last line end as a row whose end is lost."""
        yield from self._flush()
        rest = b"\n".join([*(line.content for line in self._row), bytes(self._kept)])
        if rest:
            yield self._damaged("truncated", detail, rest, self._row[0].number if self._row else self.next_line)
        self._row, self._size = [], 0
        self._kept.clear()

    def _keep(self, part: bytes) -> None:
        self._kept += part[: self.limit + 1 - len(self._kept)]
        self._size += len(part)

    def _line_ends(self, line: bytes) -> Iterator[Chunk]:
        if self._size:
            self._keep(line)
            line, size = bytes(self._kept), self._size
            self._kept.clear()
            self._size = 0
        else:
            size = len(line)
        number = self.next_line
        self.next_line += 1
        line = line.removesuffix(b"\r")
        if size > self.limit + 1 or len(line) > self.limit:
            yield from self._flush()
            yield self._damaged("oversized", f"{size} bytes, more than the limit of {self.limit}", line, number)
            return
        yield from self._read(deque([_Line(line, number, 0)]))

    def _read(self, waiting: deque[_Line]) -> Iterator[Chunk]:
        unclosed = f"quotes that are not closed within the limit of {self.limit} bytes"
        while waiting:
            line = waiting.popleft()
            if line.reads > MOST_READS:
                yield from self._flush()
                yield self._damaged("schema", unclosed, line.content, line.number)
                continue
            if not self._row and b'"' not in line.content:
                yield from self._row_ends([line])
                continue
            opened = self._is_open(line.content, within=bool(self._row))
            self._row.append(line)
            self._row_size += len(line.content) + 1
            if not opened:
                row, self._row, self._row_size = self._row, [], 0
                yield from self._row_ends(row)
            elif self._row_size > self.limit:
                yield from self._flush()
                first = self._row[0]
                yield self._damaged("schema", unclosed, first.content, first.number)
                waiting.extendleft(reversed(self._again()))

    def _is_open(self, line: bytes, *, within: bool) -> bool:
        """Tell whether the line ends within quotes: they open a cell at its beginning only."""
        place = 0
        while True:
            if within:
                closing = _CLOSING.match(line, place)
                if closing is None:
                    return True
                place = closing.end()
            opening = self._opening.search(line, place)
            if opening is None:
                return False
            place, within = opening.end(), True

    def _again(self) -> list[_Line]:
        """Drop the line that opened the quotes, and return those after it, to be read again."""
        lines, self._row, self._row_size = self._row[1:], [], 0
        return [line._replace(reads=line.reads + 1) for line in lines]

    def _row_ends(self, lines: list[_Line]) -> Iterator[Chunk]:
        number = lines[0].number
        raw = lines[0].content if len(lines) == 1 else b"\n".join(line.content for line in lines)
        if not raw.strip():
            return
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            detail = f"byte {error.start} of the row: 0x{raw[error.start]:02x} is not UTF-8 ({error.reason})"
            yield from self._refused("encoding", detail, raw, number)
            return
        try:
            cells = self._cells(text)
        except csv.Error as error:
            yield from self._refused("schema", f"no row of a table: {error}", raw, number)
            return
        if self._names is None:
            self._names = _unique(cells)
        elif len(cells) != len(self._names):
            detail = f"the row has {len(cells)} cells and the header {len(self._names)}"
            yield from self._refused("schema", detail, raw, number)
        else:
            record = msgspec.json.encode(dict(zip(self._names, cells, strict=True)))
            if len(record) > self.limit:
                detail = f"{len(record)} bytes as JSON, more than the limit of {self.limit}"
                yield from self._refused("oversized", detail, raw, number)
            else:
                self._found.append(record)
                self._numbers.append(number)

    def _cells(self, text: str) -> list[str]:
        if '"' not in text:
            return text.split(self._delimiter)
        rows = csv.reader([f"{line}\n" for line in text.split("\n")], delimiter=self._delimiter)
        return [cell for row in rows for cell in row]

    def _refused(
        self, reason: Literal["encoding", "schema", "oversized"], detail: str, raw: bytes, number: int
    ) -> Iterator[Chunk]:
        yield from self._flush()
        yield self._damaged(reason, detail, raw, number)

    def _flush(self) -> Iterator[Chunk]:
        if self._found:
            found, numbers = self._found, self._numbers
            self._found, self._numbers = [], []
            yield Chunk(self.source, numbers[0], found, None, numbers)

    def _damaged(
        self, reason: Literal["oversized", "truncated", "encoding", "schema"], detail: str, raw: bytes, number: int
    ) -> Chunk:
        return Chunk(self.source, number, [], Damaged(number, reason, detail, raw[: self.limit]))


def _unique(names: Sequence[str]) -> list[str]:
    """Return the names of columns, a repeated one with a number after it."""
    found: dict[str, None] = {}
    numbers: dict[str, int] = {}
    for name in (name.strip() for name in names):
        unique = name
        while unique in found:
            numbers[name] = numbers.get(name, 0) + 1
            unique = f"{name}.{numbers[name]}"
        found[unique] = None
    return list(found)
