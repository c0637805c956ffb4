"""Reading the lines of logs: plain, compressed, damaged, from standard input, and growing."""

import gzip
import hashlib
import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest
import zstandard

from detector.errors import SourceError
from detector.ingest.lines import Chunk, Damaged
from detector.ingest.source import Position, read_lines

LINES = [b'{"n": %d, "text": "%s"}' % (i, hashlib.md5(b"%d" % i).hexdigest().encode()) for i in range(5_000)]
TEXT = b"\n".join(LINES) + b"\n"
LIMIT = 1 << 20


def _written(folder: Path, data: bytes, name: str = "log.jsonl") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def _lines(chunks: Iterator[Chunk]) -> list[bytes]:
    """All lines, after a check that they are numbered without a gap."""
    found: list[bytes] = []
    for chunk in chunks:
        assert chunk.first_line == len(found) + 1
        assert len(chunk) > 0
        assert chunk.damaged is None
        found += chunk.lines
    return found


@pytest.mark.parametrize(
    "packed",
    [
        TEXT,
        TEXT[:-1],
        TEXT.replace(b"\n", b"\r\n"),
        gzip.compress(TEXT),
        gzip.compress(TEXT[:1000]) + gzip.compress(TEXT[1000:]),
        zstandard.compress(TEXT),
        zstandard.compress(TEXT[:1000]) + zstandard.compress(TEXT[1000:]),
    ],
)
def test_every_form_gives_the_same_lines(tmp_path: Path, packed: bytes) -> None:
    """Plain, without a last newline, CRLF, gzip, zstd, several members or frames: the name tells nothing."""
    position = Position()
    assert _lines(read_lines(_written(tmp_path, packed), max_record_bytes=LIMIT, position=position)) == LINES
    assert position == Position(len(packed), len(packed))


def test_an_empty_log_has_no_lines(tmp_path: Path) -> None:
    """Nothing is not an empty line, and nothing compressed is nothing."""
    for data in (b"", gzip.compress(b""), zstandard.compress(b"")):
        assert _lines(read_lines(_written(tmp_path, data), max_record_bytes=LIMIT)) == []


def test_empty_lines_and_lone_carriage_returns_are_kept(tmp_path: Path) -> None:
    """An empty line is a line; only one carriage return goes, and only before the newline."""
    path = _written(tmp_path, b"\n\na\rb\r\r\n \r\n\nlast\r")
    assert _lines(read_lines(path, max_record_bytes=LIMIT)) == [b"", b"", b"a\rb\r", b" ", b"", b"last"]


def test_an_oversized_line_keeps_its_beginning_only(tmp_path: Path) -> None:
    """A line many blocks long is cut to the limit, its full size is reported, and the lines around it survive."""
    size = 5_000_000
    path = _written(tmp_path, b"before\n" + b"x" * size + b"\nafter\n" + b"y" * 101)
    before, damaged, after, last = list(read_lines(path, max_record_bytes=100))
    assert (before.lines, after.lines, after.first_line) == ([b"before"], [b"after"], 3)
    assert damaged == Chunk(str(path), 2, [], Damaged(2, "oversized", "5000000 bytes, more than the limit of 100", b"x" * 100))
    assert last.damaged is not None
    assert (last.damaged.line, last.damaged.record) == (4, b"y" * 100)


