"""Where local servers keep what they fetched and, when asked to outlive a command, their data."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from detector.errors import ServerError


def cache_folder(name: str) -> Path:
    """Return the folder `name` under ``$XDG_CACHE_HOME/detector`` (or ``~/.cache/detector``), made where it is missing.

    Raises `ServerError` where it cannot be made.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "detector" / name
    make_folder(folder)
    return folder


def make_folder(folder: Path) -> None:
    """Make `folder`, readable by its owner only, unless it is there. Raises `ServerError` where it cannot be made."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ServerError(f"{folder}: cannot be made: {error.strerror}") from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes that ask for the same folder waiting until this one is done with it."""
    try:
        file = (folder / "lock").open("wb")
    except OSError as error:
        raise ServerError(f"{folder}: cannot be written: {error.strerror}") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
