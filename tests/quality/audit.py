"""The audit: no attack, profile or published detector without a cell, no cell without a target, no id twice."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from detector.redteam.registry import ATTACKS, PROFILES
from tests.quality.observed import LEVELS
from tests.quality.published.registry import PUBLISHED, published_for
from tests.quality.scenario import Goal, Innocence, Limits, Scenario, Theft
from tests.quality.simulation import REAL


def faults(
    cells: Sequence[Scenario],
    attacks: Mapping[str, Any] = ATTACKS,
    profiles: Mapping[str, Any] = PROFILES,
    published: Collection[str] = tuple(PUBLISHED),
) -> list[str]:
    """Say what is missing in the table, in words; nothing if it is complete.

    Cells on data that the reader has to bring do not count, since they may never be played. Profiles that are held out belong
    into no cell here, but into the table of worlds.
    """
    found = [f"{cell_id}: the id is used {count} times" for cell_id, count in Counter(c.id for c in cells).items() if count > 1]
    own = [cell for cell in cells if cell.data not in REAL]
    played = {cell.attack for cell in own if isinstance(cell, Theft)}
    parts = {(cell.profile, cell.part) for cell in own if isinstance(cell, Innocence)}
    found += [f"attack {name} is in no cell" for name in attacks if name not in played]
    for name, profile in profiles.items():
        for part in ("known", "left-out") if profile.wave == "known" else (profile.wave,):
            if part != "held-out" and (name, part) not in parts:
                found.append(f"profile {name} is in no cell as {part}")
    measured = {name for cell in own for name in published_for(cell.data, cell.victim)}
    found += [f"published detector {name} is in no cell" for name in published if name not in measured]
    for cell in cells:
        found += [f"{cell.id}: {problem}" for problem in _problems(cell, attacks, profiles)]
    return found


def _problems(cell: Scenario, attacks: Mapping[str, Any], profiles: Mapping[str, Any]) -> list[str]:
    found = []
    if isinstance(cell, Theft):
        if cell.attack not in attacks:
            found.append(f"there is no attack {cell.attack}")
        if cell.goal is None:
            found.append("no goal is set")
        elif cell.goal.share <= 0.0 and not cell.goal.why:
            found.append("the goal asks for nothing and does not say why")
    else:
        if cell.profile not in profiles:
            found.append(f"there is no profile {cell.profile}")
        if cell.limits is None:
            found.append("no limits are set")
    target = cell.goal if isinstance(cell, Theft) else cell.limits
    aims = (isinstance(target, Goal) and not target.promised) or (
        isinstance(target, Limits) and len(target.promised) < len(LEVELS)
    )
    if target is not None and aims and not target.why:
        found.append("an aim has to say what is in the way")
    return found
