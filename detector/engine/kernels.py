"""Compiled kernels, and the cache of their machine code.

Every event passes through a few small loops compiled by numba. Compiling all of them takes a minute of CPU time, so the machine
code is cached on disk. numba notices a change in the file of a kernel, but not in the files of the kernels that it calls. So
the cache folder is named after a digest of the code of all kernels: after any change all are compiled again, and stale code
never runs. The digest ignores comments and docstrings. After an edit of those, numba compiles the kernels of that file again.
"""

import hashlib
import os
import pickle
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any, TypeVar, cast

import numba
from numba.core import event
from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher

F = TypeVar("F", bound=Callable[..., object])

_HOMES = ("memory", "features", "evidence", "models", "fitting", "odometer", "links/seeking")
_COMPILED = "numba:compile"


@cache
def cache_folder() -> Path | None:
    """Folder for compiled code, or None where none can be written (then every process compiles for itself).

    It lies under ``$XDG_CACHE_HOME`` (or ``~/.cache``), in ``detector/kernels-<digest of the sources>``. A new folder starts as
    a copy of the machine code that was compiled at installation, if there is any. ``detector warm-up`` with
    ``XDG_CACHE_HOME=<prefix>/share`` puts it there; an image built so compiles nothing at its first start.
    """
    name = f"kernels-{_digest(Path(__file__).parent)}"
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


def _digest(package: Path) -> str:
    """Return the digest of all kernels: it changes when any of them may compute something else."""
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(path for home in _HOMES for path in (package / home).glob("*.py")):
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


def kernel(function: F) -> F:
    """Compile `function` on its first call; keep the machine code for the next process.

    Division by zero gives infinity or NaN as in numpy rather than an exception, and the order of sums is kept as written, so
    that the same events give the same bits.
    """
    folder = cache_folder()
    if folder is None:
        return cast("F", numba.njit(error_model="numpy")(function))
    # numba reads the setting while it makes the cache, so it is put back at once and other users of numba keep their own.
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(folder)
    try:
        compiled = numba.njit(error_model="numpy")(function)
        compiled._cache = _KernelCache(function)  # noqa: SLF001  # what cache=True does, but for the class
        return cast("F", compiled)
    finally:
        numba.config.CACHE_DIR = before


class _KernelCache(FunctionCache):  # type: ignore[misc]  # numba has no types
    """numba's cache, but no file in it can stop the engine: what is damaged is compiled anew, a full disk keeps nothing."""

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


def part(function: F) -> F:
    """Make `function` a part of each kernel that calls it; it is not compiled on its own.

    For functions that take a whole tuple of arrays. A kernel copies every array of such a tuple at every call, which takes
    longer than most tests of a query. A part also saves a compilation. Not for a function that is called at many places.
    """
    return cast("F", numba.njit(error_model="numpy", inline="always")(function))


def entry(function: Callable[..., Any], arguments: Sequence[Any]) -> Callable[..., Any]:
    """Return the compiled code of a kernel for arguments like these, which looks at nobody's types again.

    A kernel finds out at each call the type of every array of every tuple that it is given. With a hundred arrays that takes
    longer than all that is computed for a query. Whoever calls the returned function is responsible: it must be given arrays of
    the same types, layouts and dimensions as here. Anything else is read as what it is not.
    """
    if not isinstance(function, Dispatcher):  # numba is switched off
        return function
    compiled: Callable[..., Any] = function.compile(tuple(map(numba.typeof, arguments)))
    return compiled


@contextmanager
def compiling(tell: Callable[[str], None]) -> Iterator[None]:
    """Call `tell` with the name of each kernel that is compiled before the block ends; cached kernels are not reported.

    It is called in the thread that compiles, which waits for it. Kernels compiled at import are not reported either.
    """
    with event.install_listener(_COMPILED, _Listener(tell)):
        yield


class _Listener(event.Listener):  # type: ignore[misc]  # numba has no types
    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def on_start(self, event: Any) -> None:
        """Report one of this project's kernels; numba compiles helpers of its own, too."""
        function = event.data["dispatcher"].py_func
        if function.__module__.startswith("detector."):
            self._tell(function.__name__)

    def on_end(self, event: Any) -> None:
        """Do nothing; only the start is reported."""
