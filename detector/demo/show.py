"""What the demo shows: progress, decisions as they are made, two tables, and where everything lies."""

import json
import time
from pathlib import Path

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from detector import private
from detector.console import Console
from detector.contracts import Decision
from detector.demo.outcome import WITHIN, DemoOutcome, Innocence, Theft, judge
from detector.demo.stage import stage
from detector.errors import OutputError
from detector.offline.pictures import evidence_picture
from detector.redteam import cast

STYLES = {"throttle": "yellow", "perturb": "magenta", "block": "red"}
PICTURE = "demo.png"


def show(folder: Path, errors: Console, *, as_json: bool) -> DemoOutcome:
    """Run the demo into `folder`; progress goes to `errors`, the tables (or JSON) to standard output.

    Raises `OutputError` when the folder cannot be written.
    """
    started = time.perf_counter()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    ) as bar:
        tasks = {name: bar.add_task(f"{name} queries", total=None, visible=False) for name in ("history", "live")}

        def step(name: str, done: int, total: int) -> None:
            bar.update(tasks[name], completed=done, total=total, visible=done < total)

        def say(text: str) -> None:
            errors.print(f"[{time.perf_counter() - started:5.1f} s] {text}", soft_wrap=True)

        def tell(decision: Decision) -> None:
            short = decision.reason.admin.rpartition(": ")[2]
            errors.print(
                Text.assemble(
                    f"  {decision.issued_at[11:19]}  ",
                    (f"{decision.action:8}", STYLES.get(decision.action, "")),
                    f"  {decision.subject.id}: {decision.reason.code.removeprefix('extraction.')} "
                    f"{short.removeprefix('novelty ')}",
                ),
                soft_wrap=True,
            )

        staged = stage(folder, say, tell, step)
        say("training copies of the model on the responses of each thief: until the decision, and in full")
        outcome = judge(staged, folder)
        say("drawing")
        evidence_picture(staged.tracer.traces(staged.groups()), folder / PICTURE)
    try:
        private.write(folder / "outcome.json", (json.dumps(outcome.to_dict(), indent=2) + "\n").encode())
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from error
    if as_json:
        typer.echo(json.dumps(outcome.to_dict(), indent=2))
    else:
        console = Console()
        console.print(_thefts(outcome.thefts))
        console.print(_innocents(outcome.innocents))
        _where(folder)
    errors.print(f"done in {time.perf_counter() - started:.0f} s")
    return outcome


def _thefts(thefts: tuple[Theft, ...]) -> Table:
    table = Table(
        title="Thieves: what each had when it was acted on",
        caption="queries: sent before the decision, and how many of them were synthetic; copy: share of test pictures on "
        "which a copy trained on the answers agrees with the model. Aim: stopped within "
        f"{WITHIN} synthetic queries where queries are made from others, throttled within {WITHIN} queries where they are "
        "foreign.",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("attack", no_wrap=True)
    table.add_column("decision")
    table.add_column("queries", justify="right")
    table.add_column("synthetic", justify="right")
    table.add_column("copy then", justify="right")
    table.add_column(f"copy at {cast.ATTACK_QUERIES}", justify="right")
    table.add_column("aim")
    for theft in thefts:
        table.add_row(
            theft.attack.replace("_", " "),
            Text(theft.action, STYLES.get(theft.action, "")) if theft.action else "none",
            "-" if theft.queries is None else str(theft.queries),
            "-" if theft.synthetic is None else str(theft.synthetic),
            f"{theft.copy:.0%}" if theft.queries is not None else "-",
            f"{theft.full_copy:.0%}",
            "reached" if theft.reached else Text("missed", "red"),
        )
    return table


def _innocents(innocents: tuple[Innocence, ...]) -> Table:
    table = Table(title="Innocents: what each profile suffered", title_justify="left")
    table.add_column("profile", no_wrap=True)
    for column in ("clients", "queries", "alerted", "throttled", "stopped"):
        table.add_column(column, justify="right")
    for row in innocents:
        counts = [row.alerted, row.throttled, row.stopped]
        table.add_row(
            row.profile.replace("_", " "),
            str(row.clients),
            f"{row.queries:,}",
            *(Text(str(count), "red") if count else "0" for count in counts),
        )
    return table


def _where(folder: Path) -> None:
    typer.echo(
        f"""
in {folder}/
  {PICTURE}             evidence over queries, and the moment of each decision
  log.jsonl            the prediction log; history.jsonl.gz is the benign one before it, baseline/ what was learned from it
  alerts.jsonl, decisions.jsonl, clients.jsonl, dead-letters.jsonl, summary.json, outcome.json
next
  detector explain thief-jbda --from {folder}
  detector replay {folder}/log.jsonl -c {folder}/detector.toml --out detector-out     (the same alerts, byte for byte)"""
    )
