"""Who asks: innocents of the red team's profiles for a fortnight, and a day on which thieves ask beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from detector.redteam.arrivals import ARRIVALS
from detector.redteam.play import START_MS, Player
from detector.redteam.registry import ATTACKS, PROFILES
from detector.redteam.setting import Setting
from detector.redteam.victim import Pool

DAY_MS = 86_400_000
EARLY, LATE, LIVE = 8, 12, 2  # innocents of each profile: the first teach the reference, the next calibrate
PAST_QUERIES, LIVE_QUERIES, STOLEN_QUERIES = 100, 200, 400


class Setter(Protocol):
    """What a client begins with that holds a pool."""

    def __call__(self, pool: Pool, rng: np.random.Generator) -> Setting:
        """Return the setting."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Pools:
    """What the clients hold; no example is in two of them."""

    early: Pool
    late: Pool
    live: Pool
    thieves: Pool


def past(roles: Sequence[str], pools: Pools, begin: Setter) -> list[Player]:
    """Return the innocents of the fortnight before; those who calibrate hold other examples than those who teach."""
    start = START_MS - 14 * DAY_MS
    return [
        _player(role, f"{role}-{n}", pool, begin, start + week + n % 5 * DAY_MS, PAST_QUERIES)
        for role in roles
        for pool, week, numbers in ((pools.early, 0, range(EARLY)), (pools.late, 7 * DAY_MS, range(EARLY, EARLY + LATE)))
        for n in numbers
    ]


def today(innocents: Sequence[str], thieves: Sequence[str], pools: Pools, begin: Setter) -> list[Player]:
    """Return the clients of the day; thieves are called ``thief-...``."""
    honest = [
        _player(role, f"{role}-live-{n}", pools.live, begin, START_MS, LIVE_QUERIES) for role in innocents for n in range(LIVE)
    ]
    return honest + [_player(role, f"thief-{role}", pools.thieves, begin, START_MS, STOLEN_QUERIES) for role in thieves]


def _player(role: str, name: str, pool: Pool, begin: Setter, start_ms: int, budget: int) -> Player:
    rng = np.random.default_rng(list(name.encode()))
    hostile = role in ATTACKS
    entry = ATTACKS[role] if hostile else PROFILES[role]
    return Player(
        name=name,
        role=role,
        hostile=hostile,
        conversation=entry.begin(begin(pool, rng)),
        gaps=ARRIVALS["poisson" if hostile else PROFILES[role].arrival](rng, 20.0),
        budget=budget,
        next_ms=start_ms + 1000.0 * float(rng.uniform(0, 600)),
    )
