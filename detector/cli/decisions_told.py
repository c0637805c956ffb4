"""Decisions as `detector decisions` prints them."""

import sys
from typing import TYPE_CHECKING

import typer

from detector.cli.terminal import errors
from detector.console import Console, say

if TYPE_CHECKING:
    from detector.contracts.decision import Decision
    from detector.decisions.register import Held, Register

WIDE = 220  # columns of the table in a pipe, where no terminal says


def tell_published(decisions: "list[Decision]", *, as_json: bool) -> None:
    """Say which decisions were published."""
    from detector.contracts import to_json
    from detector.decisions.register import Held
    from detector.names import harmless_json

    for decision in decisions:
        data = to_json(decision)
        held = Held.of(data)
        typer.echo(harmless_json(data.decode())) if as_json else say(f"published: {whom(held)}: {told(held)}")


def show(found: "list[Held]", register: "Register", now: int, *, as_json: bool) -> None:
    """Print decisions, as a table or as they are written, one a line."""
    from rich.table import Table
    from rich.text import Text

    from detector.names import harmless_json, printable

    if as_json:
        for held in found:
            typer.echo(harmless_json(held.data.decode()))
        return
    if not found:
        say("no decisions")
        return
    shown = Table(box=None, pad_edge=False)
    for name in ("subject", "model", "action", "until", "by", "revision", "reason", ""):
        shown.add_column(name, no_wrap=name in {"action", "until", "revision"}, overflow="fold")
    for held in found:
        decision = held.decision
        over = register.overruled(held, now)
        state = (
            "ended" if not held.live(now) else "simulated" if held.simulated else "" if over is None else f"{over.origin} holds"
        )
        shown.add_row(
            Text(printable(f"{held.target.type}:{held.target.id}", 60)),
            Text(printable("*" if held.models is None else ", ".join(sorted(held.models)), 40)),
            Text(held.action),
            Text(_until(held)),
            Text(printable(decision.actor or held.origin, 40)),
            Text(str(held.revision)),
            Text(printable(decision.reason.admin, 200)),
            Text(state),
        )
    Console(width=None if sys.stdout.isatty() else WIDE).print(shown)


def _until(held: "Held") -> str:
    from detector.contracts.moment import rfc3339

    return "lifted" if held.expires_ms is None else rfc3339(held.expires_ms)


def whom(held: "Held") -> str:
    """Return whom a decision is about, and where."""
    from detector.names import printable

    where = "every model" if held.models is None else printable(", ".join(sorted(held.models)), 100)
    return f"{held.target.type} {printable(held.target.id, 256)} on {where}"


def told(held: "Held") -> str:
    """Return what was decided, until when and by whom."""
    from detector.names import printable

    by = printable(held.decision.actor or held.origin, 256)
    return f"{held.action} until {_until(held)}, by {by}, revision {held.revision}{' (simulated)' if held.simulated else ''}"


def tell_unreadable(register: "Register") -> None:
    """Say how many records are no decisions."""
    if register.unreadable:
        errors.print(f"{register.unreadable:,} records are no decisions, and were left out")
