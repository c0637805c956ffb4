"""Compiled loops, and the cache of their machine code, for every room that has some.

Compiling takes seconds to minutes of CPU time, so machine code is kept on disk. numba notices a change in the file of a
function, but not in the files of the functions that it calls. So the folder of a room is named after a digest of all its code:
after any change everything is compiled again, and stale code never runs. The digest ignores comments and docstrings.
"""

import hashlib
import os
import pickle
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import CodeType
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache

__all__ = ["cached", "code_folder", "inlined"]

F = TypeVar("F", bound=Callable[..., object])


def code_folder(kind: str, package: Path, homes: Iterable[str]) -> Path | None:
    """Return the folder of the machine code of `package`, or None where none can be written.

    `homes` are the folders within the package whose modules make up the code. The folder lies under ``$XDG_CACHE_HOME`` (or
    ``~/.cache``), in ``detector/<kind>-<digest of the sources>``. A new one starts as a copy of the machine code that was
    compiled at installation, if there is any under ``<prefix>/share``.
    """
    name = f"{kind}-{_digest(package, homes)}"
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "detector" / name
    try:
        if not folder.is_dir():
            _begin(folder, Path(sys.prefix) / "share" / "detector" / name)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def _begin(folder: Path, installed: Path) -> None:
    """Make the folder with a copy of the installed code, in one step, so that no other process finds half of it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        new = Path(place) / folder.name
        if installed.is_dir():
            shutil.copytree(installed, new, copy_function=shutil.copyfile)
        else:
            new.mkdir()
        with suppress(OSError):  # another process was first
            new.rename(folder)


def _digest(package: Path, homes: Iterable[str]) -> str:
    """Return the digest of all code: it changes when any of it may compute something else."""
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(path for home in homes for path in (package / home).glob("*.py")):
        digest.update(f"{source.parent.name}/{source.name}".encode())
        # Optimised code has no docstrings. It has no assertions either, but kernels contain none.
        for part in _computed(compile(source.read_bytes(), source.name, "exec", dont_inherit=True, optimize=2)):
            digest.update(part)
    return digest.hexdigest()[:16]


def _computed(code: CodeType) -> Iterator[bytes]:
    """Yield all that determines what a piece of code computes; line numbers do not."""
    yield code.co_code
    yield code.co_exceptiontable
    yield repr((code.co_name, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)).encode()
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _computed(constant)
        else:  # a set has no order that two processes agree on
            yield repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant).encode()


def cached(function: F, folder: Path | None) -> F:
    """Compile `function` on its first call; keep the machine code in `folder` for the next process, where there is one.

    Division by zero gives infinity or NaN as in numpy rather than an exception, and the order of sums is kept as written, so
    that the same input gives the same bits.
    """
    if folder is None:
        return cast("F", numba.njit(error_model="numpy")(function))
    # numba reads the setting while it makes the cache, so it is put back at once and other users of numba keep their own.
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(folder)
    try:
        compiled = numba.njit(error_model="numpy")(function)
        compiled._cache = _CodeCache(function)  # noqa: SLF001  # what cache=True does, but for the class
        return cast("F", compiled)
    finally:
        numba.config.CACHE_DIR = before


def inlined(function: F) -> F:
    """Compile `function` with whatever calls it; its machine code is kept with that of the caller, not on its own."""
    return cast("F", numba.njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)(function))


class _CodeCache(FunctionCache):  # type: ignore[misc]  # numba has no types
    """numba's cache, but no file in it can stop the program: what is damaged is compiled anew, a full disk keeps nothing."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the machine code of a signature, None where there is none that can be used."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # noqa: BLE001  # whatever unpickling a damaged file leads to
            with suppress(Exception):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the machine code of a signature where that is possible."""
        with suppress(OSError, EOFError, pickle.PickleError):
            super().save_overload(sig, data)
