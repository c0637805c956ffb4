"""Counts of false alarms for readers: by profile, by world and in all, as JSON lines and as Markdown."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from detector.errors import OutputError
from detector.redteam.registry import PROFILES
from tests.quality.intervals import wilson
from tests.quality.table import rows

GOALS: Mapping[str, float] = MappingProxyType({"alert": 1 / 1000, "stop": 1 / 10_000})
"""At most so many of all innocent clients may meet an alert, or be stopped."""

ACTIONS = ("alert", "throttle", "stop")
LEGEND = """\
How many innocent clients met an alert, a throttle, a stop (perturbed or blocked), with Wilson intervals of 95%; they take
clients for independent, which those who share pictures and a baseline are not quite. The goal is held where the share is not
above it, and *shown* where the whole interval is not.
"""


def summed(blocks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Add up blocks: a row for each profile of each world in the order of the blocks, then each world, then all.

    Sums have the profile ``all``, and the last row the world ``all`` as well. Raises ValueError without any block.
    """
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    worlds: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for block in blocks:
        found.setdefault((block["world"], block["profile"]), []).append(block)
        worlds.setdefault((block["world"], "all"), []).append(block)
    known = list(PROFILES)
    order = sorted(found, key=lambda key: (list(worlds).index((key[0], "all")), known.index(key[1])))
    groups = [(key, found[key]) for key in order] + list(worlds.items()) + [(("all", "all"), list(blocks))]
    return [_row(world, profile, group) for (world, profile), group in groups]


def _row(world: str, profile: str, group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    sessions = sum(block["sessions"] for block in group)
    row: dict[str, Any] = {
        "world": world,
        "profile": profile,
        "sessions": sessions,
        "queries": sum(block["queries"] for block in group),
        "seconds": round(sum(block["seconds"] for block in group), 1),
    }
    for action in ACTIONS:
        share = wilson(sum(block[action] for block in group), sessions)
        row[action] = {
            "count": sum(block[action] for block in group),
            "share": round(share.estimate, 7),
            "low": round(share.low, 7),
            "high": round(share.high, 7),
        }
        if action in GOALS:
            goal = GOALS[action]
            row[action] |= {"goal": goal, "held": share.estimate <= goal, "shown": share.high <= goal}
    row["evidence"] = {
        action: dict(sum((Counter(block["evidence"][action]) for block in group), Counter()).most_common())
        for action in ACTIONS
    }
    return row


def publish(blocks: Sequence[Mapping[str, Any]], out: Path) -> list[str]:
    """Write rows and table into `out`, and say which goals are passed by the whole, in words.

    Raises `OutputError` when that cannot be done.
    """
    found = summed(blocks)
    try:
        lines = "".join(json.dumps(row, allow_nan=False) + "\n" for row in found)
        (out / "false-alarms.jsonl").write_text(lines, encoding="utf-8")
        (out / "false-alarms.md").write_text(markdown(found), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write to {out}: {error.strerror or error}") from error
    return [
        f"{action}: {found[-1][action]['count']} of {found[-1]['sessions']} clients, more than the goal of {_per_ten(goal)}"
        for action, goal in GOALS.items()
        if not found[-1][action]["held"]
    ]


def markdown(found: Sequence[Mapping[str, Any]]) -> str:
    """The table of finished rows."""
    whole = found[-1]
    said = [f"{whole['sessions']:,} clients asked {whole['queries']:,} queries."]
    for action, goal in GOALS.items():
        one = whole[action]
        verdict = "held and shown" if one["shown"] else "held, not yet shown" if one["held"] else "**passed**"
        said.append(f"Goal for {action}: at most {_per_ten(goal)}; measured {_rate(one)} per 10,000: {verdict}.")
    header = ["clients", "number", *(f"{action} (per 10,000)" for action in ACTIONS), "by"]
    body = []
    for row in found:
        name = {"all": f"**{'all' if row['world'] == 'all' else row['world']}**"}.get(row["profile"], row["profile"])
        reasons = sorted({reason for reasons in row["evidence"].values() for reason in reasons})
        body.append(
            [name, f"{row['sessions']:,}", *(f"{row[a]['count']}: {_rate(row[a])}" for a in ACTIONS), ", ".join(reasons) or "-"]
        )
    return "\n\n".join(["# False alarms", " ".join(said), LEGEND.strip(), rows(header, body)]) + "\n"


def _rate(one: Mapping[str, Any]) -> str:
    return f"{1e4 * one['share']:.1f} [{1e4 * one['low']:.1f}, {1e4 * one['high']:.1f}]"


def _per_ten(goal: float) -> str:
    return f"1 in {round(1 / goal):,}"
