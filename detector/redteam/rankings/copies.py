"""The thief's copy of a recommender, and what a ranking is worth to honest users.

The copy is a `Recommender` of its own, trained on the rankings that were told: a distribution over the items of each list.
Two recipes are tried, and the better copy counts: `by_order`, where each place weighs `FALL` of the one above it, and
`even`, where all places weigh the same, which is what a thief does who has found that the order lies.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.redteam.rankings.recommender import SHOWN, Recommender, fitted
from detector.redteam.rankings.users import Histories, History, padded

__all__ = ["FALL", "Honest", "Worth", "agreement", "copy_of", "worth"]

FALL: Final = 0.8
_STEPS: Final = 200


class Honest(NamedTuple):
    """Histories of people that nobody has learned from, (n, `WINDOW`), and the item that each looked at next, (n,)."""

    windows: Histories
    following: npt.NDArray[np.int64]


class Worth(NamedTuple):
    """What rankings are worth to honest users: how often the next item is among the first ten, and its NDCG at 10."""

    hits: float
    ndcg: float


def worth(told: Histories, honest: Honest) -> Worth:
    """Return what rankings (n, shown) are worth; an item beyond `SHOWN` does not count.

    >>> worth(np.array([[3, 1], [1, 2]]), Honest(np.zeros((2, 8), int), np.array([1, 3])))
    Worth(hits=0.5, ndcg=0.31546487678572877)
    """
    found = told[:, :SHOWN] == honest.following[:, None]
    gains = found / np.log2(np.arange(2.0, found.shape[1] + 2.0))
    return Worth(float(found.any(axis=1).mean()), float(gains.sum(axis=1).mean()))


def agreement(one: Histories, other: Histories) -> float:
    """Return the share of the first ten that rankings (n, shown) have in common, in whatever order.

    >>> agreement(np.array([[0, 1]]), np.array([[1, 2]]))
    0.1
    """
    common = [len(set(a[:SHOWN]) & set(b[:SHOWN])) for a, b in zip(one.tolist(), other.tolist(), strict=True)]
    return float(np.mean(common)) / SHOWN


def copy_of(heard: Sequence[tuple[History, History]], items: int, seed: int, fall: float) -> Recommender:
    """Train a copy on histories and the rankings told after them, each place weighing `fall` of the one above it.

    Answers without an item teach nothing and are left out; raises ValueError where no other is there.
    """
    told = [(history, ranking) for history, ranking in heard if ranking]
    targets = np.zeros((len(told), items))
    for row, (_, ranking) in enumerate(told):
        weights = fall ** np.arange(len(ranking))
        targets[row, list(ranking)] = weights / weights.sum()
    return fitted(padded([history for history, _ in told], items), targets, seed, _STEPS)


def best_copy(
    heard: Sequence[tuple[History, History]], own: Histories, windows: Histories, items: int, seed: int
) -> Recommender:
    """Return the copy that agrees best with the model's `own` rankings of `windows`: of `by_order` and `even`."""
    longest = max(len(ranking) for _, ranking in heard)
    copies = [copy_of(heard, items, seed, fall) for fall in ((FALL, 1.0) if longest > 1 else (1.0,))]
    return max(copies, key=lambda copy: agreement(copy.rankings(windows), own))
