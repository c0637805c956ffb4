"""How many accounts of a campaign are met by their own evidence: ``python -m tests.quality.campaigns.alone --out DIR``.

The table of campaigns plays the search for links alone. Where a theft is dealt so that each account holds both a seed and what
is made of it, links find nothing, but each account's own evidence does. Here the whole engine but for links judges the accounts
of one thief, without any benign client beside them. What is learned is kept in the folder.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from detector.errors import ConfigError, DetectorError
from detector.redteam.registry import ATTACKS
from detector.redteam.sessions import Disguise, thief
from tests.quality.matches import knowledge
from tests.quality.observed import Found, Log, ours, settings_for, written
from tests.quality.quality import errors
from tests.quality.simulation import kind_of, simulated
from tests.quality.transfer import FULL, QUICK
from tests.quality.worlds import VICTIMS

WORLDS = ("digits_8bit", "patches", "features", "fraud", "wide")
ATTACKS_PLAYED = ("jbda", "t_rnd", "line_search", "hopskipjump", "path_finding", "finite_differences")
QUERIES = 2000
GAP_S = 1.0
HEADER = ("world", "attack", "accounts", "stopped at a quarter", "at a half", "at the end")


def stopped_by(log: Log, found: Mapping[str, Found]) -> tuple[int, int, int]:
    """Return how many accounts were stopped by a quarter of the queries, by a half, and at the end."""
    places = [one.place for one in found.values()]
    asked = len(log.player)
    quarter, half, end = (sum(place < share * asked for place in places) for share in (0.25, 0.5, 1.0))
    return quarter, half, end


def row(world: str, attack: str, accounts: int, *, queries: int, folder: Path, quick: bool) -> tuple[str, ...]:
    """Play one theft that is dealt in turn; return its row of the table."""
    victim = VICTIMS[world]
    size = QUICK if quick else FULL
    known = knowledge(world, victim, 0, None, size, folder, None)
    served = simulated(world, victim, 0)
    one = thief(attack, 0, served.thieves, Disguise(accounts=accounts), queries, GAP_S, 0)
    log = written([one], served.thieves, labels_only=served.labels_only)
    found = ours(log, settings_for(served), known.baseline.models)["stop"]
    return (world, attack, str(accounts), *(str(count) for count in stopped_by(log, found)))


def command(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="where what is learned is kept")],
    world: Annotated[list[str] | None, typer.Option("--world", metavar="NAME", help="these worlds; repeatable")] = None,
    accounts: Annotated[list[int] | None, typer.Option("--accounts", min=2, help="so many; repeatable; 5, 20 and 100")] = None,
    queries: Annotated[int, typer.Option("--queries", min=1, help="of the whole campaign")] = QUERIES,
    *,
    quick: Annotated[bool, typer.Option("--quick", help="a shorter past")] = False,
) -> None:
    """Measure how many accounts of a campaign are stopped by their own evidence."""
    try:
        if unknown := [name for name in world or [] if name not in VICTIMS]:
            raise ConfigError(f"there is no world {unknown[0]!r}; there are: {', '.join(VICTIMS)}")
        typer.echo(f"| {' | '.join(HEADER)} |\n|---|---|---:|---:|---:|---:|")
        for name in world or WORLDS:
            for attack in (known for known in ATTACKS_PLAYED if kind_of(name) in ATTACKS[known].data):
                for dealt in accounts or (5, 20, 100):
                    found = row(name, attack, dealt, queries=queries, folder=out, quick=quick)
                    typer.echo(f"| {' | '.join(found)} |")
    except DetectorError as error:
        errors.print(str(error), soft_wrap=True, markup=False)
        raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from None


if __name__ == "__main__":
    typer.run(command)
