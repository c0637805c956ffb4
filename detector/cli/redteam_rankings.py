"""Commands of the red team for recommenders: the table of defences, a log of their clients, and a recommender to attack."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from detector.cli.redteam import progress
from detector.cli.terminal import AsJson, check_place, errors, print_json, write_table
from detector.console import Console, say
from detector.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detector.redteam.rankings.measured import Scene

_Items = Annotated[int, typer.Option("--items", min=48, max=2000, metavar="N", help="items of the catalogue")]
_Model = Annotated[int, typer.Option("--model-seed", min=0, metavar="N", help="the shop and its recommender")]
_Defence = Annotated[str, typer.Option("--defence", metavar="D", help="none, top 5, keyed swaps, ...")]


def redteam_rankings(
    budget: Annotated[int, typer.Option("--queries", min=10, max=20_000, metavar="N", help="of each thief")] = 1000,
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=20, metavar="N", help="shops, models and thieves")] = 3,
    defences: Annotated[
        list[str] | None,
        typer.Option("--defence", metavar="D", help="none, top 5, ...; repeatable; all by default"),
    ] = None,
    items: _Items = 300,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="also write it as Markdown")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Print how well copies of a recommender agree with it, and what each defence costs honest users."""
    from detector.redteam.rankings.measured import DEFENCES, markdown, measure, table

    for name in defences or []:
        _known(name)
    check_place(out, "table")
    with errors.status("measuring") as status:
        rows = measure(budget, seeds, defences=tuple(dict.fromkeys(defences or DEFENCES)), items=items, note=status.update)
    write_table(out, markdown(rows))
    if as_json:
        print_json([row._asdict() for row in rows])
    else:
        Console().print(table(rows))


def redteam_rankings_log(
    kinds: Annotated[
        list[str] | None, typer.Argument(metavar="CLIENT...", help="traverse, natural, browse, batch, ...; all by default")
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="LOG", help="the log; beside it goes LOG's truth")] = Path(
        "rankings.jsonl"
    ),
    instances: Annotated[int, typer.Option("--instances", min=1, max=1000, help="clients of each kind")] = 1,
    budget: Annotated[int, typer.Option("--queries", "-n", min=1, help="of each client")] = 300,
    seed: Annotated[int, typer.Option("--seed", min=0, help="the same seed writes the same log")] = 0,
    day: Annotated[int, typer.Option("--day", min=0, max=3650, help="days after the first day that is simulated")] = 0,
    model_seed: _Model = 0,
    items: _Items = 300,
    defence: _Defence = "none",
    inputs: Annotated[str, typer.Option("--input", metavar="FORM", help="of histories: columns, vector")] = "columns",
) -> None:
    """Let thieves and innocents ask a recommender, and write the prediction log that its server would."""
    from detector.redteam.rankings.clients import ATTACKS, HABITS
    from detector.redteam.rankings.log import INPUTS, cast, play
    from detector.redteam.rankings.measured import served

    if inputs not in INPUTS:
        raise ConfigError(f"histories are not logged as {inputs!r}; there are: {', '.join(INPUTS)}")
    stage = _scene(model_seed, items)
    askers = cast(kinds or [*ATTACKS, *HABITS], stage.shop, instances, budget, seed, day)
    _write(play(askers, served(_known(defence), stage, model_seed), inputs), sum(asker.budget for asker in askers), out)


def redteam_rankings_serve(
    host: Annotated[str, typer.Option("--host", metavar="HOST", help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, metavar="PORT", help="its port; 0: any")] = 8000,
    model_seed: _Model = 0,
    items: _Items = 300,
    defence: _Defence = "none",
) -> None:
    """Serve a recommender over HTTP, to be attacked: POST {"instances": [{"history": ["item-004"]}]}. Ctrl-C ends it."""
    from detector.redteam.rankings.log import item_id
    from detector.redteam.rankings.measured import served
    from detector.redteam.rankings.served import RankingServer

    _known(defence)
    stage = _scene(model_seed, items)
    names = [item_id(item) for item in range(items)]
    with RankingServer(served(defence, stage, model_seed), names, host, port) as server:
        errors.print(f"recommending {items} items (defence: {defence}) at {server.url}", soft_wrap=True)
        server.serve_forever()


def redteam_rankings_ask(
    url: Annotated[str, typer.Argument(metavar="URL", help="a recommender of yours")],
    catalogue: Annotated[Path, typer.Option("--catalogue", metavar="FILE", help="ids of its items, one a line")],
    budget: Annotated[int, typer.Option("--queries", "-n", min=10, max=100_000, help="of each thief")] = 300,
    seed: Annotated[int, typer.Option("--seed", min=0, help="the same seed asks the same")] = 0,
    *,
    own: Annotated[bool, typer.Option("--i-own-this", help="the recommender is elsewhere, and yours")] = False,
    as_json: AsJson = False,
) -> None:
    """Attack a recommender of yours over HTTP, by what needs no histories of people, and tell how the copies agree with it."""
    from detector.redteam.endpoint import Endpoint
    from detector.redteam.permission import permitted
    from detector.redteam.rankings.measured import over_http
    from detector.redteam.rankings.served import RankingEndpoint

    local = permitted(url, own)
    try:
        names = list(dict.fromkeys(line.strip() for line in catalogue.read_text(encoding="utf-8").splitlines() if line.strip()))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read the catalogue {catalogue}: {error}") from error
    if len(names) < 20:
        raise ConfigError(f"{catalogue} names {len(names)} items; a recommender has at least 20")
    endpoint = RankingEndpoint(Endpoint(url, direct=local), names)
    with errors.status("asking"):
        found = over_http(endpoint, len(names), budget, seed)
    if as_json:
        print_json([{"attack": attack, "queries": budget, "agreement": share} for attack, share in found.items()])
        return
    for attack, share in found.items():
        say(f"{attack}: the copy agrees in {share:.0%} of the first ten after {budget} queries")


def _known(name: str) -> str:
    from detector.redteam.rankings.measured import DEFENCES

    if name not in DEFENCES:
        raise ConfigError(f"there is no defence {name!r}; there are: {', '.join(DEFENCES)}")
    return name


def _scene(seed: int, items: int) -> "Scene":
    from detector.redteam.rankings.measured import scene

    with errors.status("training the recommender"):
        return scene(seed, items)


def _write(events: "Iterable[tuple[bytes, bytes]]", total: int, out: Path) -> None:
    truth = out.with_suffix(f".truth{out.suffix or '.jsonl'}")
    try:
        with out.open("wb") as log, truth.open("wb") as side, progress(total) as show:
            for event, about in events:
                log.write(event + b"\n")
                side.write(about + b"\n")
                show()
    except OSError as error:
        raise OutputError(f"cannot write to {out}: {error.strerror or error}") from error
    say(f"log: {out}   truth: {truth}")
