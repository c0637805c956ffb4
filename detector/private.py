"""Private files: what is written here only its owner can read, whatever mask the process runs under.

Results, baselines, pictures and settings name clients, and what the engine remembers of them. A file that replaces one which
others could read becomes private as well, and who has the old one open does not see the new content. A folder that is there
keeps its mode.
"""

import os
import stat
from pathlib import Path
from typing import BinaryIO

FILE_MODE = 0o600
FOLDER_MODE = 0o700


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, as far as they are missing; raises `OSError`."""
    missing = []
    while not folder.exists() and folder != folder.parent:
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(mode=FOLDER_MODE, exist_ok=True)
    if not folder.is_dir():
        raise NotADirectoryError(20, "Not a directory", str(folder))


def create(path: Path) -> BinaryIO:
    """Open a file for writing, empty; raises `OSError`."""
    return _open(path, os.O_TRUNC)


def append(path: Path) -> BinaryIO:
    """Open a file for writing behind what is there; raises `OSError`."""
    return _open(path, os.O_APPEND)


def write(path: Path, content: bytes) -> None:
    """Write a file; raises `OSError`."""
    with create(path) as file:
        file.write(content)


def write_new(path: Path, content: bytes) -> None:
    """Write a file that must not be there yet, and leave none behind where that fails; raises `OSError`."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE), "wb") as file:
        try:
            file.write(content)
            file.flush()
        except OSError:
            path.unlink()
            raise


def _open(path: Path, how: int) -> BinaryIO:
    if how & os.O_TRUNC and _readable_by_others(path):
        path.unlink()
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, FILE_MODE)
    try:
        if stat.S_ISREG(os.fstat(number).st_mode):
            os.fchmod(number, FILE_MODE)
        return os.fdopen(number, "wb")
    except OSError:
        os.close(number)
        raise


def _readable_by_others(path: Path) -> bool:
    """Tell whether there is a file, no link or device, that others may open."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    return stat.S_ISREG(mode) and bool(mode & (stat.S_IRWXG | stat.S_IRWXO))
