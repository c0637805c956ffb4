"""The demo behind a gateway: thieves and innocents over HTTP, and decisions that nginx carries out while they ask.

All of it is real and on this machine: nginx, a model behind HTTP, its log on Kafka, `detector run`, `detector gate`, and
`detector perturb proxy`. Everything is started for this and gone afterwards.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import typer
from rich.box import SIMPLE_HEAD
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from detector import private
from detector.console import Console
from detector.demo import show as demo
from detector.demo.stage import learn
from detector.errors import OutputError, ServiceError
from detector.redteam import cast
from detector.redteam.play import Player
from detector.redteam.victim import Victim
from tests.servers.gateways.gateway import LocalGateway
from tests.servers.gateways.programs import LocalNginx
from tests.servers.kafka import java_command
from tests.servers.loop.callers import Caller, run
from tests.servers.loop.outcome import Suffered, Taken, alone, suffered, taken
from tests.servers.loop.stage import PATH, closed_loop

__all__ = ["FULL", "Outcome", "Plan", "show"]

NEEDED = ("detector.toml", "baseline")
CEILING = 10.0  # requests a second of each client
PAUSE_S = 0.05  # of a thief
INNOCENT_PAUSE_S = 0.125  # so the ceiling does not meet them
CAPPED_PATIENCE_S = 15.0  # of who is kept waiting by the ceiling from the beginning


@dataclass(frozen=True, slots=True)
class Plan:
    """Who calls: `paced` thieves pause between queries, `hasty` ones do not, once without a ceiling and once with one."""

    paced: Sequence[str]
    hasty: Sequence[str]
    innocents: Sequence[str]
    budget: int = cast.ATTACK_QUERIES
    innocent_queries: int = 60
    kind: type[LocalGateway] = LocalNginx


FULL = Plan(paced=cast.THIEVES, hasty=("line_search", "jbda"), innocents=cast.INNOCENTS)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of whom; `hasty` are those without the ceiling, `capped` the same with it."""

    paced: tuple[Taken, ...]
    hasty: tuple[Taken, ...]
    capped: tuple[Taken, ...]
    innocents: tuple[Suffered, ...]

    @property
    def kept(self) -> bool:
        """Whether thieves were met and innocents were not; one at full speed without a ceiling may be through before."""
        met = all(thief.felt_at is not None for thief in (*self.paced, *self.capped))
        return met and not any(each.actions or each.refused or each.coarse for each in self.innocents)


def show(folder: Path, errors: Console, *, as_json: bool, plan: Plan = FULL) -> Outcome:
    """Run the loop on the model and baseline of the demo in `folder`, which are made where they are missing.

    Raises `ServerError` where a program cannot be had (it says what to install), `ServiceError` when the service fails, a thief
    is not met, or an innocent is.
    """
    started = time.perf_counter()

    def say(text: str) -> None:
        errors.print(f"[{time.perf_counter() - started:5.1f} s] {text}", soft_wrap=True)

    java_command(say)
    plan.kind.install(say)
    served = _served(folder, errors, say)
    outcome = _play(folder, served, plan, say)
    try:
        private.write(folder / "outcome-gateway.json", (json.dumps(asdict(outcome), indent=2) + "\n").encode())
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from error
    if as_json:
        typer.echo(json.dumps(asdict(outcome), indent=2))
    else:
        _tell(outcome)
    errors.print(f"done in {time.perf_counter() - started:.0f} s")
    if not outcome.kept:
        raise ServiceError("a thief was not met, or an innocent was: see the tables")
    return outcome


def _served(folder: Path, errors: Console, say: Callable[[str], None]) -> Victim:
    """Return the model that is served; make configuration and baseline where they are missing."""
    if all((folder / name).exists() for name in NEEDED):
        return cast.victim()
    with Progress(TextColumn("{task.description}"), BarColumn(), console=errors, disable=not errors.is_terminal) as bar:
        task = bar.add_task("history", total=None)
        return learn(folder, say, lambda _what, done, total: bar.update(task, completed=done, total=total))[0]


