"""Several logs as one stream: merged by time, each in its own order, whatever is wrong with one of them."""

import gzip
import json
import resource
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.errors import SourceError
from detector.ingest import source
from detector.ingest.batch import Origin
from detector.ingest.formats.decoder import Record
from detector.ingest.formats.native import NativeDecoder
from detector.ingest.lines import Lines
from detector.ingest.logs import read_logs
from detector.ingest.source import Position

START_MS = 1_777_890_600_000


def time_of(record: bytes, log: str = "") -> int | None:
    del log
    return NativeDecoder().time_of(Record(record))


def line(seconds: float, note: str = "") -> bytes:
    return json.dumps({"time": START_MS + int(seconds * 1000), "note": note}).encode()


def write(path: Path, lines: Sequence[bytes], pack: Callable[[bytes], bytes] = bytes) -> str:
    path.write_bytes(pack(b"".join(text + b"\n" for text in lines)))
    return str(path)


def read(logs: Sequence[str], limit: int = 1000, position: Position | None = None) -> tuple[list[Lines], list[str]]:
    problems: list[str] = []
    chunks = list(read_logs(logs, max_record_bytes=limit, time_of=time_of, problems=problems, position=position))
    return chunks, problems


def lines_of(chunks: Sequence[Lines]) -> list[bytes]:
    return [text for chunk in chunks for text in chunk.lines]


