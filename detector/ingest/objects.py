"""Blocks of text -> JSON values: a file that is one array, or objects one after the other with or without line ends.

Each value at the top, or in the array at the top, is a record, with the line in which it begins. The text is read as a stream.
"""

import re
from collections.abc import Iterator
from typing import Final

from detector.ingest.containers import read_text
from detector.ingest.lines import Chunk, Damaged

__all__ = ["ObjectCutter"]

_BETWEEN: Final = re.compile(r"[\s,]*")
_TOKEN: Final = re.compile(r'["{}\[\]]')
_STRING_END: Final = re.compile(r'(?:[^"\\]|\\.)*"', re.DOTALL)
_FIRST_KEY: Final = re.compile(r'\{\s{0,64}"[^"\\]{0,100}"')
_PATIENT: Final = 1 << 16  # characters of an unfinished value that are read again whenever more comes
_TAIL: Final = 512  # characters: what may begin the next record where text is skipped


class ObjectCutter:
    """Cuts values out of blocks; the same records whatever the blocks are.

    A broken value is one damaged record, up to where it breaks. Reading goes on where the next one seems to begin: as the
    broken one did, on a line of its own with the same indent, or with the same first key.

    >>> cutter = ObjectCutter("log.json", max_record_bytes=100)
    >>> [chunk.lines for chunk in (*cutter.cut(b'[{"a": 1}, {"a"'), *cutter.cut(b': 2}]'), *cutter.finish())]
    [[b'{"a": 1}'], [b'{"a": 2}']]
    """

    def __init__(self, source: str, max_record_bytes: int, *, array: bool = True) -> None:
        """Begin with line 1 of `source`; `array` says that an array at the top holds the records and is none itself."""
        self.source = source
        self.limit = max_record_bytes
        self.next_line = 1
        self._array = array
        self._open = False
        self._text = ""
        self._at = 0
        self._line = 1  # in which `_at` stands
        self._tried = 0  # length of the unfinished value when it was last read
        self._indent: str | None = ""  # of what stands before `_at` in its line; None where that is more than spaces
        self._skipping: _Skip | None = None
        self._sought: re.Pattern[str] | None = None
        self._found: list[bytes] = []
        self._numbers: list[int] = []

    def cut(self, block: bytes) -> Iterator[Chunk]:
        """Give the values that end within this block."""
        self._text = self._text[self._at :] + block.decode("latin-1")
        self._at = 0
        yield from self._read(ended=False)

    def finish(self) -> Iterator[Chunk]:
        """Give what is left."""
        yield from self._end("the file ends within this record")

    def abandon(self, detail: str) -> Iterator[Chunk]:
        """Give what is left as a record whose end is lost."""
        yield from self._end(detail)

    def _end(self, detail: str) -> Iterator[Chunk]:
        yield from self._read(ended=True)
        if self._skipping is not None:
            yield self._oversized(self._skipping)
        elif self._sought is None and self._text[self._at :].strip():
            yield self._damaged("truncated", detail, self._text[self._at :])
        self._text, self._at, self._skipping, self._sought = "", 0, None, None

    def _read(self, *, ended: bool) -> Iterator[Chunk]:
        while True:
            if self._skipping is not None:
                end = self._skipping.skip(self._text, self._at)
                self._advance(len(self._text) if end is None else end)
                if end is None:
                    break
                yield self._oversized(self._skipping)
                self._skipping = None
            if self._sought is not None and not self._seek():
                break
            if not self._next_value():
                break
            text, start = self._text, self._at
            size = len(text) - start
            if not ended and size > _PATIENT and size <= self.limit and size < self._tried * 1.5:
                break
            value = read_text(text, start)
            if value.kind == "whole" and (value.end < len(text) or ended or text[start] in '{["'):
                self._tried = 0
                if value.end - start > self.limit:
                    yield from self._flush()
                    yield self._damaged("oversized", self._too_large(value.end - start), text[start : value.end])
                else:
                    self._found.append(text[start : value.end].encode("latin-1"))
                    self._numbers.append(self._line)
                self._advance(value.end)
            elif min(value.end, len(text)) - start > self.limit or (size > self.limit and value.kind != "broken"):
                yield from self._flush()
                self._skipping = _Skip(text[start : start + self.limit], self._line)
            elif value.kind == "broken" or (ended and not value.in_string and value.end < len(text)):
                yield from self._flush()
                self._begin_seeking(start)
                yield self._damaged("json", value.error or "cut off within a value", text[start : value.end + 1])
                self._advance(start + 1)
            else:
                self._tried = size
                break
        yield from self._flush()

    def _next_value(self) -> bool:
        """Go on to where the next value begins, over what stands between values and around them."""
        while True:
            found = _BETWEEN.match(self._text, self._at)
            self._advance(found.end() if found else self._at)
            if self._at == len(self._text):
                return False
            mark = self._text[self._at]
            if not self._array or mark != ("]" if self._open else "["):
                return True
            self._open = not self._open
            self._advance(self._at + 1)

    def _begin_seeking(self, start: int) -> None:
        if self._indent is not None:
            self._sought = re.compile(r"\n" + re.escape(self._indent) + r"(?=[{\[])")
            return
        key = _FIRST_KEY.match(self._text, start)
        opening = r"\{" if key is None else r"\{\s{0,64}" + re.escape(key.group()[1:].lstrip())
        self._sought = re.compile(f"(?={opening})")

    def _seek(self) -> bool:
        found = None if self._sought is None else self._sought.search(self._text, self._at)
        if found is None:
            self._advance(max(self._at, len(self._text) - _TAIL))
            return False
        self._advance(found.end())
        self._sought = None
        return True

    def _advance(self, to: int) -> None:
        newlines = self._text.count("\n", self._at, to)
        self._line += newlines
        since = self._text[max(self._at, self._text.rfind("\n", self._at, to) + 1) : to][: _TAIL + 1]
        before = "" if newlines else self._indent
        spaces = before is not None and not since.strip() and len(before) + len(since) <= _TAIL // 2
        self._indent = f"{before}{since}" if spaces else None
        self._at = to

    def _flush(self) -> Iterator[Chunk]:
        if self._found:
            found, numbers = self._found, self._numbers
            self._found, self._numbers = [], []
            self.next_line = numbers[-1] + 1
            yield Chunk(self.source, numbers[0], found, None, numbers)

    def _too_large(self, size: int) -> str:
        return f"{size} bytes, more than the limit of {self.limit}"

    def _oversized(self, skip: "_Skip") -> Chunk:
        return self._damaged("oversized", self._too_large(skip.size), skip.beginning, skip.line)

    def _damaged(self, reason: str, detail: str, beginning: str, line: int | None = None) -> Chunk:
        line = self._line if line is None else line
        self.next_line = line + 1
        kept = beginning[: self.limit].encode("latin-1")
        return Chunk(self.source, line, [], Damaged(line, reason, detail, kept))  # type: ignore[arg-type]


class _Skip:
    """Finds the end of a value that is too large to be kept, by its brackets and strings."""

    def __init__(self, beginning: str, line: int) -> None:
        self.beginning = beginning
        self.line = line
        self.size = 0
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def skip(self, text: str, at: int) -> int | None:
        """Return the place after the value, None where it does not end in `text`."""
        place = at
        while True:
            if self._in_string:
                ended = self._string_end(text, place)
                if ended is None:
                    break
                place = ended
                self._in_string = False
                if not self._depth:
                    return self._ended(at, place)
            token = _TOKEN.search(text, place)
            if token is None:
                break
            place = token.end()
            if token.group() == '"':
                self._in_string = True
            else:
                self._depth += 1 if token.group() in "{[" else -1
                if self._depth <= 0:
                    return self._ended(at, place)
        self.size += len(text) - at
        return None

    def _ended(self, at: int, place: int) -> int:
        self.size += place - at
        return place

    def _string_end(self, text: str, place: int) -> int | None:
        if self._escaped:
            place, self._escaped = place + 1, False
        found = _STRING_END.match(text, place)
        if found is not None:
            return found.end()
        backslashes = len(text) - len(text.rstrip("\\"))
        self._escaped = min(backslashes, len(text) - place) % 2 == 1
        return None
