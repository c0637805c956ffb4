"""The table of worlds for readers: for each group of attacks the half that is held out beside the other, by world and wire."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import zip_longest
from typing import Any

import numpy as np

from tests.quality.cells import mean, share
from tests.quality.goals import GROUPS, INNOCENT_GOALS, KNOWING_SHARE, MOST_BEHIND, MOST_OF_A_PROFILE
from tests.quality.halves import (
    ACTIONS,
    FAMILIARITY,
    HALVES,
    Cell,
    Half,
    Share,
    gaps,
    harassed,
    met,
    met_in_time,
    of_half,
    reached,
)
from tests.quality.matches import OURS
from tests.quality.pace import MOST
from tests.quality.scenario import Group
from tests.quality.table import rows

LEGEND = f"""\
Every world is a kind of data behind a model, asked over the *wire* that its clients use: how queries arrive / what the model
tells. Half of the worlds are **held out**: nobody looks at them while the detector is changed, and some attacks and innocents
play there alone. They stand on the left. A figure is the share of the clients that were met, in %, with its Wilson interval of
95%. *Within N* counts a thief's queries from the first that he made up, cover included; for synthetic queries around seeds,
only those that he made up. The table fails where the half that is held out falls more than {100 * MOST_BEHIND:.0f} percentage
points behind. *Missed* and *passed* mark figures that do not reach the goal in the heading; by themselves they fail nothing.
"""
PRICE = f"""\
What hiding costs is the *price*: how much worse the copy of such a thief is than that of the plain attack with as many queries,
in percentage points of agreement with the model, as a mean over the worlds; below 0 hiding makes the copy better. *Met* is
throttled or stopped.

