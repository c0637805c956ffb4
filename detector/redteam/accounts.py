"""Campaigns: one thief behind many accounts, and which of them asks what.

Split widely enough, no account asks enough to be seen by itself. How the queries are dealt decides what is left to see:
in turn, every account looks like the whole; by class or by region, each looks like a specialist; with one search an account,
none asks for long enough to be judged.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from detector.redteam.conversation import Array, AskedQuery, Labels
from detector.redteam.k_center import greedy_k_center

Dealer: TypeAlias = Callable[[AskedQuery], int]
Split: TypeAlias = Callable[[int, Array, Labels], Dealer]


def round_robin(accounts: int, pool: Array, labels: Labels) -> Dealer:
    """In turn."""
    del pool, labels
    return _dealer(accounts, 1, lambda _: 0)


def by_class(accounts: int, pool: Array, labels: Labels) -> Dealer:
    """By the label of the nearest natural example, which the thief knows before he asks; in turn within a class."""
    names, places = np.unique(labels, return_inverse=True)
    return _dealer(accounts, len(names), lambda vector: int(places[_nearest(vector, pool)]))


def by_region(accounts: int, pool: Array, labels: Labels) -> Dealer:
    """By the nearest of as many well spread natural examples as there are accounts; in turn if those are too few."""
    del labels
    centres = pool[greedy_k_center(pool, pool[:0], accounts)[0]]
    return _dealer(accounts, len(centres), lambda vector: _nearest(vector, centres))


def by_pair(accounts: int, pool: Array, labels: Labels) -> Dealer:
    """One search an account: the next one takes over where natural queries follow what was made from earlier ones.

    The first account comes round again after the last. Cover stays with the account that asked last.
    """
    del pool, labels
    _some(accounts)
    at, made = 0, False

    def deal(query: AskedQuery) -> int:
        nonlocal at, made
        if not query.cover:
            if made and not query.synthetic:
                at = (at + 1) % accounts
            made = query.synthetic
        return at

    return deal


SPLITS: Mapping[str, Split] = MappingProxyType(
    {"round-robin": round_robin, "class": by_class, "region": by_region, "pair": by_pair}
)
"""Splits by permanent id: ``SPLITS[id](accounts, pool, labels)`` gives a dealer, asked once a query for its account.

A dealer is called in the order of the queries and returns a number below `accounts`. All raise ValueError without an
account, or without natural examples where they go by them.

>>> deal = SPLITS["round-robin"](3, np.empty((0, 1)), np.empty(0, dtype=np.int64))
>>> [deal(AskedQuery(np.zeros(1))) for _ in range(5)]
[0, 1, 2, 0, 1]
"""


def _dealer(accounts: int, groups: int, group_of: Callable[[Array], int]) -> Dealer:
    _some(min(accounts, groups))
    turns = np.zeros(groups, dtype=np.int64)

    def deal(query: AskedQuery) -> int:
        group = group_of(query.vector)
        if groups >= accounts:
            return group % accounts
        members = range(group, accounts, groups)
        turns[group] += 1
        return members[(int(turns[group]) - 1) % len(members)]

    return deal


def _some(count: int) -> None:
    if count < 1:
        raise ValueError("a campaign needs at least one account, and natural examples to go by")


def _nearest(vector: Array, points: Array) -> int:
    return int(np.linalg.norm(points - vector, axis=1).argmin())
