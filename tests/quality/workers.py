"""Long work in pieces: in one process or in several, with progress, and kept by a name that says what it depends on."""

import hashlib
import json
import multiprocessing
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from threadpoolctl import threadpool_limits

from detector.errors import OutputError

SECONDS_OF_SILENCE = 60.0
ROOT = Path(__file__).parents[2]
SOURCES = tuple(
    ROOT / folder for folder in ("detector/redteam", "detector/engine", "detector/ingest", "detector/config", "tests/quality")
)


def each(work: Callable[..., None], todo: Iterable[tuple[Any, ...]], jobs: int) -> Iterator[None]:
    """Do all, in this process or in several, and yield after each."""
    listed = list(todo)
    if jobs == 1 or len(listed) < 2:
        with threadpool_limits(1):
            for one in listed:
                work(*one)
                yield
        return
    context = multiprocessing.get_context("spawn")
    # Sums of several threads differ in the last bit, and with one process a core they would only wait for each other.
    with ProcessPoolExecutor(min(jobs, len(listed)), context, initializer=threadpool_limits, initargs=(1,)) as pool:
        futures: list[Future[None]] = [pool.submit(work, *one) for one in listed]
        for future in as_completed(futures):
            yield future.result()


def digest(what: object, unrelated: Collection[str]) -> str:
    """What figures depend on besides their own seeds, as a short name: the code of the detector, and `what` by its repr.

    Modules whose file is called one of `unrelated` do not count.
    """
    found = hashlib.sha256(repr(what).encode())
    for folder in SOURCES:
        for source in sorted(folder.rglob("*.py")):
            if source.stem not in unrelated and not source.stem.startswith("test_"):
                found.update(source.read_bytes())
    return found.hexdigest()[:12]


def state_folder(out: Path, name: str) -> Path:
    """Make the folder below `out` where finished pieces are kept; raises `OutputError` when it cannot be written."""
    state = out / "state" / name
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {out}: {error.strerror or error}") from error
    return state


def keep(found: dict[str, Any], path: Path) -> None:
    """Write what a piece of work has found; the file is there once it is whole."""
    path.with_suffix(".part").write_text(json.dumps(found, allow_nan=False) + "\n", encoding="utf-8")
    path.with_suffix(".part").replace(path)


@contextmanager
def progress(console: Console, first: str) -> Iterator[Callable[[str, int, int], None]]:
    """Show how far the work is, by a bar or, where there is no terminal, a line a minute; tell what comes back what is done."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(first, total=None)
        began = said = time.monotonic()

        def told(what: str, done: int, total: int) -> None:
            nonlocal said
            bar.update(task, description=what, completed=done, total=total)
            now = time.monotonic()
            if not console.is_terminal and (now - said > SECONDS_OF_SILENCE or done == total):
                said = now
                console.print(f"{what}: {done} of {total} after {now - began:.0f} s")

        yield told
