"""Records of a log: from a file or standard input, plain or compressed, finished or still growing.

A log is read in blocks and handed on in chunks of records, as they arrive: lines, objects of a JSON file, rows of a table.
Its compression and its form are seen from its first bytes, never from its name.

A damaged log is not a bad record. Everything before the damage is delivered first; then `SourceError` says where it is.
"""

import io
import os
import select
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeAlias

from detector.errors import DamagedError, SourceError
from detector.ingest import parquet, remote
from detector.ingest.containers import Container, Form, form_of
from detector.ingest.lines import BYTE_ORDER_MARK, Chunk, Cutter, LineCutter
from detector.ingest.objects import ObjectCutter
from detector.ingest.tables import RowCutter
from detector.ingest.unpack import UNPACK, Blocks, could_become_compressed, format_of

__all__ = ["STDIN", "Position", "read_lines"]

STDIN = "-"
_BLOCK = 1 << 18  # the events of one block, decoded, still fit in the cache of one core

_Stop: TypeAlias = Callable[[], bool]


@dataclass(slots=True)
class Position:
    """How far a log is read, for a progress bar, in bytes as they lie on the disk: compressed where it is compressed.

    `total` is None where it is unknown, as with pipes. `container` is what the log was recognised as, once it was.
    """

    consumed: int = 0
    total: int | None = None
    container: Container | None = field(default=None, compare=False)


def read_lines(
    path: str | Path,
    *,
    max_record_bytes: int,
    follow: bool = False,
    stop: _Stop | None = None,
    poll_seconds: float = 0.2,
    position: Position | None = None,
) -> Iterator[Chunk]:
    r"""Read the records of a log, in chunks as they arrive; `path` ``-`` is standard input, and may be a URL (see `remote`).

    gzip, bzip2, xz and zstd are recognised by their first bytes; several members or frames in a row are one log. A last line
    without a newline is a line; one ``\r`` before the newline is dropped; an empty line is a line of no bytes. A record
    of more than `max_record_bytes` comes as `Damaged`. A byte order mark at the beginning is dropped.

    A log that is no JSON Lines is recognised as well: one JSON array, JSON objects over several lines or without line ends
    (`ObjectCutter`), a table with a header (`RowCutter`), a file of Parquet (`parquet`). Their records are numbered by the line
    or row in which they begin. Of a pipe the first line alone decides, so that nothing waits for a second one.

    `follow` waits for more at the end of a plain regular file, whose lines are the records. When the file is replaced (another
    inode under the same name) or gets shorter, it is read again from its beginning, and its lines are counted from 1 again.
    What stands without a newline then is delivered: as a line where the file was replaced, as `Damaged` where it was cut. A
    file that is cut and grows beyond its old size within one poll cannot be distinguished from one that only grew. Pipes are
    streams anyway and are read to their end.

    `stop` is asked after every block and while waiting; once it says True nothing more is delivered, and what stands
    without a newline is left behind.

    Raises `SourceError` when the log cannot be opened or read, or its compressed data is corrupt or ends early: after
    all complete lines before the damage were delivered, and the line it cut, if any, as `Damaged`.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as log:
    ...     _ = log.write(b'{"a": 1}\r\n{"b": 2}')
    ...     log.flush()
    ...     [chunk.lines for chunk in read_lines(log.name, max_record_bytes=100)]
    [[b'{"a": 1}'], [b'{"b": 2}']]
    """
    position = Position() if position is None else position
    name = str(path)
    if name == STDIN:
        yield from _read_once(_stdin(position, stop, poll_seconds), max_record_bytes)
        return
    if remote.is_url(name):
        if follow:
            raise SourceError(f"{name}: only a file of this machine can be followed")
        with remote.opened(name) as stream:
            position.consumed, position.total = 0, remote.size_of(stream)
            yield from _read_once(_Handle(name, stream.read, None, position, stop, poll_seconds, stream), max_record_bytes)
        return
    with _open(name) as file:
        handle = _handle(name, file, position, stop, poll_seconds)
        if not follow or handle.waits_on is not None:
            yield from _read_once(handle, max_record_bytes)
            return
    yield from _follow(name, max_record_bytes, stop or (lambda: False), poll_seconds, position)


