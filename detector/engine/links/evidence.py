"""Evidence of a group of accounts, and of one account in it: a mixture over unknown shares of constructed queries.

Each event is worth a logarithm of odds by its kind, on each model as much as innocents there leave of it (`usual`), and each
other query speaks a little against. The share of constructed queries is not known, so the score is the best over a few shares,
as for the channels of one account.
"""

import math
from collections.abc import Sequence

from detector.engine.links.seeking.search import (
    BISECT,
    HALVED,
    KINDS,
    LINE,
    MIDDLE,
    MIRRORED,
    NEIGHBOUR,
    OFFSET,
    SHALLOW,
    SINGLE,
    STEP,
)

SHARES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
AGAINST = 0.4  # how much of a share an ordinary query speaks against
BESIDE = 5.0  # what a query beside an event is worth
MADE = 8.0  # what a query is worth at most that was made from others
OF_RECORDS = frozenset({HALVED, MIRRORED, LINE, MIDDLE, STEP})  # events in tables
STRONG = OF_RECORDS | {OFFSET, SINGLE, BISECT}
MOST = dict.fromkeys(STRONG, MADE) | {SHALLOW: 2.0, NEIGHBOUR: BESIDE}
WEIGHTS = tuple(MOST.get(kind, 0.0) for kind in range(KINDS))  # what events are worth at most
NAMES = {
    OFFSET: "flat steps",
    SINGLE: "probes of single values",
    BISECT: "halvings",
    HALVED: "halvings of one column",
    MIRRORED: "two-sided differences",
    LINE: "halvings between records",
    MIDDLE: "first halvings between records",
    STEP: "equal steps between records",
    SHALLOW: "first halvings",
    NEIGHBOUR: "queries beside these",
}
NEIGHBOURS_COUNTED = 3  # queries beside events count up to so many times the events

_LOSS = [math.log1p(-share * AGAINST) for share in SHARES]


class Worth:
    """What events are worth on a model: `weights` (KINDS,) are logarithms of odds, 0 for a kind that says nothing there."""

    __slots__ = ("_gains", "weights")

    def __init__(self, weights: Sequence[float] = WEIGHTS) -> None:
        self.weights = tuple(weights)
        self._gains = [[math.log1p(share * math.expm1(weight)) for share in SHARES] for weight in self.weights]

    def mixture(self, queries: int, counts: Sequence[int]) -> float:
        """Return the evidence in so many queries, of which `counts` (KINDS,) are events by kind.

        >>> round(Worth().mixture(2, [0] * NEIGHBOUR + [1]), 1), Worth().mixture(200, [0] * NEIGHBOUR + [1]) < 4
        (4.5, True)
        """
        others = max(queries - sum(counts), 0)
        best = -math.inf
        for place in range(len(SHARES)):
            total = others * _LOSS[place]
            for kind, count in enumerate(counts):
                if count:
                    total += count * self._gains[kind][place]
            best = max(best, total)
        return best

    def group_score(self, queries: int, counts: Sequence[int]) -> float:
        """Return the evidence of a group: queries beside events count only as far as there are events."""
        strong = sum(counts[kind] for kind in STRONG)
        capped = list(counts)
        capped[NEIGHBOUR] = min(capped[NEIGHBOUR], NEIGHBOURS_COUNTED * strong)
        return self.mixture(queries, capped)
