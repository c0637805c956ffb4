"""Measure whether a theft that is spread over accounts is found: ``python -m tests.quality.campaigns --out DIR``.

Plays days of many benign accounts, and campaigns on top of them, before the search for links alone. Writes the cells to
``campaigns.jsonl`` and the table to ``campaigns.md``, after each day. By default the open worlds are played; ``--half
held-out`` plays the ten benign days that say how often innocents are linked, and nobody looks at these while anything changes.
"""

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import typer
from threadpoolctl import threadpool_limits

from detector.errors import ConfigError, DetectorError, OutputError
from tests.quality.campaigns.cells import QUERIES, Pass, benign_cell, campaign_cell, chosen_passes
from tests.quality.campaigns.dealt import Theft, dealt, thefts
from tests.quality.campaigns.found import Size
from tests.quality.campaigns.linked import linked
from tests.quality.campaigns.table import markdown
from tests.quality.campaigns.traffic import Traffic, together
from tests.quality.campaigns.worlds import WORLDS, World, day_of, served
from tests.quality.quality import errors
from tests.quality.workers import progress

FULL = Size(teaching=600, calibrating=2000, day=2000)
QUICK = Size(teaching=300, calibrating=600, day=600)


def played(one: Pass, size: Size) -> Iterator[dict[str, Any]]:
    """Play a pass: what innocents met, then a cell for each attack."""
    target = served(one.world).thieves
    day = _day(one.world, size.day)
    stolen: Sequence[Theft] = []
    if one.split is not None:
        stolen = _thefts(one.world, one.attacks, one.cover)
        deals = [dealt(theft, target, one.accounts, one.split, one.world.seed) for theft in stolen]
        day = together([day, *deals])
    found = linked(one.world, day, size)
    yield benign_cell(one, day, found)
    for theft in stolen:
        yield campaign_cell(one, theft, day, found)


@lru_cache(maxsize=1)
def _day(world: World, accounts: int) -> Traffic:
    return day_of(world, accounts)


@lru_cache(maxsize=4)
def _thefts(world: World, attacks: tuple[str, ...], cover: float) -> list[Theft]:
    return thefts(attacks, served(world).thieves, cover, QUERIES, world.seed)


def publish(found: Sequence[dict[str, Any]], out: Path, note: str) -> str:
    """Write the cells and the table into `out` and return the table; raises `OutputError` when that cannot be done."""
    table = markdown(found, note)
    try:
        out.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(cell, allow_nan=False) + "\n" for cell in found)
        (out / "campaigns.jsonl").write_text(lines, encoding="utf-8")
        (out / "campaigns.md").write_text(table, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write to {out}: {error.strerror or error}") from error
    return table


def command(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="where cells and table go")],
    world: Annotated[list[str] | None, typer.Option("--world", metavar="ID", help="these worlds; repeatable")] = None,
    half: Annotated[str | None, typer.Option("--half", metavar="HALF", help="open or held-out; open by default")] = None,
    only: Annotated[str, typer.Option("--only", metavar="PART", help="passes whose id contains this")] = "",
    *,
    quick: Annotated[bool, typer.Option("--quick", help="three worlds, fewer accounts, attacks and ways to deal")] = False,
) -> None:
    """Measure how campaigns are found, and how often innocents are linked."""
    try:
        unknown = [name for name in world or [] if name not in WORLDS]
        if unknown:
            raise ConfigError(f"there is no world {unknown[0]!r}; there are: {', '.join(WORLDS)}")
        if half not in {None, "open", "held-out"}:
            raise ConfigError(f"a half is open or held-out, not {half!r}")
        passes = [one for one in chosen_passes(world or [], half, quick=quick) if only in one.id]
        if not passes:
            raise ConfigError(f"no pass has an id with {only!r}; ids look like patches-all.round-robin-100.cover-50")
        size = QUICK if quick else FULL
        note = f"{len(passes)} days with {size.day} benign accounts or more{', at the quick size' if quick else ''}."
        found: list[dict[str, Any]] = []
        table = ""
        with threadpool_limits(1), progress(errors, "playing") as told:
            for number, one in enumerate(passes):
                told(one.id, number, len(passes))
                found += played(one, size)
                table = publish(found, out, note)
            told("played", len(passes), len(passes))
        typer.echo(table)
    except DetectorError as error:
        errors.print(str(error), soft_wrap=True, markup=False)
        raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from None


if __name__ == "__main__":
    typer.run(command)