@dataclass(slots=True)
class _Handle:
    """An open file or pipe. Reads what is there without waiting for more, and counts it."""

    name: str
    take: Callable[[int], bytes | None]
    waits_on: int | None  # descriptor of what may have nothing to read yet
    position: Position
    stop: _Stop | None
    poll_seconds: float
    file: BinaryIO | io.FileIO | None = None  # where it can be read at any place
    stopped: bool = False

    def ended(self) -> bool:
        self.stopped = self.stopped or (self.stop is not None and self.stop())
        return self.stopped

    def read(self) -> bytes:
        try:
            while not self.ended() and self.stop is not None and self.waits_on is not None:
                if select.select([self.waits_on], [], [], self.poll_seconds)[0]:
                    break
            block = b"" if self.stopped else self.take(_BLOCK) or b""
        except OSError as error:
            raise SourceError(f"{self.name}: reading failed: {error.strerror or error}") from error
        except Exception as error:  # storage clients raise their own
            if not remote.is_url(self.name):
                raise
            raise SourceError(f"{self.name}: reading failed: {error}") from error
        self.position.consumed += len(block)
        return block


def _handle(name: str, file: io.FileIO, position: Position, stop: _Stop | None, poll_seconds: float) -> _Handle:
    status = os.fstat(file.fileno())
    regular = stat.S_ISREG(status.st_mode)
    position.consumed, position.total = 0, status.st_size if regular else None
    waits_on = None if regular else file.fileno()
    return _Handle(name, file.read, waits_on, position, stop, poll_seconds, file if regular else None)


def _stdin(position: Position, stop: _Stop | None, poll_seconds: float) -> _Handle:
    buffer = getattr(sys.stdin, "buffer", None)
    if buffer is None or buffer.closed:
        raise SourceError("-: standard input is closed")
    position.consumed, position.total, waits_on = 0, None, None
    try:
        status = os.fstat(buffer.fileno())
    except (OSError, AttributeError):  # standard input replaced by an object in memory
        pass
    else:
        if stat.S_ISREG(status.st_mode):
            position.total = status.st_size
        else:
            waits_on = buffer.fileno()
    return _Handle(STDIN, buffer.read1, waits_on, position, stop, poll_seconds)


def _open(name: str) -> io.FileIO:
    try:
        return io.FileIO(name)
    except FileNotFoundError as error:
        raise SourceError(f"{name}: no such file") from error
    except IsADirectoryError as error:
        raise SourceError(f"{name}: is a directory; name the log files in it") from error
    except PermissionError as error:
        raise SourceError(f"{name}: no permission to read it") from error
    except (OSError, ValueError) as error:  # a name with a NUL byte is a ValueError
        raise SourceError(f"{name}: cannot be opened: {error}") from error


def _read_once(handle: _Handle, max_record_bytes: int) -> Iterator[Chunk]:
    first = _first_block(handle)
    if parquet.is_parquet(first):
        if handle.file is None:
            raise SourceError(f"{handle.name}: Parquet cannot be read from a pipe: name a file")
        handle.position.container = Container("parquet")
        for share, chunk in parquet.read_rows(handle.name, handle.file, max_record_bytes, handle.ended):
            handle.position.consumed = int((handle.position.total or 0) * share)
            yield chunk
        return
    head: list[bytes] = []
    size = 0
    cutter: Cutter | None = None
    try:
        for block in _blocks(handle, first):
            if handle.ended():
                return
            if cutter is None:
                head.append(block)
                size += len(block)
                form = _form_of(handle, b"".join(head), max_record_bytes)
                if form is None:
                    continue
                cutter = _cutter(handle, form, max_record_bytes)
                handle.position.container = _container(form, first, head)
                block = _start(head, form)  # noqa: PLW2901
            yield from cutter.cut(block)
        if not handle.stopped and cutter is None:
            form = form_of(b"".join(head), ended=True) or Form("lines")
            cutter = _cutter(handle, form, max_record_bytes)
            handle.position.container = _container(form, first, head)
            yield from cutter.cut(_start(head, form))
    except DamagedError as error:
        if handle.stopped:
            return
        if cutter is None:
            cutter = LineCutter(handle.name, max_record_bytes)
            yield from cutter.cut(b"".join(head))
        last = cutter.next_line - 1
        yield from cutter.abandon(f"the compressed data {error} within this line")
        raise SourceError(
            f"{handle.name}: the compressed data {error}, {f'after line {last}' if last else 'in the first line'}. "
            "Everything before it was read. Copy or compress the log again, or go on without the rest",
        ) from error
    if not handle.stopped and cutter is not None:
        yield from cutter.finish()


