"""The file of lines: renamed, removed and full, and never a line lost or half written."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from detector.errors import RetryableError
from detector.sinks.file import LinesFile
from detector.sinks.message import Message


def test_lines_are_appended(tmp_path: Path, make_message: Callable[..., Message]) -> None:
    """The folder is made, and what is there is kept."""
    path = tmp_path / "new" / "alerts.jsonl"
    for first in (0, 2):
        file = LinesFile(path)
        file.deliver([make_message(first), make_message(first + 1)])
        file.close()
    assert path.read_bytes() == b'{"n":0}\n{"n":1}\n{"n":2}\n{"n":3}\n'


@pytest.mark.parametrize("how", ["renamed", "removed", "replaced"])
def test_rotation(tmp_path: Path, make_message: Callable[..., Message], how: str) -> None:
    """After the file was renamed, removed or replaced, lines go to the new one under the name, without a signal."""
    path = tmp_path / "alerts.jsonl"
    file = LinesFile(path)
    file.deliver([make_message(0)])
    if how == "removed":
        path.unlink()
    else:
        path.rename(tmp_path / "alerts.jsonl.1")
    if how == "replaced":
        path.write_bytes(b"")
    file.deliver([make_message(1)])
    file.close()
    assert path.read_bytes() == b'{"n":1}\n'
    if how != "removed":
        assert (tmp_path / "alerts.jsonl.1").read_bytes() == b'{"n":0}\n'


def test_a_folder_that_is_not_there_is_tried_again(tmp_path: Path, make_message: Callable[..., Message]) -> None:
    """What cannot be opened is told with its path, and works once it is mended."""
    blocker = tmp_path / "logs"
    blocker.write_bytes(b"")
    file = LinesFile(blocker / "alerts.jsonl")
    with pytest.raises(RetryableError, match=r"alerts\.jsonl"):
        file.deliver([make_message(0)])
    blocker.unlink()
    file.deliver([make_message(0)])
    file.close()
    assert (blocker / "alerts.jsonl").read_bytes() == b'{"n":0}\n'


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from detector.errors import RetryableError
from detector.sinks.file import LinesFile
from detector.sinks.message import Message

def message(number):
    return Message(str(number), "alert", 1777890667412, "high", b'{"n":%d}' % number)

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
file = LinesFile(Path(sys.argv[1]))
file.deliver([message(0)])
try:
    file.deliver([message(i) for i in range(1, 40)])
except RetryableError as error:
    sys.stderr.write(str(error))
file.close()
"""


def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    """A batch that does not fit is taken back as a whole, and what was written before it stays.

    No file may grow beyond 100 bytes, as on a full disk; in a process of its own, since the limit is for everything it writes.
    """
    path = tmp_path / "alerts.jsonl"
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=True, timeout=100)
    assert os.strerror(27) in done.stderr
    assert path.read_bytes() == b'{"n":0}\n'


def test_several_writers(tmp_path: Path, make_message: Callable[..., Message]) -> None:
    """Workers of one machine share a file: every line is there once and whole, whoever wrote it."""
    path = tmp_path / "alerts.jsonl"

    def write(first: int) -> None:
        file = LinesFile(path)
        for i in range(first, first + 20, 2):
            file.deliver([make_message(i), make_message(i + 1)])
        file.close()

    threads = [threading.Thread(target=write, args=(100 * k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wanted = {b'{"n":%d}' % (100 * k + i) for k in range(4) for i in range(20)}
    lines = path.read_bytes().splitlines()
    assert set(lines) == wanted
    assert len(lines) == len(wanted)
