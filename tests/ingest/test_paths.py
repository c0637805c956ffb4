"""Folders, patterns and URLs as logs: which files they are, in which order."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from detector.errors import SourceError
from detector.ingest import remote
from detector.ingest.formats.decoder import Record
from detector.ingest.formats.native import NativeDecoder
from detector.ingest.logs import read_logs
from detector.ingest.paths import expand
from detector.ingest.source import Position, read_lines


@pytest.fixture
def hours(tmp_path: Path) -> Path:
    """A folder with a folder an hour, and what belongs to no log in it."""
    files = [
        "05/10/b.jsonl",
        "05/10/a.jsonl",
        "05/09/z.jsonl",
        "05/_SUCCESS",
        "05/.hidden",
        ".git/x.jsonl",
        "05/10/_tmp/y.jsonl",
    ]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps({"time": 1_777_890_600_000, "name": name}) + "\n")
    (tmp_path / "05/10/empty.jsonl").touch()
    return tmp_path


def names(found: list[str], folder: Path) -> list[str]:
    return [str(Path(name).relative_to(folder)) for name in found]


def test_a_folder_is_its_files_sorted(hours: Path) -> None:
    """At any depth; without hidden files, marks of Spark and empty files."""
    assert names(expand([str(hours)]), hours) == ["05/09/z.jsonl", "05/10/a.jsonl", "05/10/b.jsonl"]


def test_patterns(hours: Path) -> None:
    """``**`` goes to any depth; a file named twice is read once, and a file whose name is a pattern is that file."""
    assert names(expand([f"{hours}/**/a*.jsonl", str(hours)]), hours)[0] == "05/10/a.jsonl"
    assert names(expand([f"{hours}/**/*.jsonl", str(hours)]), hours) == ["05/09/z.jsonl", "05/10/a.jsonl", "05/10/b.jsonl"]
    odd = hours / "log[1].jsonl"
    odd.write_text("{}\n")
    assert expand([str(odd), "-", "missing"]) == [str(odd), "-", "missing"]


def test_nothing_found_is_an_error(tmp_path: Path) -> None:
    """An empty folder or a pattern that matches nothing would else be a replay of nothing."""
    for log in (str(tmp_path), f"{tmp_path}/*.jsonl"):
        with pytest.raises(SourceError, match="there is no log file in it"):
            expand([log])


def test_records_without_time_in_a_file_of_their_own_come_first(tmp_path: Path) -> None:
    """The schema that BentoML writes once stands in another folder, after the data by name."""
    for name, text in (("data/d.log", b'{"time": 1777890600000}\n'), ("schema/s.log", b'{"meta_data": {}}\n')):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(text)
    reader = NativeDecoder()
    chunks = read_logs(
        expand([str(tmp_path)]), max_record_bytes=1000, time_of=lambda line, _: reader.time_of(Record(line)), problems=[]
    )
    assert [line for chunk in chunks for line in chunk.lines] == [b'{"meta_data": {}}', b'{"time": 1777890600000}']


@pytest.fixture
def fsspec() -> ModuleType:
    """The package that opens URLs."""
    return pytest.importorskip("fsspec")  # type: ignore[no-any-return]


def test_urls(hours: Path, fsspec: ModuleType) -> None:
    """Files, folders and patterns of a store, here of this machine and in memory."""
    found = expand([f"file://{hours}/05"])
    assert [name.rpartition("05/")[2] for name in found] == ["09/z.jsonl", "10/a.jsonl", "10/b.jsonl"]
    memory: Any = fsspec.filesystem("memory")
    memory.pipe("/logs/a.jsonl", b'{"a": 1}\n')
    memory.pipe("/logs/_SUCCESS", b"x")
    assert len(expand(["memory://logs/*.jsonl"])) == 1
    assert expand(["memory://logs/*.jsonl"]) == expand(["memory://logs"])
    position = Position()
    for name in expand(["memory://logs"]):
        chunks = list(read_lines(name, max_record_bytes=100, position=position))
        assert [chunk.lines for chunk in chunks] == [[b'{"a": 1}']]
        assert position == Position(9, 9)
    with pytest.raises(SourceError, match="no such file"):
        next(read_lines("memory://logs/none", max_record_bytes=100))
    with pytest.raises(SourceError, match="Protocol not known"):
        next(read_lines("nostore://logs/none", max_record_bytes=100))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who lacks the extra is told which."""
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(SourceError, match=r"detector\[remote\]"):
        remote.opened("s3://bucket/log")
