"""What hiding costs a thief: the copy he gets for as many queries, beside that of the plain attack.

A disguise that no detector sees is worth nothing if its answers teach nothing, and one that costs nothing is what a detector
has to be judged by. Cover counts as queries, since it is paid for like any other.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from detector.redteam.copy import best_fidelity_at
from detector.redteam.design_aware import Evasion
from detector.redteam.play import Player, turns
from detector.redteam.sessions import STEADY, Disguise, innocent, thief
from detector.redteam.targets import Target

GAP_SECONDS = 6.0


@dataclass(frozen=True, slots=True)
class Price:
    """What an evasion costs with `queries` queries; shares are means over thieves of the agreement of copy and model.

    `natural` is the copy of somebody who asks about natural examples only, and `plain` that of the attack without disguise.
    `made` is how many of the evading thief's queries were his own inventions.
    """

    evasion: str
    queries: int
    made: float
    accounts: int
    natural: float
    plain: float
    copy: float

    @property
    def price(self) -> float:
        """How much worse the copy is than the plain attack's, as a share of the examples; below 0 where it is better."""
        return self.plain - self.copy


def prices(
    evasions: Iterable[Evasion],
    target: Target,
    budget: int,
    thieves: int,
    seed: int,
    told: Callable[[str], None] = lambda _id: None,
) -> list[Price]:
    """Play each evasion and its plain attack against a model, `thieves` times with `budget` queries, and train copies.

    `told` hears of each evasion when it begins. Takes some seconds for each. Raises `ConfigError` where an attack does not go
    with the model.
    """
    natural = _mean([_natural(target, budget, number, seed) for number in range(thieves)])
    plain: dict[str, float] = {}
    found = []
    for one in evasions:
        told(one.id)
        if one.plain not in plain:
            plain[one.plain] = _mean([_stolen(one.plain, Disguise(), target, budget, n, seed)[0] for n in range(thieves)])
        stolen = [_stolen(one.attack, one.disguise, target, budget, n, seed) for n in range(thieves)]
        found.append(
            Price(
                one.id,
                budget,
                _mean([made for _, made in stolen]),
                one.disguise.accounts,
                natural,
                plain[one.plain],
                _mean([copy for copy, _ in stolen]),
            )
        )
    return found


def _stolen(attack: str, disguise: Disguise, target: Target, budget: int, number: int, seed: int) -> tuple[float, float]:
    player = thief(attack, number, target, disguise, budget, GAP_SECONDS, seed)
    return _copy(player, target), float(sum(player.synthetic))


def _natural(target: Target, budget: int, number: int, seed: int) -> float:
    """The copy of a thief who asks about the natural examples that he holds, at random."""
    thrifty = replace(target, benign=target.attacker)
    return _copy(innocent(STEADY[target.data], number, thrifty, budget, GAP_SECONDS, seed), target)


def _copy(player: Player, target: Target) -> float:
    for _ in turns([player], target.predict, target.wire):
        pass
    asked = len(player.vectors)
    vectors, answers = np.stack(player.vectors), np.stack(player.answers)
    return best_fidelity_at([asked], vectors, answers, target.test, target.predict, 0, target.encode)[asked]


def _mean(values: list[float]) -> float:
    return float(np.mean(values))