A thief is met *in time* where that is before his copy has {100 * MOST:g}% of the lead that it has at the end of his budget. The
lead is the agreement over that of the best guess, the commonest label. It is read off copies after up to nine numbers of
queries, cover included, and straight lines between them, whose median stands under *most learned at*. Thieves whose copy is no
better than a guess in the end are not counted. The goal is {100 * KNOWING_SHARE:g}%.
"""
IN_TIME = f"before {100 * MOST:g}% of the lead"


def markdown(cells: Sequence[Cell], note: str = "") -> str:
    """Write the table of finished cells; `note` says how it was made."""
    parts = ["# Detection on worlds", note, LEGEND, _summary(cells)]
    for group in GROUPS.values():
        columns = [f"within {most}" for most in group.within] + [IN_TIME] * (group.id == "design-aware")
        table = _side_by_side(cells, columns, partial(_met, group))
        if table:
            parts += [f"## {_titled(group)}", table]
    for familiarity in FAMILIARITY:
        table = _side_by_side(cells, list(ACTIONS), partial(_reached, familiarity))
        if table:
            limits = ", ".join(f"{action} {100 * most:g}%" for action, most in INNOCENT_GOALS[familiarity].items())
            parts += [f"## Innocents, {familiarity} (goal: at most {limits})", table]
    parts += [_harassed(cells), _prices(cells)]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _titled(group: Group) -> str:
    asked = [
        f"{100 * share:g}% within {most}" for share, most in zip(group.shares, group.within, strict=True) if share is not None
    ]
    action = {"stop": "stopped", "throttle": "throttled or stopped", "alert": "alerted on"}[group.action]
    if group.id == "design-aware":
        asked.append(f"{100 * KNOWING_SHARE:g}% {IN_TIME}")
    goal = f"goal: {', '.join(asked)}" if asked else "measured only"
    return f"{group.title[:1].upper()}{group.title[1:]}, {action} ({goal})"


def _summary(cells: Sequence[Cell]) -> str:
    found = gaps(cells)
    if not found:
        return "One half only was played, so nothing is compared."
    body = [
        [
            f"**{gap.what}**" if gap.points > MOST_BEHIND + 1e-9 else gap.what,
            _counted(gap.held_out),
            _counted(gap.open),
            f"{100 * gap.points:+.0f}",
        ]
        for gap in found
    ]
    return rows(["clients met, %", "held out", "open", "points behind"], body)


def _side_by_side(
    cells: Sequence[Cell], columns: list[str], figures: Callable[[Sequence[Cell]], list[str] | None]
) -> str | None:
    found = {half: lines for half in HALVES if (lines := _half(cells, half, figures))}
    if not found:
        return None
    empty = [""] * (len(columns) + 1)
    header = [name for half in found for name in (f"{half} (model; wire)", *columns)]
    return rows(header, ([part for line in lines for part in line] for lines in zip_longest(*found.values(), fillvalue=empty)))


def _half(cells: Sequence[Cell], half: Half, figures: Callable[[Sequence[Cell]], list[str] | None]) -> list[list[str]]:
    """The whole half, then a line for each world that has any such client."""
    here = of_half(cells, half)
    whole = figures(here)
    if whole is None:
        return []
    found = [[f"**all {half}**", *whole]]
    for world in dict.fromkeys(cell["data"] for cell in here):
        own = [cell for cell in here if cell["data"] == world]
        line = figures(own)
        if line is not None:
            found.append([f"`{world}` ({own[0]['victim']}; {own[0]['wire']})", *line])
    return found


def _met(group: Group, cells: Sequence[Cell]) -> list[str] | None:
    found = met(cells, group)
    if found is None:
        return None
    timely: list[str] = []
    if group.id == "design-aware":
        in_time = met_in_time(cells)
        timely.append("-" if in_time is None else _judged(in_time, KNOWING_SHARE))
    return [_judged(one, goal) for one, goal in zip(found, group.shares, strict=True)] + timely


def _judged(found: Share, goal: float | None) -> str:
    return _counted(found) + (" missed" if goal is not None and found["share"] < goal else "")


def _reached(familiarity: str, cells: Sequence[Cell]) -> list[str] | None:
    found = reached(cells, familiarity)
    if found is None:
        return None
    goals = INNOCENT_GOALS[familiarity]
    return [_counted(found[action]) + (" passed" if found[action]["share"] > goals[action] else "") for action in ACTIONS]


def _harassed(cells: Sequence[Cell]) -> str:
    found = harassed(cells)
    if not found:
        return ""
    named = ", ".join(f"`{profile}` {_counted(one)}" for profile, one in found)
    return f"Throttled more often than {100 * MOST_OF_A_PROFILE:.0f}%, which no profile should be: {named}."


def _prices(cells: Sequence[Cell]) -> str:
    """Each thief who knows the design beside the plain attack in the same worlds."""
    evasive = [cell for cell in cells if cell["kind"] == "theft" and cell["evasion"]]
    body = []
    for name in dict.fromkeys(cell["evasion"] for cell in evasive):
        here = [cell for cell in evasive if cell["evasion"] == name]
        priced = [cell for cell in here if cell["price"] is not None]
        worlds = len({cell["data"] for cell in here})
        price = mean([cell["price"] for cell in priced])
        body.append(
            [
                f"`{name}`",
                str(worlds),
                "-" if price is None else f"{100 * price:+.0f}",
                *(_counted(one) for one in met(here, GROUPS["design-aware"]) or []),
                _counted({"of": sum(cell["instances"] for cell in here), **_ever(here)}),
                _most_learned(here),
                *_timely(here),
            ]
        )
    if not body:
        return ""
    header = ["evasion", "worlds", "price"]
    header += [f"met within {most}" for most in GROUPS["design-aware"].within]
    header += ["ever", "most learned at", *(f"in time, {half}" for half in HALVES)]
    body.append(["**all**", *[""] * (len(header) - len(HALVES) - 1), *_timely(evasive)])
    return f"## Thieves who know the design, one by one\n\n{PRICE}\n{rows(header, body)}"


def _most_learned(cells: Sequence[Cell]) -> str:
    found = [most for cell in cells for most in cell["learned"] if most is not None]
    return f"{np.median(found):.0f}" if found else "-"


def _timely(cells: Sequence[Cell]) -> list[str]:
    """The shares of both halves that were met in time."""
    found = [met_in_time(of_half(cells, half)) for half in HALVES]
    return ["-" if one is None else _counted(one) for one in found]


def _ever(cells: Sequence[Cell]) -> dict[str, Any]:
    moments = [one for cell in cells for one in cell["detectors"][f"{OURS}/throttle"]["moments"]]
    return share(sum(one is not None for one in moments), len(moments))


def _counted(found: Share) -> str:
    return f"{100 * found['share']:.0f} [{100 * found['low']:.0f}, {100 * found['high']:.0f}] of {found['of']}"
