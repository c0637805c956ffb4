"""The engine's compiled kernels, and the cache of their machine code.

Every event passes through a few small loops compiled by numba. Compiling all of them takes a minute of CPU time, so the machine
code is cached on disk, as `detector.compiled` explains: after any change of a kernel all are compiled again. After an edit of
comments or docstrings, numba compiles the kernels of that file again.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core import event
from numba.core.dispatcher import Dispatcher

from detector.compiled import cached, code_folder

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
    return code_folder("kernels", Path(__file__).parent, _HOMES)


def kernel(function: F) -> F:
    """Compile `function` on its first call; keep the machine code for the next process.

    Division by zero gives infinity or NaN as in numpy rather than an exception, and the order of sums is kept as written, so
    that the same events give the same bits.
    """
    return cached(function, cache_folder())


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
