"""The command that measures what hiding costs thieves."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from detector.cli.redteam import progress
from detector.cli.terminal import AsJson, print_json
from detector.console import Console
from detector.errors import ConfigError


def redteam_price(
    evasions: Annotated[list[str] | None, typer.Argument(metavar="EVASION...", help="all by default")] = None,
    model: Annotated[str, typer.Option("--model", metavar="M", help="demo, digits, loans, mlp:wine, tree:iris, ...")] = "demo",
    wire: Annotated[
        str | None,
        typer.Option("--wire", metavar="W", help="how queries arrive: uint8, jpeg, grid, float16, decimals-4, ..."),
    ] = None,
    answers: Annotated[
        str, typer.Option("--answers", metavar="A", help="what the model tells: full, decimals-N, top-1, label")
    ] = "full",
    budget: Annotated[int, typer.Option("--budget", "-n", min=1, help="queries of each thief, cover included")] = 400,
    instances: Annotated[int, typer.Option("--instances", min=1, help="thieves of each kind")] = 3,
    seed: Annotated[int, typer.Option("--seed", min=0, help="the same seed gives the same figures")] = 0,
    *,
    as_json: AsJson = False,
) -> None:
    """Measure what hiding costs thieves who know this design: their copies beside those of the plain attacks."""
    from detector.redteam.design_aware import EVASIONS, evasions_of
    from detector.redteam.price import prices
    from detector.redteam.targets import named

    target = named(model, seed).over(wire, answers)
    fitting = evasions_of(target.data)
    for name in evasions or []:
        if name not in fitting:
            reason = f"{name} takes {' or '.join(EVASIONS[name].data)} data" if name in EVASIONS else f"there is no {name!r}"
            raise ConfigError(f"{reason}; for {target.data} data there are: {', '.join(fitting)}")
    chosen = [fitting[name] for name in evasions or fitting]
    with progress(len(chosen)) as show:
        found = prices(chosen, target, budget, instances, seed, lambda _id: show())
    if as_json:
        print_json({"model": target.id, "wire": target.wire.inputs, "prices": [{**asdict(p), "price": p.price} for p in found]})
        return
    table = Table(
        caption=f"Model {target.id}, wire {target.wire.inputs}, {budget} queries, means of {instances} thieves. Copy: share of "
        "test examples on which the best copy trained on the answers agrees with the model. Price: points lost against the "
        "plain attack. Natural: the copy of somebody who asks about natural examples only.",
        caption_justify="left",
    )
    table.add_column("evasion", no_wrap=True)
    table.add_column("in place of", overflow="fold")
    for column in ("made", "natural", "plain", "copy", "price"):
        table.add_column(column, justify="right", no_wrap=True, min_width=len(column))
    for one, priced in zip(chosen, found, strict=True):
        shares = (f"{share:.0%}" for share in (priced.natural, priced.plain, priced.copy))
        table.add_row(one.id, one.plain, f"{priced.made:.0f}", *shares, f"{100 * priced.price:+.0f}")
    Console().print(table)
