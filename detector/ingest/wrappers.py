"""Lines that collectors of container logs wrapped: the record is taken out of each, before any format sees it.

Known are docker's (``{"log": "...", "stream": ..., "time": ...}``), those of the Container Runtime Interface (``<time> stdout F
<text>``), and those of Beats (``{"@timestamp": ..., "message": "..."}``). A long line that was cut into parts is joined.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from detector.errors import SourceError
from detector.ingest.lines import Chunk, Damaged

__all__ = ["Wrapper", "unwrapped", "wrapper_of"]

Wrapper: TypeAlias = Literal["docker", "cri", "beats"]

_CRI: Final = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d) (stdout|stderr) ([FP])(?::\w+)* ?")
_DOCKER_PART: Final = 16_384  # bytes: longer lines are cut there
_LOOKED_AT: Final = 5  # first lines of a log


class _Found(NamedTuple):
    text: bytes
    stream: bytes = b""
    whole: bool = True


def wrapper_of(lines: Sequence[bytes]) -> Wrapper | None:
    """Tell by the first lines of a log what wrapped them; None where nothing did.

    >>> wrapper_of([b'2026-05-04T10:31:07.1Z stdout F {"event_id": "e1"}']), wrapper_of([b'{"event_id": "e1"}'])
    ('cri', None)
    """
    kinds: tuple[Wrapper, ...] = ("docker", "cri", "beats")
    for line in lines[:_LOOKED_AT]:
        for kind in kinds:
            found = _within(line, kind)
            if found is not None and (kind != "beats" or found.text.lstrip()[:1] in {b"{", b"["}):
                return kind
    return None


def unwrapped(chunks: Iterator[Chunk], kind: Wrapper | Literal["auto"], limit: int) -> Iterator[Chunk]:
    """Take the records out of wrapped lines; a line that is not wrapped so is left as it is.

    With ``auto`` the first lines of the log decide, once. Parts that make more than `limit` bytes are one damaged record. A
    record has the number of the line where it begins.
    """
    known: Wrapper | None = None if kind == "auto" else kind
    decided = kind != "auto"
    joiner = _Joiner(limit)
    try:
        for chunk in chunks:
            if not decided and chunk.lines:
                known, decided = wrapper_of(chunk.lines), True
            if known is None:
                yield chunk
            else:
                yield from joiner.take(chunk, known)
    except SourceError:
        yield from joiner.finish()
        raise
    yield from joiner.finish()


def _within(line: bytes, kind: Wrapper) -> _Found | None:
    if kind == "cri":
        found = _CRI.match(line)
        return None if found is None else _Found(line[found.end() :], found.group(1), found.group(2) == b"F")
    if b'"log"' not in line and b'"message"' not in line:
        return None
    try:
        document: Any = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    if kind == "beats":
        text = document.get("message")
        return _Found(text.encode()) if isinstance(text, str) and "@timestamp" in document else None
    text = document.get("log")
    if not isinstance(text, str) or document.get("stream") not in {"stdout", "stderr"}:
        return None
    value = text.encode()
    return _Found(value.rstrip(b"\r\n"), document["stream"].encode(), value.endswith(b"\n") or len(value) != _DOCKER_PART)


class _Joiner:
    """Joins the parts of a line, those of standard output and standard error apart."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._source = ""
        self._parts: dict[bytes, tuple[int, bytearray, int]] = {}  # first line, the beginning, size of all

    def take(self, chunk: Chunk, kind: Wrapper) -> Iterator[Chunk]:
        self._source = chunk.source
        records: list[bytes] = []
        numbers: list[int] = []
        for at, line in enumerate(chunk.lines):
            number = chunk.origin(at).line
            found = _within(line, kind)
            if found is None:
                found = _Found(line)
            elif not found.whole or found.stream in self._parts:
                first, kept, size = self._parts.get(found.stream, (number, bytearray(), 0))
                kept += found.text[: self._limit - len(kept)]
                self._parts[found.stream] = first, kept, size + len(found.text)
                if not found.whole:
                    continue
                number, kept, size = self._parts.pop(found.stream)
                if size > self._limit:
                    if records:
                        yield Chunk(chunk.source, numbers[0], records, None, numbers)
                        records, numbers = [], []
                    yield self._damaged(number, kept, size)
                    continue
                found = _Found(bytes(kept))
            records.append(found.text)
            numbers.append(number)
        if records or chunk.damaged is not None:
            first = numbers[0] if numbers else chunk.first_line
            yield Chunk(chunk.source, first, records, chunk.damaged, numbers)

    def finish(self) -> Iterator[Chunk]:
        """Give the lines whose last part never came."""
        for number, kept, size in sorted(self._parts.values()):
            if size > self._limit:
                yield self._damaged(number, kept, size)
            else:
                damaged = Damaged(number, "truncated", "the last part of this line is missing", bytes(kept))
                yield Chunk(self._source, number, [], damaged)
        self._parts.clear()

    def _damaged(self, number: int, kept: bytearray, size: int) -> Chunk:
        detail = f"{size} bytes, more than the limit of {self._limit}"
        return Chunk(self._source, number, [], Damaged(number, "oversized", detail, bytes(kept)))