def test_logs_are_merged_by_time(tmp_path: Path) -> None:
    """Records come in the order of their times, with the log and the line that each was; ties in the order of the logs."""
    a = write(tmp_path / "a", [line(0, "a"), line(2, "a"), line(3, "a")])
    b = write(tmp_path / "b", [line(1, "b"), line(2, "b")])
    position = Position()
    chunks, problems = read([a, b], position=position)
    assert not problems
    assert lines_of(chunks) == [line(0, "a"), line(1, "b"), line(2, "a"), line(2, "b"), line(3, "a")]
    origins = [chunk.origin(at) for chunk in chunks for at in range(len(chunk))]
    assert origins == [Origin(a, 1), Origin(b, 1), Origin(a, 2), Origin(b, 2), Origin(a, 3)]
    assert lines_of(read([b, a])[0])[2:4] == [line(2, "b"), line(2, "a")]
    assert position.consumed == position.total == sum(Path(log).stat().st_size for log in (a, b))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_parts_of_a_sorted_log_merge_into_the_log(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Split by record over any number of logs, read in blocks of any size, a log with distinct times comes back as it was."""
    folder = tmp_path_factory.mktemp("logs")
    steps = data.draw(st.lists(st.integers(1, 5000), min_size=1, max_size=60))
    times = [sum(steps[: n + 1]) for n in range(len(steps))]
    whole = [line(time) for time in times]
    parts = data.draw(st.integers(1, 4))
    owners = data.draw(st.lists(st.integers(0, parts - 1), min_size=len(whole), max_size=len(whole)))
    logs = [
        write(folder / str(number), [text for text, owner in zip(whole, owners, strict=True) if owner == number])
        for number in range(parts)
    ]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(source, "_BLOCK", data.draw(st.integers(1, 500)))
        chunks, problems = read(logs)
    assert (lines_of(chunks), problems) == (whole, [])
    places = [chunk.origin(at) for chunk in chunks for at in range(len(chunk))]
    assert [Path(place.source).read_bytes().split(b"\n")[place.line - 1] for place in places] == whole


_lines = st.one_of(
    st.integers(0, 400_000).map(line),
    st.integers(0, 40).map(line),
    st.sampled_from([b"", b"{}", b"?", b'{"time":0}', b'{"time":"now"}', b"x" * 300]),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(_lines, max_size=30), min_size=2, max_size=4), st.integers(1, 900), st.integers(1, 9))
def test_whatever_the_logs_hold_each_keeps_its_order(
    tmp_path_factory: pytest.TempPathFactory, contents: list[list[bytes]], block: int, piece: int
) -> None:
    """No record is lost, none changes places within its log, and neither blocks nor cuts into pieces show in the order."""
    folder = tmp_path_factory.mktemp("logs")
    logs = [write(folder / str(number), lines) for number, lines in enumerate(contents)]

    def order(chunks: Sequence[Lines]) -> list[tuple[Origin, bytes]]:
        found = []
        for chunk in chunks:
            records = chunk.lines if chunk.damaged is None else [*chunk.lines, chunk.damaged.record]
            found += [(chunk.origin(at), record) for at, record in enumerate(records)]
        return found

    chunks = read(logs, 200)[0]
    found = order(chunks)
    for log, lines in zip(logs, contents, strict=True):
        own = [(origin.line, record) for origin, record in found if origin.source == log]
        assert own == [(number, text[:200]) for number, text in enumerate(lines, 1)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(source, "_BLOCK", block)
        assert order(read(logs, 200)[0]) == found
    assert order([chunk.part(at, at + piece) for chunk in chunks for at in range(0, max(len(chunk.lines), 1), piece)]) == found


def test_one_time_that_is_wrong_holds_nothing_up(tmp_path: Path) -> None:
    """A record dated a day ahead, and one dated a day back, go where their neighbours go."""
    ahead, back = line(90_000, "ahead"), line(-90_000, "back")
    a = write(tmp_path / "a", [line(0), line(2), ahead, *(line(number) for number in range(4, 40, 2))])
    b = write(tmp_path / "b", [line(1), line(3), line(5), back, *(line(number) for number in range(7, 41, 2))])
    merged = lines_of(read([a, b])[0])
    right = [text for text in merged if text not in {ahead, back}]
    assert right == sorted(right, key=lambda text: json.loads(text)["time"])
    assert merged.index(ahead) < 6
    assert merged.index(back) == merged.index(line(5)) + 1


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_damaged_log_ends_and_the_others_go_on(tmp_path: Path, order: tuple[int, int]) -> None:
    """What could be unpacked is used, the record that was cut is reported, and so is the log."""
    whole = write(tmp_path / "whole", [line(number, "w") for number in range(1, 4000, 2)])
    cut = tmp_path / "cut.gz"
    packed = gzip.compress(b"".join(line(number, "c") + b"\n" for number in range(0, 4000, 2)))
    cut.write_bytes(packed[: len(packed) // 2])
    logs = [[whole, str(cut)][number] for number in order]
    chunks, (problem,) = read([*logs, str(tmp_path / "missing")][:2])
    assert "cut.gz" in problem
    merged = lines_of(chunks)
    assert merged == sorted(merged, key=lambda text: json.loads(text)["time"])
    assert sum(b'"w"' in text for text in merged) == 2000
    (damaged,) = [chunk for chunk in chunks if chunk.damaged is not None]
    assert damaged.damaged is not None
    assert damaged.damaged.reason == "truncated"
    assert damaged.origin(len(damaged.lines)) == Origin(str(cut), damaged.damaged.line)


def test_a_log_that_is_missing_is_reported_and_the_others_are_read(tmp_path: Path) -> None:
    """One sentence, and everything of the other log."""
    log = write(tmp_path / "log", [line(0), line(1)])
    chunks, problems = read([str(tmp_path / "missing"), log])
    assert lines_of(chunks) == [line(0), line(1)]
    assert problems == [f"{tmp_path / 'missing'}: no such file"]


def test_logs_are_read_forward_and_a_few_blocks_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the first lines come out, little of any log has been read."""
    monkeypatch.setattr(source, "_BLOCK", 4096)
    logs = [write(tmp_path / name, [line(number) for number in range(20_000)]) for name in ("a", "b", "c")]
    position = Position()
    stream = read_logs(logs, max_record_bytes=1000, time_of=time_of, problems=[], position=position)
    next(stream)
    assert position.total is not None
    assert position.consumed < position.total / 50


def test_more_logs_than_can_be_open_are_refused_at_once(tmp_path: Path) -> None:
    """The error tells the limit and how to raise it; nothing is read before."""
    allowed, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    names = [str(tmp_path / f"{number}.jsonl") for number in range(100)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    try:
        with pytest.raises(SourceError, match=r"100 logs .* 100 files open: allow more \(ulimit -n 132\)"):
            next(read_logs(names, max_record_bytes=1000, time_of=lambda _line, _log: None, problems=[]))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    with pytest.raises(SourceError, match="5000 logs are too many"):
        next(read_logs(["log"] * 5000, max_record_bytes=1000, time_of=lambda _line, _log: None, problems=[]))
