"""The two halves of the worlds: those that anybody may look at while building, and those that are held out.

What was chosen by looking at the open half shows in the other one, if anywhere: `behind` says in which group the half that is
held out falls further behind than `MOST_BEHIND`. All of it is made from finished cells alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from tests.quality.cells import share
from tests.quality.goals import GROUPS, MOST_BEHIND, MOST_OF_A_PROFILE
from tests.quality.matches import OURS
from tests.quality.pace import MOST
from tests.quality.scenario import Action, Group
from tests.quality.worlds import HELD_OUT

Cell: TypeAlias = dict[str, Any]
Share: TypeAlias = dict[str, Any]
Half: TypeAlias = Literal["held out", "open"]
HALVES: tuple[Half, Half] = ("held out", "open")
ACTIONS: tuple[Action, ...] = ("stop", "throttle", "alert")
NEVER_SEEN = frozenset({"frozen", "later", "held-out"})
FAMILIARITY = ("known", "never seen")


@dataclass(frozen=True, slots=True)
class Gap:
    """One figure of both halves, as shares; `points` is by how much the half that is held out is worse."""

    what: str
    held_out: Share
    open: Share
    points: float


def half_of(world: str) -> Half:
    """Which half a world belongs to."""
    return "held out" if world in HELD_OUT else "open"


def of_half(cells: Sequence[Cell], half: Half) -> list[Cell]:
    """The cells of one half."""
    return [cell for cell in cells if half_of(cell["data"]) == half]


def met(cells: Sequence[Cell], group: Group) -> list[Share] | None:
    """The shares of a group's thieves that were met within each of its two numbers of queries; None without any thief."""
    moments = [
        one
        for cell in cells
        if cell["kind"] == "theft" and cell["group"] == group.id
        for one in cell["detectors"][f"{OURS}/{group.action}"]["moments"]
    ]
    if not moments:
        return None
    return [
        {"of": len(moments), **share(sum(one is not None and one[group.counted] <= most for one in moments), len(moments))}
        for most in group.within
    ]


def met_in_time(cells: Sequence[Cell]) -> Share | None:
    """The share of the thieves who know the design that were met before their copy had most of its lead; None without any.

    Those whose copy is no better than a guess in the end do not count.
    """
    action = GROUPS["design-aware"].action
    pairs = [
        (moment, most)
        for cell in cells
        if cell["kind"] == "theft" and cell["evasion"]
        for moment, most in zip(cell["detectors"][f"{OURS}/{action}"]["moments"], cell["learned"], strict=True)
        if most is not None
    ]
    if not pairs:
        return None
    return {
        "of": len(pairs),
        **share(sum(moment is not None and moment["queries"] <= most for moment, most in pairs), len(pairs)),
    }


def reached(cells: Sequence[Cell], familiarity: str) -> dict[Action, Share] | None:
    """The shares of innocent clients that ever met each action; `familiarity` is one of `FAMILIARITY`; None without any."""
    chosen = [
        cell for cell in cells if cell["kind"] == "innocence" and (cell["part"] in NEVER_SEEN) == (familiarity == "never seen")
    ]
    total = sum(cell["sessions"] for cell in chosen)
    if not total:
        return None
    return {
        action: {
            "of": total,
            **share(sum(cell["detectors"][f"{OURS}/{action}"]["false"]["count"] for cell in chosen), total),
        }
        for action in ACTIONS
    }


def gaps(cells: Sequence[Cell]) -> list[Gap]:
    """Every figure that both halves have, in the order of the table."""
    found = []
    held_out, opened = (of_half(cells, half) for half in HALVES)
    for group in GROUPS.values():
        shares = zip(group.within, met(held_out, group) or [], met(opened, group) or [], strict=False)
        for most, here, there in shares:
            points = there["share"] - here["share"]
            found.append(Gap(f"{group.title}, {_done(group.action)} within {most}", here, there, points))
    in_time, there_in_time = met_in_time(held_out), met_in_time(opened)
    if in_time and there_in_time:
        what = f"{GROUPS['design-aware'].title}, {_done(GROUPS['design-aware'].action)} before {100 * MOST:g}% of the lead"
        found.append(Gap(what, in_time, there_in_time, there_in_time["share"] - in_time["share"]))
    for familiarity in FAMILIARITY:
        of_held_out, of_open = reached(held_out, familiarity), reached(opened, familiarity)
        if of_held_out and of_open:
            for action in ACTIONS:
                here, there = of_held_out[action], of_open[action]
                found.append(Gap(f"{familiarity} innocents, {_done(action)}", here, there, here["share"] - there["share"]))
    return found


def behind(cells: Sequence[Cell]) -> list[str]:
    """Say with numbers where the half that is held out falls too far behind; nothing where only one half was played."""
    return [
        f"{gap.what}: held out {_told(gap.held_out)}, open {_told(gap.open)}: {100 * gap.points:.0f} percentage points behind, "
        f"at most {100 * MOST_BEHIND:.0f} are allowed"
        for gap in gaps(cells)
        if gap.points > MOST_BEHIND + 1e-9
    ]


def harassed(cells: Sequence[Cell]) -> list[tuple[str, Share]]:
    """Profiles of which more clients are throttled than any may be, over all worlds, the worst first."""
    counts: dict[str, list[tuple[int, int]]] = {}
    for cell in cells:
        if cell["kind"] == "innocence":
            count = cell["detectors"][f"{OURS}/throttle"]["false"]["count"]
            counts.setdefault(cell["profile"], []).append((count, cell["sessions"]))
    sums = {profile: (sum(c for c, _ in pairs), sum(n for _, n in pairs)) for profile, pairs in counts.items()}
    found = [(profile, {"of": n, **share(c, n)}) for profile, (c, n) in sums.items() if c > MOST_OF_A_PROFILE * n]
    return sorted(found, key=lambda one: -one[1]["share"])


def _done(action: Action) -> str:
    return {"stop": "stopped", "throttle": "throttled or stopped", "alert": "alerted on"}[action]


def _told(found: Share) -> str:
    return f"{100 * found['share']:.0f}% ({found['count']} of {found['of']})"