def _form_of(handle: _Handle, head: bytes, max_record_bytes: int) -> Form | None:
    """Return the form of a log that begins with `head`; a first line that is no end over the limit is not waited for."""
    if parquet.is_parquet(head):
        raise SourceError(f"{handle.name}: Parquet within compressed data: unpack it first")
    form = form_of(head, ended=False, patient=handle.waits_on is None)
    if form is None and len(head) > max_record_bytes:
        return Form("array" if head.removeprefix(BYTE_ORDER_MARK).lstrip().startswith(b"[") else "lines")
    return form


def _container(form: Form, first: bytes, head: list[bytes]) -> Container:
    text = b"".join(head)
    return Container(form.shape, form.delimiter, format_of(first) or "", text.startswith(BYTE_ORDER_MARK), b"\r\n" in text)


def _start(head: list[bytes], form: Form) -> bytes:
    first = b"".join(head)
    return first if form.shape == "lines" else first.removeprefix(BYTE_ORDER_MARK)


def _cutter(handle: _Handle, form: Form, max_record_bytes: int) -> Cutter:
    if form.shape == "lines":
        return LineCutter(handle.name, max_record_bytes)
    if form.shape == "table":
        return RowCutter(handle.name, max_record_bytes, form.delimiter)
    return ObjectCutter(handle.name, max_record_bytes, array=form.shape == "array")


def _first_block(handle: _Handle) -> bytes:
    first = handle.read()
    while could_become_compressed(first) and (more := handle.read()):
        first += more
    return first


def _blocks(handle: _Handle, first: bytes) -> Blocks:
    pushed = [first]

    def read() -> bytes:
        return pushed.pop() if pushed else handle.read()

    kind = format_of(first)
    if kind is None:
        while block := read():
            yield block
    else:
        blocks = UNPACK[kind](read)
        # Nobody waits for the next line of a regular file, so larger chunks serve it better.
        yield from blocks if handle.waits_on is not None else _gather(blocks)


def _gather(blocks: Blocks) -> Blocks:
    parts: list[bytes] = []
    size = 0
    try:
        for block in blocks:
            parts.append(block)
            size += len(block)
            if size >= _BLOCK:
                yield b"".join(parts)
                parts, size = [], 0
    except DamagedError:
        yield b"".join(parts)
        raise
    yield b"".join(parts)


def _follow(name: str, max_record_bytes: int, stop: _Stop, poll_seconds: float, position: Position) -> Iterator[Chunk]:
    file = _open(name)
    while True:
        with file:
            yield from _follow_one(_handle(name, file, position, None, poll_seconds), file, max_record_bytes, stop)
        while not Path(name).exists():
            if stop():
                return
            time.sleep(poll_seconds)
        if stop():
            return
        file = _open(name)


def _follow_one(handle: _Handle, file: io.FileIO, max_record_bytes: int, stop: _Stop) -> Iterator[Chunk]:
    """Follow one file until it is replaced or cut."""
    cutter = LineCutter(handle.name, max_record_bytes)
    first = b""
    replaced = False
    while not stop():
        block = handle.read()
        handle.position.total = os.fstat(file.fileno()).st_size
        first += block[: 4 - len(first)]
        if format_of(first) is not None:
            raise SourceError(f"{handle.name}: is compressed, and only a plain file can be followed")
        if block:
            yield from cutter.cut(block)
        elif replaced:
            yield from cutter.finish()
            return
        elif handle.position.total < handle.position.consumed:
            yield from cutter.abandon("the file was cut before this line ended")
            return
        elif not (replaced := _is_replaced(handle.name, file)):
            time.sleep(handle.poll_seconds)
        # A file found replaced is read once more before it is left: a last line may have come between the read and the check.


def _is_replaced(name: str, file: io.FileIO) -> bool:
    try:
        now = Path(name).stat()
    except OSError:
        return False  # moved away, and its successor is not there yet
    return not os.path.samestat(now, os.fstat(file.fileno()))
