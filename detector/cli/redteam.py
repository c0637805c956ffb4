"""Commands of the red team: list attacks and benign profiles, and run them against a model."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from detector.cli.terminal import AsJson, errors, print_json
from detector.console import Console, say
from detector.distribution import install
from detector.errors import ConfigError, OutputError
from detector.names import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector.redteam.endpoint import Endpoint
    from detector.redteam.play import Player
    from detector.redteam.sessions import Summary
    from detector.redteam.targets import Target

redteam_app = typer.Typer(help="Attacks and benign traffic against a model; writes a prediction log.", no_args_is_help=True)


@redteam_app.command("list")
def redteam_list(*, as_json: AsJson = False) -> None:
    """Name every attack, every benign profile, how thieves hide who know this design, and how campaigns are dealt."""
    from detector.redteam.accounts import TITLES
    from detector.redteam.design_aware import EVASIONS
    from detector.redteam.registry import ATTACKS, PROFILES

    attacks: list[dict[str, Any]] = [
        {
            "id": one.id,
            "kind": "attack",
            "title": one.title,
            "family": one.family,
            "data": list(one.data),
            "labels_suffice": one.needs == "labels",
            "extra": one.extra,
            "source": one.source,
        }
        for one in ATTACKS.values()
    ]
    profiles: list[dict[str, Any]] = [
        {
            "id": one.id,
            "kind": "benign",
            "title": one.title,
            "family": one.family,
            "data": [one.data],
            "tier": one.wave,
            "source": one.source,
        }
        for one in PROFILES.values()
    ]
    evasions: list[dict[str, Any]] = [
        {
            "id": one.id,
            "kind": "evasion",
            "title": one.title,
            "family": f"against {one.against}",
            "data": list(one.data),
            "source": f"{one.attack} in place of {one.plain}",
        }
        for one in EVASIONS.values()
    ]
    splits: list[dict[str, Any]] = [
        {
            "id": name,
            "kind": "split",
            "title": title,
            "family": "campaign",
            "data": ["image", "tabular", "text"],
            "source": "--split",
        }
        for name, title in TITLES.items()
    ]
    if as_json:
        print_json({"attacks": attacks, "benign": profiles, "evasions": evasions, "splits": splits})
        return
    console = Console()
    for title, rows in (("Attacks", attacks), ("Benign profiles", profiles), ("Evasions", evasions), ("Campaigns", splits)):
        table = Table(title=title, title_justify="left")
        table.add_column("id", no_wrap=True)
        for column in ("what it is", "family", "data", "needs", "source"):
            table.add_column(column)
        for row in rows:
            needs = [] if row.get("labels_suffice", True) else ["probabilities"]
            needs += [install(row["extra"])] if row.get("extra") else []
            table.add_row(
                Text(str(row["id"])),
                Text(str(row["title"])),
                Text(str(row["family"])),
                Text(", ".join(row["data"])),
                Text(", ".join(needs)),
                Text(str(row["source"])),
            )
        console.print(table)


@redteam_app.command("run")
def redteam_run(
    attacks: Annotated[list[str] | None, typer.Argument(metavar="ATTACK...", help="see `detector redteam list`")] = None,
    out: Annotated[Path, typer.Option("--out", metavar="LOG", help="the log; beside it goes LOG's truth")] = Path(
        "redteam.jsonl"
    ),
    benign: Annotated[list[str] | None, typer.Option("--benign", metavar="PROFILE", help="innocents, too; repeatable")] = None,
    model: Annotated[str, typer.Option("--model", metavar="M", help="demo, digits, loans, mlp:wine, tree:iris, ...")] = "demo",
    url: Annotated[str | None, typer.Option("--url", help="a model of yours behind HTTP, instead of --model")] = None,
    pool: Annotated[
        str | None, typer.Option("--pool", metavar="X", help="with --url: natural examples (digits, loans, .npy, .npz, .csv)")
    ] = None,
    categorical: Annotated[
        str, typer.Option("--categorical", metavar="C,C", help="with --url: columns that hold codes, from 0")
    ] = "",
    classes: Annotated[
        int | None, typer.Option("--classes", min=2, help="with --url: how many, where it answers with labels")
    ] = None,
    request_key: Annotated[str, typer.Option("--request-key", help="with --url: where the rows go")] = "instances",
    response_key: Annotated[str, typer.Option("--response-key", help="with --url: where the answers are")] = "predictions",
    token_env: Annotated[
        str | None, typer.Option("--token-env", metavar="VAR", help="with --url: environment variable of a bearer token")
    ] = None,
    wire: Annotated[
        str | None,
        typer.Option("--wire", metavar="W", help="how queries arrive: uint8, jpeg, grid, float16, decimals-4, ..."),
    ] = None,
    answers: Annotated[
        str, typer.Option("--answers", metavar="A", help="what the model tells: full, decimals-N, top-1, label")
    ] = "full",
    budget: Annotated[
        int, typer.Option("--budget", "-n", min=1, help="queries of each thief and innocent, cover included")
    ] = 600,
    instances: Annotated[int, typer.Option("--instances", min=1, help="thieves of each attack, innocents of each profile")] = 1,
    cover: Annotated[float, typer.Option("--cover", min=0, max=0.99, help="share of innocent queries among a thief's")] = 0.0,
    cover_profile: Annotated[str | None, typer.Option("--cover-profile", metavar="PROFILE", help="whose they are")] = None,
    repeats: Annotated[float, typer.Option("--repeats", min=0, max=0.99, help="share of exact repeats among a thief's")] = 0.0,
    jitter: Annotated[float, typer.Option("--jitter", min=0, help="blinding: noise, of the value range")] = 0.0,
    shift: Annotated[float, typer.Option("--shift", min=0, help="blinding: movement, in pixels")] = 0.0,
    stretch: Annotated[float, typer.Option("--stretch", min=0, max=1, help="blinding: step sizes vary by up to this")] = 0.0,
    accounts: Annotated[int, typer.Option("--accounts", min=1, max=100_000, help="accounts of each thief")] = 1,
    split: Annotated[
        str, typer.Option("--split", help="how accounts share: round-robin, block, random, class, region, pair")
    ] = "round-robin",
    organizations: Annotated[int, typer.Option("--organizations", min=0, help="organisations that its accounts name")] = 0,
    user_agents: Annotated[int, typer.Option("--user-agents", min=0, max=8, help="user agents that its accounts name")] = 0,
    hours: Annotated[
        float | None, typer.Option("--hours", min=0.001, help="a thief's queries come at random over H hours")
    ] = None,
    weave: Annotated[int, typer.Option("--weave", min=1, help="searches that a thief interleaves")] = 1,
    flush: Annotated[int, typer.Option("--flush", min=0, help="innocent queries before each one that a thief made")] = 0,
    gap: Annotated[float, typer.Option("--gap", min=0.001, help="mean seconds between a client's queries")] = 6.0,
    per_day: Annotated[float | None, typer.Option("--per-day", min=0.001, help="slow drip: at most so many queries")] = None,
    copy_at: Annotated[
        list[int] | None, typer.Option("--copy-at", metavar="K", help="measure the copy after K queries")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="the same seed writes the same log")] = 0,
    *,
    own: Annotated[bool, typer.Option("--i-own-this", help="with --url: the model is elsewhere, and yours")] = False,
    tabular: Annotated[bool, typer.Option("--tabular", help="with --url: records, not pictures")] = False,
    labels_only: Annotated[bool, typer.Option("--labels-only", help="the model tells no probabilities")] = False,
    copies: Annotated[bool, typer.Option("--copies/--no-copies", help="train copies on the responses that thieves got")] = True,
    as_json: AsJson = False,
) -> None:
    """Let thieves and innocents ask a model, and write the prediction log that its server would.

    The truth (who is hostile, what was made, what is cover) goes beside it, to LOG with .truth before its suffix. Without
    --wire pictures arrive in 8 bits, records on the grids of their columns, and vectors of texts in single precision.
    """
    from detector.redteam import sessions

    if not attacks and not benign:
        raise ConfigError("name at least one attack or --benign profile; `detector redteam list` names them")
    if url is None:
        from detector.redteam.targets import named

        target = named(model, seed)
    else:
        from detector.redteam.endpoint import Endpoint
        from detector.redteam.permission import permitted

        local = permitted(url, own)
        endpoint = Endpoint(url, request_key, response_key, classes, bearer(token_env), direct=local)
        target = _remote(endpoint, pool, categorical, seed=seed, tabular=tabular)
    target = target.over(wire, answers)
    if labels_only:
        target = target.labels_only()
    disguise = sessions.Disguise(
        cover,
        cover_profile,
        repeats,
        jitter,
        shift,
        stretch,
        accounts,
        split,
        per_day,
        weave,
        flush,
        organizations,
        user_agents,
        hours,
    )
    players = [
        sessions.thief(role, number, target, disguise, budget, gap, seed)
        for role in dict.fromkeys(attacks or [])
        for number in range(instances)
    ] + [
        sessions.innocent(role, number, target, budget, gap, seed)
        for role in dict.fromkeys(benign or [])
        for number in range(instances)
    ]
    truth = out.with_suffix(f".truth{out.suffix or '.jsonl'}")
    _write(players, target, out, truth)
    moments = sorted(copy_at or [budget // 4])
    if copies and any(player.hostile for player in players):
        errors.print("training copies of the model on the responses of each thief", soft_wrap=True)
    played = [sessions.judged(player, target, moments, copies=copies) for player in players]
    if as_json:
        print_json({"log": str(out), "truth": str(truth), "model": target.id, "played": [_plain(one) for one in played]})
    else:
        Console().print(_table(played))
        say(f"log: {out}   truth: {truth}")


def _remote(endpoint: "Endpoint", pool: str | None, categorical: str, *, seed: int, tabular: bool) -> "Target":
    from detector.redteam.targets import examples, remote

    if pool is None:
        raise ConfigError("--url needs --pool: natural examples for clients to ask about (digits, loans, .npy, .npz, .csv)")
    coded = column_numbers(categorical)
    try:
        return remote(endpoint, examples(pool), value_range=None, categorical=coded, tabular=tabular, seed=seed)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def column_numbers(categorical: str) -> tuple[int, ...]:
    """Return the columns that ``--categorical`` names."""
    try:
        return tuple(int(part) for part in categorical.split(",") if part.strip())
    except ValueError:
        raise ConfigError(f"--categorical takes column numbers like 6,7,8, not {categorical!r}") from None


def bearer(token_env: str | None) -> dict[str, str]:
    """Return the header of the token that the variable of ``--token-env`` holds; nothing where none is named."""
    if token_env is None:
        return {}
    token = os.environ.get(token_env)
    if not token:
        raise ConfigError(f"--token-env names {token_env}, which is not set")
    return {"Authorization": f"Bearer {token}"}


def _write(players: "list[Player]", target: "Target", out: Path, truth: Path) -> None:
    from detector.redteam.sessions import play

    total = sum(player.budget for player in players)
    try:
        with out.open("wb") as log, truth.open("wb") as side, progress(total) as show:
            for event, truth_line in play(players, target):
                log.write(event + b"\n")
                side.write(truth_line + b"\n")
                show()
    except OSError as error:
        raise OutputError(f"cannot write to {out}: {error.strerror or error}") from error


@contextmanager
def progress(total: int) -> "Iterator[Callable[[], None]]":
    """Show on a terminal how many of `total` are done; what comes back is called after each."""
    with progress_of_parts(total) as (_, done):
        yield done


@contextmanager
def progress_of_parts(total: int) -> "Iterator[tuple[Callable[[str], None], Callable[[], None]]]":
    """Show the same with a text; what comes back first changes the text."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    ) as bar:
        task = bar.add_task("asking", total=total)
        yield (lambda text: bar.update(task, description=text)), (lambda: bar.advance(task))


def _plain(played: "Summary") -> dict[str, Any]:
    return {
        "client": played.name,
        "role": played.role,
        "hostile": played.hostile,
        "accounts": played.accounts,
        "queries": played.queries,
        "synthetic": played.synthetic,
        "cover": played.cover,
        "copy": [{"queries": moment, "fidelity": share} for moment, share in played.copies.items()],
    }


def _table(played: "list[Summary]") -> Table:
    table = Table(
        caption="synthetic: made by the thief, not found; copy: share of test examples on which the best copy trained on the "
        "answers agrees with the model, after so many queries",
        caption_justify="left",
    )
    table.add_column("client", overflow="fold")
    for column in ("accounts", "queries", "synthetic", "cover"):
        table.add_column(column, justify="right", no_wrap=True, min_width=len(column))
    table.add_column("copy", min_width=11)
    for one in played:
        copies = ", ".join(f"{share:.0%} at {moment}" for moment, share in one.copies.items())
        table.add_row(
            one_line(one.name), str(one.accounts), str(one.queries), str(one.synthetic), str(one.cover), copies or "-"
        )
    return table