def _play(folder: Path, served: Victim, plan: Plan, say: Callable[[str], None]) -> Outcome:
    paced = [_thief(served, role, f"thief-{role}", plan.budget) for role in plan.paced]
    hasty = [_thief(served, role, f"hasty-{role}", plan.budget) for role in plan.hasty]
    capped = [_thief(served, role, f"capped-{role}", plan.budget) for role in plan.hasty]
    innocents = _innocents(served, plan)
    clients = [player.name for player in (*paced, *hasty, *capped, *innocents)]
    with closed_loop(folder, served, clients, plan.kind, (None, CEILING), say) as loop:
        free, limited = (gateway.port for gateway in loop.gateways)
        first = [Caller(player, free, PATH, PAUSE_S) for player in paced]
        quiet = [Caller(player, (free, limited)[n % 2], PATH, INNOCENT_PAUSE_S) for n, player in enumerate(innocents)]
        say(f"{len(first)} thieves ask, {PAUSE_S * 1000:g} ms after each answer, among {len(quiet)} innocents")
        run([*first, *quiet])
        second = [Caller(player, free, PATH) for player in hasty]
        third = [Caller(player, limited, PATH, patience_s=CAPPED_PATIENCE_S, heeds=False) for player in capped]
        say("thieves at full speed, first without the ceiling, then with it")
        run(second)
        run(third)
        say("waiting for the service to finish the log")
        seen = loop.finish()
        for caller in (*first, *second, *third, *quiet):
            if caller.fault is not None:
                raise ServiceError(f"{caller.player.name} could not ask: {caller.fault}")
    say("everything has ended; training copies on what each thief was told")
    copies = {role: alone(role, served, plan.budget) for role in dict.fromkeys((*plan.paced, *plan.hasty))}

    def judged(callers: Sequence[Caller]) -> tuple[Taken, ...]:
        return tuple(taken(caller, seen, served, copies[caller.player.role]) for caller in callers)

    return Outcome(judged(first), judged(second), judged(third), tuple(suffered(caller, seen) for caller in quiet))


def _thief(served: Victim, role: str, name: str, budget: int) -> Player:
    (player,) = (each for each in cast.live(served) if each.hostile and each.role == role)
    player.name, player.budget = name, budget
    return player


def _innocents(served: Victim, plan: Plan) -> list[Player]:
    players = [each for each in cast.live(served) if not each.hostile and each.role in plan.innocents]
    for player in players:
        player.budget = plan.innocent_queries
    return players


def _tell(outcome: Outcome) -> None:
    console = Console()
    console.print(_thieves(f"Thieves who pause {PAUSE_S * 1000:g} ms after each answer", outcome.paced))
    console.print(_thieves("Thieves at full speed", outcome.hasty))
    console.print(_thieves(f"Thieves at full speed, under a ceiling of {CEILING:g} requests a second", outcome.capped))
    console.print(_CAPTION, soft_wrap=False)
    answered, asked = (sum(getattr(each, name) for each in outcome.innocents) for name in ("answered", "asked"))
    decided = sum(bool(each.actions) for each in outcome.innocents)
    console.print(f"{len(outcome.innocents)} innocents: {answered:,} of {asked:,} requests answered; decided about: {decided}")


_CAPTION = """\
decided   query after which the first decision was made
refused   his first request that was refused, for whatever cause
ms        from the answer to the deciding query to the first response that was
          refused or told less; a throttle lets ten seconds of its rate through
past      answers in full after the deciding query
coarse    perturbed answers
copy      fidelity of a copy trained on all that he was told, and without the
          service on the answers to his whole budget
"""


def _thieves(title: str, rows: Sequence[Taken]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 0), pad_edge=False)
    table.add_column("thief", no_wrap=True)
    table.add_column("decision", min_width=8)
    for column in ("decided", "refused", "ms", "past", "coarse", "copy", "without"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        figures = (row.decided_at, row.refused_at, None if row.felt_ms is None else round(row.felt_ms), row.past, row.coarse)
        table.add_row(
            row.attack.replace("_", " "),
            Text("\n").join(Text(action, demo.STYLES.get(action, "")) for action in row.actions or ("none",)),
            *("-" if figure is None else f"{figure:,}" for figure in figures),
            f"{row.copy:.0%}",
            f"{row.copy_alone:.0%}",
        )
    return table