@pytest.mark.parametrize("packed", [gzip.compress(TEXT), zstandard.compress(TEXT)])
def test_a_log_cut_off_gives_everything_before(tmp_path: Path, packed: bytes) -> None:
    """Complete lines arrive, the line cut is truncated, and the error says where that happened."""
    path = _written(tmp_path, packed[: len(packed) * 2 // 3])
    chunks: list[Chunk] = []
    with pytest.raises(SourceError) as error:
        chunks.extend(read_lines(path, max_record_bytes=LIMIT))
    found = [line for chunk in chunks for line in chunk.lines]
    damaged = chunks[-1].damaged
    assert 1000 < len(found) < 5000
    assert found == LINES[: len(found)]
    assert damaged is not None
    assert (damaged.line, damaged.reason) == (len(found) + 1, "truncated")
    assert damaged.record
    assert LINES[len(found)].startswith(damaged.record)
    assert str(error.value).startswith(f"{path}: the compressed data ends early, after line {len(found)}.")


def test_a_corrupt_log_gives_everything_before(tmp_path: Path) -> None:
    """A flipped byte in the middle stops the reading there, not earlier."""
    packed = bytearray(gzip.compress(TEXT))
    packed[len(packed) // 2] ^= 0xFF
    chunks: list[Chunk] = []
    with pytest.raises(SourceError, match=r"is corrupt .*, after line"):
        chunks.extend(read_lines(_written(tmp_path, bytes(packed)), max_record_bytes=LIMIT))
    found = [line for chunk in chunks for line in chunk.lines]
    assert len(found) > 1000
    assert found[:1000] == LINES[:1000]


@pytest.mark.parametrize("packed", [TEXT, gzip.compress(TEXT), zstandard.compress(TEXT)])
@pytest.mark.parametrize("after", [0, 1])
def test_stop_ends_a_reading(tmp_path: Path, packed: bytes, after: int) -> None:
    """After a stop nothing is delivered, neither an unfinished line nor an error that the data is unfinished."""
    found: list[Chunk] = []
    path = _written(tmp_path, packed * 8 + b"unfinished" * (packed == TEXT))
    found.extend(read_lines(path, max_record_bytes=LIMIT, stop=lambda: len(found) >= after))
    assert len(found) == after


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    """A missing file, a directory and an impossible name are errors of the source, with its name."""
    for name, said in ((tmp_path / "none", "no such file"), (tmp_path, "is a directory"), ("a\0b", "cannot be opened")):
        with pytest.raises(SourceError, match=said) as error:
            next(read_lines(name, max_record_bytes=LIMIT))
        assert str(name) in str(error.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    """The error says that it is the permission."""
    path = _written(tmp_path, TEXT)
    path.chmod(0)
    with pytest.raises(SourceError, match="no permission"):
        next(read_lines(path, max_record_bytes=LIMIT))


# Standard input


@pytest.mark.parametrize("packed", [TEXT, gzip.compress(TEXT), zstandard.compress(TEXT)])
def test_standard_input_in_memory(monkeypatch: pytest.MonkeyPatch, packed: bytes) -> None:
    """``-`` reads whatever stands for standard input, compressed or not."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(packed)))
    assert _lines(read_lines("-", max_record_bytes=LIMIT)) == LINES


def test_closed_standard_input_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process without standard input says so."""
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SourceError, match="standard input is closed"):
        next(read_lines("-", max_record_bytes=LIMIT))


_PRINT_LINES = """
from detector.ingest.source import Position, read_lines
position = Position()
for chunk in read_lines("-", max_record_bytes=1000, position=position):
    print(chunk.first_line, *chunk.lines, position.consumed, position.total, flush=True)
"""


def test_a_pipe_delivers_lines_as_they_come() -> None:
    """A line arrives while the writer still holds the pipe open, and half a line waits for its end."""
    with subprocess.Popen([sys.executable, "-c", _PRINT_LINES], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(b"one\nha")
        child.stdin.flush()
        assert child.stdout.readline() == b"1 b'one' 6 None\n"
        child.stdin.write(b"lf\nlast")
        child.stdin.close()
        assert child.stdout.read() == b"2 b'half' 13 None\n3 b'last' 13 None\n"


def test_a_redirected_file_has_a_size(tmp_path: Path) -> None:
    """Standard input from a file knows its total, so a progress bar works."""
    with _written(tmp_path, zstandard.compress(b"one\ntwo\n")).open("rb") as log:
        size = os.fstat(log.fileno()).st_size
        done = subprocess.run([sys.executable, "-c", _PRINT_LINES], stdin=log, capture_output=True, check=True)
    assert done.stdout == f"1 b'one' b'two' {size} {size}\n".encode()


def test_stop_ends_waiting_on_a_pipe(tmp_path: Path) -> None:
    """With nothing to read and the writer still there, a stop is heard."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    stopping = threading.Event()
    found: list[bytes] = []

    def read() -> None:
        for chunk in read_lines(pipe, max_record_bytes=LIMIT, stop=stopping.is_set, poll_seconds=0.01):
            found.extend(chunk.lines)

    reader = threading.Thread(target=read)
    reader.start()
    with pipe.open("wb", buffering=0) as writer:
        writer.write(b"one\nunfinished")
        _wait(lambda: found == [b"one"])
        stopping.set()
        reader.join(10)
    assert not reader.is_alive()
    assert found == [b"one"]


# Following


class _Follower:
    """Follows a file in a thread and collects what arrives."""

    def __init__(self, path: Path) -> None:
        self.chunks: list[Chunk] = []
        self.error: Exception | None = None
        self.stopping = threading.Event()
        self.position = Position()
        self.thread = threading.Thread(target=self._run, args=(path,))

    def _run(self, path: Path) -> None:
        try:
            for chunk in read_lines(
                path,
                max_record_bytes=50,
                follow=True,
                stop=self.stopping.is_set,
                poll_seconds=0.005,
                position=self.position,
            ):
                self.chunks.append(chunk)
        except SourceError as error:
            self.error = error

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.thread.join(10)
        assert not self.thread.is_alive()

    def numbered(self) -> list[tuple[int, bytes]]:
        return [
            (chunk.first_line + i, line)
            for chunk in list(self.chunks)
            for i, line in enumerate(chunk.lines or [b"!" + chunk.damaged.record if chunk.damaged else b""])
        ]

    def wait_for(self, *expected: tuple[int, bytes]) -> None:
        _wait(lambda: self.numbered() == list(expected))
        assert self.numbered() == list(expected)


def _wait(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.005)


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as log:
        log.write(data)


def test_following_waits_for_more_and_for_the_newline(tmp_path: Path) -> None:
    """Lines come as they are written; half a line waits, and is left behind when the reading stops."""
    path = _written(tmp_path, b"")
    with _Follower(path) as follower:
        _append(path, b"one\ntw")
        follower.wait_for((1, b"one"))
        _append(path, b"o\n\nthree\nunfinished")
        follower.wait_for((1, b"one"), (2, b"two"), (3, b""), (4, b"three"))
        _wait(lambda: follower.position.consumed == 25)
        assert follower.position == Position(25, 25)
    follower.wait_for((1, b"one"), (2, b"two"), (3, b""), (4, b"three"))


def test_following_survives_a_new_file_under_the_old_name(tmp_path: Path) -> None:
    """After a rotation the old file is read to its end, its last line counts, and the new one begins with line 1."""
    path = _written(tmp_path, b"one\n")
    with _Follower(path) as follower:
        follower.wait_for((1, b"one"))
        old = path.rename(tmp_path / "log.1")
        _append(old, b"two\nlast")
        _written(tmp_path, b"new\n", "next")
        (tmp_path / "next").rename(path)
        follower.wait_for((1, b"one"), (2, b"two"), (3, b"last"), (1, b"new"))
        _append(path, b"newer\n")
        follower.wait_for((1, b"one"), (2, b"two"), (3, b"last"), (1, b"new"), (2, b"newer"))


def test_following_waits_for_the_new_file(tmp_path: Path) -> None:
    """Between the moving away of the old file and the coming of the new one, more of the old one is still read."""
    path = _written(tmp_path, b"one\n")
    with _Follower(path) as follower:
        follower.wait_for((1, b"one"))
        old = path.rename(tmp_path / "log.1")
        _append(old, b"two\n")
        follower.wait_for((1, b"one"), (2, b"two"))
        path.write_bytes(b"new\n")
        follower.wait_for((1, b"one"), (2, b"two"), (1, b"new"))


def test_following_survives_a_cut_file(tmp_path: Path) -> None:
    """When the file is emptied in place, the half line read is truncated and reading begins again."""
    path = _written(tmp_path, b"one\ntwo and hal")
    with _Follower(path) as follower:
        _wait(lambda: follower.position.consumed == 15)
        path.write_bytes(b"again\n")
        follower.wait_for((1, b"one"), (2, b"!two and hal"), (1, b"again"))
    damaged = follower.chunks[1].damaged
    assert damaged is not None
    assert damaged.reason == "truncated"


def test_only_a_plain_file_can_be_followed(tmp_path: Path) -> None:
    """A compressed file is refused, also when it is empty at first."""
    path = _written(tmp_path, b"")
    with _Follower(path) as follower:
        _append(path, gzip.compress(TEXT))
        _wait(lambda: follower.error is not None)
    assert "only a plain file can be followed" in str(follower.error)
