"""The table of campaigns for readers, made from the cells alone."""

from collections.abc import Sequence
from typing import Any

from tests.quality.campaigns.cells import PARTS
from tests.quality.cells import share
from tests.quality.table import rows

Cell = dict[str, Any]

LEGEND = """\
A *campaign* is one thief with 2,000 queries, dealt to many accounts over half a day, among benign accounts most of which belong
to organisations. *Alarm* is the number of its queries up to the first alert that lists one of its accounts. *Named* and *met*
are the accounts that had been linked to it, and stopped or throttled, by 25, 50 and 100% of its queries; in brackets those that
had asked by then, where some had not. Accounts of one campaign are not independent, so no interval belongs to them.

Innocents have Wilson intervals of 95%. The accounts of one organisation are one event, so the unit to count is the *group*: how
many groups of innocents alone were reviewed, and stopped.
"""


def markdown(cells: Sequence[Cell], note: str = "") -> str:
    """Write the table of finished cells; `note` says how it was made."""
    parts = ["# Campaigns", note, LEGEND]
    for world in dict.fromkeys(cell["world"] for cell in cells):
        here = [cell for cell in cells if cell["world"] == world]
        campaigns = [cell for cell in here if cell["kind"] == "campaign"]
        parts.append(f"## {world}")
        if campaigns:
            header = ["campaign", "alarm", *(f"named, {name}" for name in PARTS), *(f"met, {name}" for name in PARTS)]
            parts.append(rows(header, [_campaign(cell) for cell in campaigns]))
        innocents = [cell for cell in here if cell["kind"] == "innocents"]
        header = ["day", "named", "beside a thief", "met", "groups reviewed", "stopped", "largest innocent group"]
        parts.append(rows(header, [_innocents(cell) for cell in innocents]))
    without = [cell for cell in cells if cell["kind"] == "innocents" and cell["split"] is None]
    if len(without) > 1:
        parts += ["## Days without a thief", _pooled(without)]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _campaign(cell: Cell) -> list[str]:
    short = cell["id"].removeprefix(f"{cell['world']}.")
    counted = []
    for what in ("named", "met"):
        for name in PARTS:
            part = cell[name]
            active = f" ({part['active']})" if part["active"] < cell["accounts"] else ""
            counted.append(f"{part[what]['count']}{active}")
    return [f"`{short}`", "-" if cell["alarm"] is None else str(cell["alarm"]), *counted]


def _innocents(cell: Cell) -> list[str]:
    largest = cell["largest"][0] if cell["largest"] else None
    return [
        f"`{cell['id'].removeprefix(cell['world'] + '.').removesuffix('.innocents')}`",
        _counted(cell["named"]),
        str(cell["beside_a_thief"]),
        _counted(cell["met"]),
        str(cell["groups"]["reviewed"]),
        str(cell["groups"]["stopped"]),
        "-" if largest is None else f"{largest['evidence']} ({largest['accounts']}: {', '.join(largest['roles'])})",
    ]


def _pooled(cells: Sequence[Cell]) -> str:
    body = []
    for half, here in (
        ("held out", [cell for cell in cells if cell["held_out"]]),
        ("open", [cell for cell in cells if not cell["held_out"]]),
    ):
        if here:
            accounts = sum(cell["named"]["of"] for cell in here)
            line = [half, str(len(here)), str(accounts)]
            line += [_counted(share(sum(cell[what]["count"] for cell in here), accounts)) for what in ("named", "met")]
            line += [
                _counted(share(sum(cell["groups"][what] > 0 for cell in here), len(here))) for what in ("reviewed", "stopped")
            ]
            line += [str(sum(cell["groups"][what] for cell in here)) for what in ("reviewed", "stopped")]
            body.append(line)
    header = [
        "half",
        "days",
        "accounts",
        "named, %",
        "met, %",
        "days with a review, %",
        "with a stop, %",
        "groups reviewed",
        "stopped",
    ]
    return rows(header, body)


def _counted(found: dict[str, Any]) -> str:
    return f"{found['count']}: {100 * found['share']:.2f} [{100 * found['low']:.2f}, {100 * found['high']:.2f}]"
