"""Compiled kernels and where their machine code is kept.

Every event passes through a handful of small loops compiled by numba. Compiling takes seconds, so the machine code is cached
on disk. numba notices a change in the file of a kernel but not in the files of the kernels it calls; here the cache folder is
named after the contents of all of them, so an edit anywhere is compiled afresh and never runs stale code.
"""

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])

_HOMES = ("memory", "features", "evidence", "models", "fitting")


@cache
def cache_folder() -> Path | None:
    """Folder for compiled code, or None where none can be written (then every process compiles for itself).

    It lies under ``$XDG_CACHE_HOME`` (or ``~/.cache``), in ``detector/kernels-<digest of the sources>``.
    """
    digest = hashlib.sha256(numba.__version__.encode())
    package = Path(__file__).parent
    for source in sorted(path for home in _HOMES for path in (package / home).glob("*.py")):
        digest.update(source.read_bytes())
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "detector" / f"kernels-{digest.hexdigest()[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def kernel(function: F) -> F:
    """Compile `function` on its first call; keep the machine code for the next process.

    Division by zero gives infinity or NaN as in numpy rather than an exception, and the order of sums is kept as written, so
    that the same events give the same bits.
    """
    folder = cache_folder()
    if folder is None:
        return cast("F", numba.njit(error_model="numpy")(function))
    # numba reads the setting while it decorates, so it is put back at once and other users of numba keep their own.
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(folder)
    try:
        return cast("F", numba.njit(cache=True, error_model="numpy")(function))
    finally:
        numba.config.CACHE_DIR = before
