"""How fast a thief learns: the query by which his copy holds most of what it will ever hold.

Met after that, he has got what he came for. `most_at` says when that is, with few copies: the one at the end, then earlier ones
until the first holds enough.
"""

import numpy as np

from detector.redteam.copy import best_fidelity_at
from detector.redteam.play import Player
from detector.redteam.targets import Target

MOST = 0.8  # of the lead at the end of the budget
CHECKPOINTS = (1 / 32, 1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 3 / 4)  # shares of what the thief asked


def most_at(player: Player, target: Target) -> float | None:
    """The number of queries, cover included, after which the copy first has `MOST` of the lead that it has at the end.

    The lead is the fidelity (`best_fidelity_at`) over the share of the commonest label, which is what the best guess gets. It
    is 0 before the first query, and read off a straight line between two of `CHECKPOINTS`. None where the lead at the end is no
    larger than the luck of the test examples (two standard errors): such a thief stole nothing.
    """
    vectors, answers = np.stack(player.vectors), np.stack(player.answers)
    labels = target.predict(target.test).argmax(axis=1)
    guess = float(np.bincount(labels).max() / len(labels))

    def lead_after(asked: int) -> float:
        found = best_fidelity_at([asked], vectors, answers, target.test, target.predict, 0, target.encode)
        return found[asked] - guess

    total = len(vectors)
    last = lead_after(total)
    if last <= 2.0 * np.sqrt(guess * (1.0 - guess) / len(labels)):
        return None
    wanted = MOST * last
    before, held = 0, 0.0
    for at in dict.fromkeys(max(round(share * total), 1) for share in CHECKPOINTS):
        now = max(lead_after(at), 0.0)
        if now >= wanted:
            return round(before + (at - before) * (wanted - held) / (now - held), 1)
        before, held = at, now
    return round(before + (total - before) * (wanted - held) / (last - held), 1)
