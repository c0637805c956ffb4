"""Private files: nobody but the owner, whatever the mask, and whatever was there before."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from detector import private
from detector.config import Config, EngineSection
from detector.offline.analysis.files import write_config
from detector.offline.pictures.style import canvas
from detector.sinks.dispatch import DeadLetterFile
from detector.sinks.entry import Entry
from detector.sinks.folder import NAMES, FolderSink
from detector.sinks.receiver import DeliveryRecord


@pytest.fixture(autouse=True)
def _no_mask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def results(folder: Path) -> None:
    sink = FolderSink(folder)
    sink.clients([{"client": "a"}])
    sink.summary({})
    sink.close()


def picture(folder: Path) -> None:
    with canvas(folder / "client.png", 1, 1):
        pass


def refused(folder: Path) -> None:
    DeadLetterFile(folder, "siem").put(Entry(DeliveryRecord("alert", b"{"), "alerts.jsonl", 1), "json", "cut off")


def appended(folder: Path) -> None:
    with private.append(folder / "lines") as file:
        file.write(b"more")


WRITERS = {
    results: (*NAMES, "summary.json"),
    picture: ("client.png",),
    refused: ("dead-letters-siem.jsonl",),
    appended: ("lines",),
    lambda folder: write_config(Config(engine=EngineSection(seed=7)), folder / "tuned.toml"): ("tuned.toml",),
}


@pytest.mark.parametrize("write", list(WRITERS))
@pytest.mark.parametrize("there", [False, True])
def test_what_is_written_is_private(tmp_path: Path, write: Callable[[Path], None], *, there: bool) -> None:
    """Results, pictures, dead letters, settings with a seed: new ones, and ones that replace what all could read."""
    for name in WRITERS[write] if there else ():
        (tmp_path / name).touch(mode=0o666)
    write(tmp_path)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == dict.fromkeys(WRITERS[write], 0o600)


def test_who_has_the_old_file_open_does_not_see_the_new_one(tmp_path: Path) -> None:
    """It is another file."""
    path = tmp_path / "file"
    path.touch(mode=0o644)
    with path.open("rb") as reader:
        private.write(path, b"secret")
        assert reader.read() == b""


def test_folders_that_are_made_are_private_and_others_keep_their_mode(tmp_path: Path) -> None:
    """All that are missing on the way; a file in the way is an error."""
    (tmp_path / "there").mkdir(mode=0o755)
    private.make_folder(tmp_path / "there" / "a" / "b")
    modes = [stat.S_IMODE((tmp_path / "there" / part).stat().st_mode) for part in ("", "a", "a/b")]
    assert modes == [0o755, 0o700, 0o700]
    (tmp_path / "file").touch()
    for blocked in ("file", "file/a"):
        with pytest.raises(NotADirectoryError):
            private.make_folder(tmp_path / blocked)
