"""Campaigns: what a thief asked once, dealt to accounts in every way.

What a thief asks does not depend on which account asks it. So each attack is played once, and dealing it to five accounts or
to four hundred costs nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from detector.redteam.accounts import SPLITS, Campaign
from detector.redteam.conversation import Array, AskedQuery
from detector.redteam.sessions import Disguise, thief
from detector.redteam.targets import Target
from detector.redteam.victim import Pool
from tests.quality.campaigns.traffic import Account, Traffic, arrived
from tests.quality.fleet import ask_all

HELD = 1500  # natural examples of each thief; no two thieves share any, while there are enough
BEGIN, LASTING = 0.1, 0.5  # of a day


@dataclass(frozen=True, slots=True, eq=False)
class Theft:
    """What one thief asked, (n, dimension), which of it he made, and which was cover, (n,); `pool` are his natural examples."""

    attack: str
    vectors: Array
    made: npt.NDArray[np.bool_]
    cover: npt.NDArray[np.bool_]
    pool: Pool


def thefts(attacks: Sequence[str], target: Target, cover: float, queries: int, seed: int) -> list[Theft]:
    """Play one thief of each attack, all at once, with so many queries of which a share is cover.

    Raises `ConfigError` where an attack does not go with the model.
    """
    held = min(HELD, len(target.attacker.vectors) // max(len(attacks), 1))
    pools = [
        Pool(
            target.attacker.vectors[place * held : (place + 1) * held],
            target.attacker.labels[place * held : (place + 1) * held],
        )
        for place in range(len(attacks))
    ]
    players = [
        thief(attack, 0, replace(target, attacker=pool, benign=pool), Disguise(cover=cover), queries, 1.0, seed)
        for attack, pool in zip(attacks, pools, strict=True)
    ]
    ask_all(players, target)
    return [
        Theft(attack, np.stack(player.vectors), np.array(player.synthetic), np.array(player.cover), pool)
        for attack, player, pool in zip(attacks, players, pools, strict=True)
    ]


def dealt(theft: Theft, target: Target, accounts: int, split: str, seed: int, *, organization: str | None = None) -> Traffic:
    """Deal a theft to accounts by one of `SPLITS`, its queries at random moments over half a day.

    Raises KeyError for a split that is none.
    """
    rng = np.random.default_rng([seed, accounts, 9])
    campaign = Campaign(accounts, len(theft.vectors), theft.pool.vectors, theft.pool.labels, rng.spawn(1)[0])
    deal = SPLITS[split](campaign)
    account = np.array(
        [
            deal(AskedQuery(vector, made, cover))
            for vector, made, cover in zip(theft.vectors, theft.made.tolist(), theft.cover.tolist(), strict=True)
        ],
        np.int64,
    )
    vectors, answers = arrived(theft.vectors, target)
    moments = BEGIN + LASTING * np.sort(rng.random(len(account)))
    names = [
        Account(f"{theft.attack}-{number + 1}", theft.attack, organization, campaign=theft.attack) for number in range(accounts)
    ]
    return Traffic(vectors, answers, moments, account, theft.made, theft.cover, names)
