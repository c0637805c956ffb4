"""Measure whether detection carries over to other data: ``python -m tests.quality.transfer --out DIR``.

Plays the attacks, the thieves who know the design and the innocents in every world (`tests.quality.worlds`), each on its own
wire, before our detector alone. Writes the cells to ``worlds.jsonl`` and the table to ``worlds.md``. What is finished is kept
in the folder, so an interrupted run goes on where it was; a cell is played again when its scenario, the size or the code of
the detector has changed.

Exit status 1 where the half of the worlds that is held out falls too far behind the other in any group
(`tests.quality.goals.MOST_BEHIND`), or a cell could not be played.

Whoever changes the detector looks at ``--half open`` or at single worlds of it, and at the whole only to publish it.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from detector.errors import ConfigError, DetectorError, OutputError
from detector.redteam.design_aware import EVASIONS
from tests.quality import halves, world_table
from tests.quality.history import Past
from tests.quality.matches import Size
from tests.quality.quality import chosen, errors, measure
from tests.quality.scenario import Scenario
from tests.quality.workers import progress
from tests.quality.world_cells import WORLD_CELLS
from tests.quality.worlds import VICTIMS

FULL = Size(Past(teaching=6, queries=600, lesson=0, least=300), instances=5, sessions=10, budget=400, copied=2, compared=False)
QUICK = Size(Past(teaching=3, queries=300, lesson=0, least=150), instances=2, sessions=3, budget=300, copied=1, compared=False)


def cells_for(worlds: Sequence[str], half: str | None, only: Sequence[str]) -> list[Scenario]:
    """The cells of these worlds, of one half, whose id matches a pattern, all by default; `ConfigError` for an unknown name."""
    strange = [world for world in worlds if world not in VICTIMS]
    if strange:
        raise ConfigError(f"there is no world {strange[0]!r}; there are: {', '.join(VICTIMS)}")
    if half is not None and half not in {"open", "held-out"}:
        raise ConfigError(f"a half is open or held-out, not {half!r}")
    found = [
        cell
        for cell in chosen(only, WORLD_CELLS)
        if (not worlds or cell.data in worlds) and (half is None or halves.half_of(cell.data) == half.replace("-", " "))
    ]
    if not found:
        raise ConfigError("no cell is left to play: --world, --half and --only exclude each other here")
    return found


def priced(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add the measured `price` to each cell of a thief who knows the design: how much worse his copy is than the plain one's.

    None where the plain attack was not played in the same world.
    """
    plain = {
        (cell["data"], cell["attack"]): cell["copy_whole"]
        for cell in found
        if cell.get("kind") == "theft" and not cell["evasion"] and not cell["cover"]
    }
    return [cell | {"price": _price(cell, plain)} if cell.get("evasion") else cell for cell in found]


def _price(cell: dict[str, Any], plain: dict[tuple[str, str], float | None]) -> float | None:
    other = plain.get((cell["data"], EVASIONS[cell["evasion"]].plain))
    return None if other is None or cell["copy_whole"] is None else round(other - cell["copy_whole"], 4)


def publish(found: Sequence[dict[str, Any]], out: Path, note: str) -> str:
    """Write the cells and the table into `out` and return the table; raises `OutputError` when that cannot be done."""
    table = world_table.markdown([cell for cell in found if "error" not in cell], note)
    try:
        lines = "".join(json.dumps(cell, allow_nan=False) + "\n" for cell in found)
        (out / "worlds.jsonl").write_text(lines, encoding="utf-8")
        (out / "worlds.md").write_text(table, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write to {out}: {error.strerror or error}") from error
    return table


def command(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="where the table goes, and what is finished is kept")],
    world: Annotated[list[str] | None, typer.Option("--world", metavar="NAME", help="these worlds; repeatable")] = None,
    half: Annotated[str | None, typer.Option("--half", metavar="HALF", help="open or held-out")] = None,
    only: Annotated[list[str] | None, typer.Option("--only", metavar="ID", help="these cells; * matches; repeatable")] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="processes")] = os.cpu_count() or 1,
    thieves: Annotated[int | None, typer.Option("--thieves", min=1, help="at most so many thieves a cell")] = None,
    sessions: Annotated[int | None, typer.Option("--sessions", min=1, help="at most so many innocents a cell")] = None,
    *,
    quick: Annotated[bool, typer.Option("--quick", help="a few of each and a shorter past, for a first look")] = False,
) -> None:
    """Measure detection in every world, the held-out half beside the other."""
    try:
        wanted = cells_for(world or [], half, only or [])
        size = QUICK if quick else FULL
        size = replace(size, instances=thieves or size.instances, sessions=sessions or size.sessions)
        with progress(errors, "learning") as told:
            found = priced(measure(wanted, out, size, jobs=jobs, told=told))
        note = (
            f"{len(found)} cells, at most {size.instances} thieves with {size.budget} queries and {size.sessions} innocents "
            f"each{', at the quick size' if quick else ''}."
        )
        typer.echo(publish(found, out, note))
    except DetectorError as error:
        errors.print(str(error), soft_wrap=True, markup=False)
        raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from None
    failed = [f"{cell['id']}: {cell['error']}" for cell in found if "error" in cell]
    behind = halves.behind([cell for cell in found if "error" not in cell])
    for line in [*failed, *behind, f"table: {out / 'worlds.md'}"]:
        errors.print(line, soft_wrap=True, markup=False)
    if failed or behind:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(command)
