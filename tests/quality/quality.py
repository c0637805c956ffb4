"""Measure the scenario table: ``python -m tests.quality.quality --out DIR``.

Writes the cells to ``cells.jsonl``, one a line, the table to ``quality.md`` and the picture to ``quality.png``. What is
finished is kept in the folder, so an interrupted run goes on where it was; a cell is played again when its scenario, the size
or the code of the detector has changed. The same seeds give the same figures, however many processes work. Exit status 1
where a promise is not kept or a cell could not be played.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from detector.distribution import install
from detector.errors import ConfigError, DetectorError, OutputError
from detector.redteam.registry import ATTACKS
from tests.quality import audit, cells, curves, table
from tests.quality.matches import FULL, SMALL, Size, knowledge, play
from tests.quality.scenario import Innocence, Scenario, Theft
from tests.quality.scenarios import CELLS
from tests.quality.simulation import REAL
from tests.quality.workers import digest, each, keep, progress, state_folder

REAL_DATA = "DETECTOR_QUALITY_DATA"
UNRELATED = frozenset(
    {
        *("table", "curves", "audit", "quality", "goals", "scenario", "scenarios", "cells"),
        *("workers", "false_alarms", "alarm_table", "world_cells", "world_table", "halves", "transfer"),
    }
)
"""Modules that no match depends on."""

errors = Console(stderr=True, highlight=False)


def chosen(patterns: Sequence[str], scenarios: Sequence[Scenario] = CELLS) -> list[Scenario]:
    """The cells whose id is, or matches, one of the patterns, all without any; raises `ConfigError` if a pattern has none.

    >>> [cell.id for cell in chosen(["digits-mlp.jbda.cover-*5"])]
    ['digits-mlp.jbda.cover-75', 'digits-mlp.jbda.cover-95']
    """
    for pattern in patterns:
        if not any(fnmatchcase(cell.id, pattern) for cell in scenarios):
            raise ConfigError(
                f"no cell is called {pattern!r}; ids look like digits-mlp.jbda.cover-75, and * stands for any part"
            )
    return [cell for cell in scenarios if not patterns or any(fnmatchcase(cell.id, pattern) for pattern in patterns)]


def obstacle(cell: Scenario, real: Path | None) -> str | None:
    """Say why a cell cannot be played here: a package or data that are missing; None if it can."""
    if cell.data in REAL and real is None:
        return f"{cell.data} is not here: name its folder with --data or {REAL_DATA}"
    extra = ATTACKS[cell.attack].extra if isinstance(cell, Theft) else None
    if extra is not None and find_spec(extra) is None:
        return install(extra)
    return None


def measure(
    scenarios: Sequence[Scenario],
    out: Path,
    size: Size,
    *,
    real: Path | None = None,
    jobs: int = 1,
    told: Callable[[str, int, int], None] = lambda _what, _done, _total: None,
) -> list[dict[str, Any]]:
    """Play the cells that can be played here, or take them from `out`, and return them in the order of `scenarios`.

    A cell that fails comes back with its ``error``. `told` hears of the progress: what, done, of how many. Raises
    `OutputError` when the folder cannot be written.
    """
    state = state_folder(out, digest(size, UNRELATED))
    played = [cell for cell in scenarios if obstacle(cell, real) is None]
    missing = [cell for cell in played if not _kept(state, cell).exists()]
    lessons = {(cell.simulation, cell.seed, _without(cell)): cell for cell in missing}
    for what, work, todo in (("learning", _learn, list(lessons.values())), ("playing", _play, missing)):
        for done, _ in enumerate(each(work, [(cell, size, state, real) for cell in todo], jobs), 1):
            told(what, done, len(todo))
    return [cells.summed(cell, json.loads(_kept(state, cell).read_text(encoding="utf-8"))) for cell in played]


def _kept(state: Path, cell: Scenario) -> Path:
    """Where a cell's match is kept: under what was played, whatever the target."""
    bare = replace(cell, goal=None) if isinstance(cell, Theft) else replace(cell, limits=None)
    return state / f"{cell.id}-{hashlib.sha256(repr(bare).encode()).hexdigest()[:8]}.json"


def _without(cell: Scenario) -> str | None:
    return cell.without if isinstance(cell, Innocence) else None


def _learn(cell: Scenario, size: Size, state: Path, real: Path | None) -> None:
    try:
        knowledge(cell.data, cell.victim, cell.seed, real, size, state, _without(cell))
    except DetectorError:
        return  # every cell that needs it will say so


def _play(cell: Scenario, size: Size, state: Path, real: Path | None) -> None:
    try:
        found = play(cell, size, state, real)
    except (DetectorError, ValueError) as error:
        found = {"error": str(error)}
    keep(found, _kept(state, cell))


def publish(found: Sequence[dict[str, Any]], out: Path, note: str) -> None:
    """Write the cells, the table and the picture into `out`; raises `OutputError` when that cannot be done."""
    whole = [cell for cell in found if "error" not in cell]
    try:
        lines = "".join(json.dumps(cell, allow_nan=False) + "\n" for cell in found)
        (out / "cells.jsonl").write_text(lines, encoding="utf-8")
        (out / "quality.md").write_text(table.markdown(whole, note), encoding="utf-8")
        curves.draw(whole, out / "quality.png")
    except OSError as error:
        raise OutputError(f"cannot write to {out}: {error.strerror or error}") from error


def command(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="where the table goes, and what is finished is kept")],
    only: Annotated[list[str] | None, typer.Option("--only", metavar="ID", help="these cells; * matches; repeatable")] = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", envvar=REAL_DATA, help="folder with MNIST and Adult")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="processes")] = os.cpu_count() or 1,
    *,
    small: Annotated[bool, typer.Option("--small", help="a few of each and a shorter past, for a first look")] = False,
    thieves: Annotated[int | None, typer.Option("--thieves", min=1, help="at most so many thieves a cell")] = None,
    sessions: Annotated[int | None, typer.Option("--sessions", min=1, help="at most so many innocents a cell")] = None,
) -> None:
    """Measure detection quality, cell by cell, against published detectors."""
    try:
        missing = audit.faults(CELLS)
        if missing:
            raise ConfigError("the table is not complete: " + "; ".join(missing))
        cells_wanted = chosen(only or [], CELLS)
        skipped = {cell.id: why for cell in cells_wanted if (why := obstacle(cell, data)) is not None}
        size = SMALL if small else FULL
        size = replace(size, instances=thieves or size.instances, sessions=sessions or size.sessions)
        with progress(errors, "learning") as told:
            found = measure(cells_wanted, out, size, real=data, jobs=jobs, told=told)
        note = (
            f"{len(found)} of {len(cells_wanted)} cells were played{', at the small size' if small else ''}, "
            f"with at most {size.instances} thieves and {size.sessions} innocents each."
        )
        publish(found, out, note)
    except DetectorError as error:
        errors.print(str(error), soft_wrap=True, markup=False)
        raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from None
    for why in dict.fromkeys(skipped.values()):
        count = sum(reason == why for reason in skipped.values())
        errors.print(f"{count} cells left out: {why}", soft_wrap=True, markup=False)
    failed = [cell for cell in found if "error" in cell]
    for cell in failed:
        errors.print(f"{cell['id']}: {cell['error']}", soft_wrap=True, markup=False)
    broken = [cell["id"] for cell in found if "error" not in cell and not cell["kept"]]
    for name in broken:
        errors.print(f"{name}: the promise is not kept", markup=False)
    errors.print(f"table: {out / 'quality.md'}", soft_wrap=True, markup=False)
    if failed or broken:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(command)
