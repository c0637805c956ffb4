"""The cells of the table of campaigns, and what is measured in each.

A pass is one day of a world on which one thief of each attack deals his queries in the same way, each with natural examples of
his own; or on which there is no thief. A cell is one attack of a pass. Ids stand in published tables: one that has been given
is never renamed nor reused.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from detector.redteam.setting import Data
from tests.quality.campaigns.dealt import Theft
from tests.quality.campaigns.found import Found
from tests.quality.campaigns.traffic import Traffic
from tests.quality.campaigns.worlds import WORLDS, World
from tests.quality.cells import share
from tests.quality.simulation import kind_of

QUERIES = 2000  # the budget of a thief
PARTS = {"quarter": 0.25, "half": 0.5, "end": 1.0}
ATTACKS: dict[Data, tuple[str, ...]] = {
    "image": (
        "line_search",
        "hopskipjump",
        "jbda",
        "jbda_reversed",
        "t_rnd",
        "zoo",
        "lowd_meek",
        "boundary",
        "generator_proxy",
        "active_k_center_inputs",
    ),
    "tabular": (
        "one_feature_bisect_whole",
        "line_search",
        "path_finding",
        "finite_differences",
        "hopskipjump",
        "jbda",
        "t_rnd",
        "lowd_meek",
        "marginals",
        "active_k_center_inputs",
    ),
    "text": ("line_search", "jbda", "hopskipjump", "uniform", "active_k_center_inputs"),
}
"""Attacks of each kind of data: those that make queries, one with foreign data, and one that chooses natural examples."""

MANY = 100
DEALINGS: tuple[tuple[str, int, float], ...] = (
    ("round-robin", 5, 0.0),
    ("round-robin", 20, 0.0),
    ("round-robin", MANY, 0.0),
    ("round-robin", 400, 0.0),
    ("block", MANY, 0.0),
    ("random", MANY, 0.0),
    ("class", MANY, 0.0),
    ("region", MANY, 0.0),
    ("pair", MANY, 0.0),
    ("round-robin", MANY, 0.5),
    ("round-robin", 20, 0.9),
    ("round-robin", MANY, 0.9),
)
"""Splits, accounts, and shares of cover."""

QUICK_DEALINGS = (0, 2, 4, 9, 10)
QUICK_ATTACKS = frozenset(
    {"line_search", "hopskipjump", "jbda", "t_rnd", "one_feature_bisect_whole", "path_finding", "finite_differences"}
)
QUICK_WORLDS = ("patches-all", "features-all", "fraud-all")


@dataclass(frozen=True, slots=True)
class Pass:
    """A day of a world; no `split` is a day without a thief."""

    world: World
    split: str | None = None
    accounts: int = 0
    cover: float = 0.0
    attacks: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Return the id, with which those of its cells begin."""
        if self.split is None:
            return f"{self.world.id}.benign"
        cover = f".cover-{100 * self.cover:.0f}" if self.cover else ""
        return f"{self.world.id}.{self.split}-{self.accounts}{cover}"


def passes_of(world: World, *, quick: bool = False) -> Iterator[Pass]:
    """Yield the passes of a world, the benign one first; held-out worlds have no other."""
    yield Pass(world)
    if world.held_out:
        return
    attacks = tuple(name for name in ATTACKS[kind_of(world.data)] if not quick or name in QUICK_ATTACKS)
    for number, (split, accounts, cover) in enumerate(DEALINGS):
        if not quick or number in QUICK_DEALINGS:
            yield Pass(world, split, accounts, cover, attacks)


PASSES: tuple[Pass, ...] = tuple(one for world in WORLDS.values() for one in passes_of(world))
"""All passes, in the order of the worlds."""


def campaign_cell(one: Pass, theft: Theft, traffic: Traffic, found: Found) -> dict[str, Any]:
    """Measure how soon a campaign was told, and how many of its accounts had been named and met by parts of its budget.

    Accounts that had not asked by then count as not found in ``named`` and ``met``; ``active`` says how many had. ``alarm`` is
    the number of the campaign's queries up to the first alert that lists one of its accounts, None without any.
    """
    own = {place: account.id for place, account in enumerate(traffic.accounts) if account.campaign == theft.attack}
    mine = np.isin(traffic.account, list(own))
    moments, places = traffic.moments[mine], traffic.account[mine]
    asked = len(moments)
    first = min((found.told[name] for name in own.values() if name in found.told), default=None)
    cell: dict[str, Any] = {
        "id": f"{one.id}.{theft.attack}",
        "kind": "campaign",
        "world": one.world.id,
        "attack": theft.attack,
        "split": one.split,
        "accounts": len(own),
        "cover": one.cover,
        "queries": asked,
        "made": int(theft.made.sum()),
        "alarm": None if first is None else int(np.searchsorted(moments, first + 1e-9, "right")),
    }
    for name, part in PARTS.items():
        until = float(moments[max(int(np.ceil(part * asked)) - 1, 0)]) + 1e-9
        active = len(np.unique(places[moments <= until]))
        cell[name] = {
            "active": active,
            "named": _share(sum(found.named.get(account, np.inf) <= until for account in own.values()), len(own)),
            "met": _share(sum(found.met.get(account, np.inf) <= until for account in own.values()), len(own)),
        }
    return cell


def benign_cell(one: Pass, traffic: Traffic, found: Found) -> dict[str, Any]:
    """Measure what innocent accounts met: how many were named and met, and which groups of innocents alone were alarmed.

    A group is innocent where no thief's account is in it. What is joined to a campaign counts as named beside a thief.
    """
    benign = {account.id: account for account in traffic.accounts if account.campaign is None}
    innocent = [group for group in found.groups if not any(name not in benign for name in group.accounts)]
    named = [name for name in benign if name in found.named]
    alone = {name for group in innocent for name in group.accounts}
    largest = sorted(innocent, key=lambda group: -group.evidence)[:5]
    return {
        "id": f"{one.id}.innocents",
        "kind": "innocents",
        "world": one.world.id,
        "held_out": one.world.held_out,
        "split": one.split,
        "campaign_accounts": one.accounts,
        "cover": one.cover,
        "queries": int((~np.isin(traffic.account, [i for i, a in enumerate(traffic.accounts) if a.campaign])).sum()),
        "bars": [round(found.low, 1), round(found.high, 1)],
        "named": _share(len(named), len(benign)),
        "beside_a_thief": sum(name not in alone for name in named),
        "met": _share(sum(name in found.met for name in benign), len(benign)),
        "groups": {
            "reviewed": sum(group.reviewed for group in innocent),
            "stopped": sum(group.stopped for group in innocent),
        },
        "roles": dict(Counter(benign[name].role for name in named).most_common(8)),
        "largest": [
            {
                "evidence": round(group.evidence, 1),
                "accounts": len(group.accounts),
                "events": dict(group.events),
                "roles": dict(Counter(benign[name].role for name in group.accounts).most_common(4)),
            }
            for group in largest
        ],
    }


def chosen_passes(worlds: Sequence[str], half: str | None, *, quick: bool) -> list[Pass]:
    """Return the passes of these worlds and of one half; of the open half by default, so that nobody looks by mistake."""
    wanted = [world for world in WORLDS.values() if world.held_out == (half == "held-out")]
    if worlds:
        wanted = [WORLDS[name] for name in worlds]
    elif quick and half != "held-out":
        wanted = [WORLDS[name] for name in QUICK_WORLDS]
    return [one for world in wanted for one in passes_of(world, quick=quick)]


def _share(count: int, trials: int) -> dict[str, Any]:
    return {"of": trials, **share(count, trials)}
