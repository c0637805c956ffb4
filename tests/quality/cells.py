"""Cells: what was measured, with intervals, and whether the target was met.

A cell is a plain dictionary, one line of the table's JSON. A share is ``{"count", "share", "low", "high"}`` (Wilson, 95%), a
median ``{"median", "low", "high"}`` with null for never.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from detector.redteam.registry import ATTACKS, PROFILES
from detector.redteam.sessions import Disguise
from tests.quality.intervals import median, wilson
from tests.quality.matches import OURS
from tests.quality.scenario import FREE, UNSET, Action, Innocence, Scenario, Theft

PLAIN = Disguise()


def summed(cell: Scenario, played: Mapping[str, Any]) -> dict[str, Any]:
    """Sum up what `tests.quality.matches.play` returned; targets come in here only, and may change without a new match.

    A cell that could not be played says so in ``error``.
    """
    if "error" in played:
        return {"id": cell.id, "data": cell.data, "victim": cell.victim, "error": played["error"]}
    return theft_cell(cell, played) if isinstance(cell, Theft) else innocence_cell(cell, played)


def theft_cell(cell: Theft, played: Mapping[str, Any]) -> dict[str, Any]:
    """Sum up an attack: for each detector how many thieves it met, within the goal and ever, when, and what had leaked."""
    goal, disguise = cell.goal or UNSET, cell.disguise
    detectors: dict[str, Any] = {}
    for name, moments in played["moments"].items():
        detectors[name] = {
            "within": share(sum(one is not None and one["after"] <= goal.within for one in moments), len(moments)),
            "ever": share(sum(one is not None for one in moments), len(moments)),
            **{which: _median(moments, which) for which in ("queries", "after", "synthetic")},
            "copy": mean(played["copies"].get(name, [])),
            "moments": moments,
        }
    held = detectors[f"{OURS}/{goal.action}"]["within"]["share"]
    return {
        "id": cell.id,
        "kind": "theft",
        "data": cell.data,
        "victim": cell.victim,
        "attack": cell.attack,
        "family": ATTACKS[cell.attack].family,
        "group": cell.group,
        "evasion": cell.evasion,
        "wire": played["wire"],
        "cover": disguise.cover,
        "accounts": disguise.accounts,
        "disguise": {name: value for name, value in asdict(disguise).items() if value != getattr(PLAIN, name)},
        "budget": cell.budget,
        "instances": len(played["asked"]),
        "seed": cell.seed,
        "goal": asdict(goal),
        "met": goal.met(held),
        "kept": goal.met(held) or not goal.promised,
        "asked": played["asked"],
        "made": played["made"],
        "learned": played["learned"],
        "copy_whole": mean(played["whole"]),
        "evidence": played["evidence"],
        "seconds": played["seconds"],
        "bystanders": {"clients": played["bystanders"], **played["caught"]},
        "detectors": detectors,
    }


def innocence_cell(cell: Innocence, played: Mapping[str, Any]) -> dict[str, Any]:
    """Sum up a profile: for each detector how many innocents it met."""
    detectors = {name: {"false": share(count, played["sessions"])} for name, count in played["met"].items()}
    limits = cell.limits or FREE
    levels: tuple[Action, ...] = ("alert", "throttle", "stop")
    within = {level for level in levels if limits.met(level, detectors[f"{OURS}/{level}"]["false"]["share"])}
    return {
        "id": cell.id,
        "kind": "innocence",
        "data": cell.data,
        "victim": cell.victim,
        "profile": cell.profile,
        "family": PROFILES[cell.profile].family,
        "part": cell.part,
        "wire": played["wire"],
        "budget": cell.budget,
        "sessions": played["sessions"],
        "queries": played["queries"],
        "seed": cell.seed,
        "limits": asdict(limits),
        "met": len(within) == len(levels),
        "kept": set(limits.promised) <= within,
        "evidence": played["evidence"],
        "seconds": played["seconds"],
        "detectors": detectors,
    }


def share(count: int, trials: int) -> dict[str, Any]:
    """A share with its interval.

    >>> share(2, 2)
    {'count': 2, 'share': 1.0, 'low': 0.3424, 'high': 1.0}
    """
    found = wilson(count, trials)
    return {"count": count, "share": round(found.estimate, 4), "low": round(found.low, 4), "high": round(found.high, 4)}


def mean(values: Sequence[float]) -> float | None:
    """The mean, None of nothing."""
    return round(float(np.mean(values)), 4) if values else None


def _median(moments: Sequence[Mapping[str, int] | None], which: str) -> dict[str, float | None]:
    found = median([math.inf if one is None else float(one[which]) for one in moments])
    return {
        name: value if math.isfinite(value) else None
        for name, value in (("median", found.estimate), ("low", found.low), ("high", found.high))
    }
