"""Campaigns: one thief behind many accounts, and which of them asks what.

Split widely enough, no account asks enough to be seen by itself. How the queries are dealt decides what is left to see:
in turn or at random, every account looks like the whole; by class or by region, each looks like a specialist; in blocks, one
account follows another, and the first are gone before anybody looks; with one search an account, none asks for long enough
to be judged.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from detector.redteam.conversation import Array, AskedQuery, Labels
from detector.redteam.k_center import greedy_k_center

Dealer: TypeAlias = Callable[[AskedQuery], int]


@dataclass(frozen=True, slots=True, eq=False)
class Campaign:
    """What a thief knows who deals `queries` queries to `accounts` accounts.

    `pool` (m, dimension) and `labels` (m,) are his natural examples, `rng` is his source of random numbers.
    """

    accounts: int
    queries: int
    pool: Array
    labels: Labels
    rng: np.random.Generator


Split: TypeAlias = Callable[[Campaign], Dealer]


def round_robin(campaign: Campaign) -> Dealer:
    """In turn."""
    return _dealer(campaign.accounts, 1, lambda _: 0)


def by_block(campaign: Campaign) -> Dealer:
    """One account after another: each asks an equal run of queries and then never again.

    Queries beyond those that were planned go to the last account.
    """
    accounts, queries = campaign.accounts, campaign.queries
    _some(min(accounts, queries))
    dealt = 0

    def deal(query: AskedQuery) -> int:
        nonlocal dealt
        del query
        dealt += 1
        return min((dealt - 1) * accounts // queries, accounts - 1)

    return deal


def at_random(campaign: Campaign) -> Dealer:
    """Each query to any account."""
    accounts, rng = campaign.accounts, campaign.rng
    _some(accounts)
    return lambda _: int(rng.integers(accounts))


def by_class(campaign: Campaign) -> Dealer:
    """By the label of the nearest natural example, which the thief knows before he asks; in turn within a class."""
    names, places = np.unique(campaign.labels, return_inverse=True)
    return _dealer(campaign.accounts, len(names), lambda vector: int(places[_nearest(vector, campaign.pool)]))


def by_region(campaign: Campaign) -> Dealer:
    """By the nearest of as many well spread natural examples as there are accounts; in turn if those are too few."""
    pool = campaign.pool
    centres = pool[greedy_k_center(pool, pool[:0], campaign.accounts)[0]]
    return _dealer(campaign.accounts, len(centres), lambda vector: _nearest(vector, centres))


def by_pair(campaign: Campaign) -> Dealer:
    """One search an account: the next one takes over where natural queries follow what was made from earlier ones.

    The first account comes round again after the last. Cover stays with the account that asked last.
    """
    accounts = campaign.accounts
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
    {
        "round-robin": round_robin,
        "class": by_class,
        "region": by_region,
        "pair": by_pair,
        "block": by_block,
        "random": at_random,
    }
)
"""Splits by permanent id: ``SPLITS[id](campaign)`` gives a dealer, asked once a query for its account.

A dealer is called in the order of the queries and returns a number below the number of accounts. All raise ValueError without
an account, or without natural examples or queries where they go by them.

>>> nothing = Campaign(3, 6, np.empty((0, 1)), np.empty(0, dtype=np.int64), np.random.default_rng(0))
>>> for split in ("round-robin", "block"):
...     deal = SPLITS[split](nothing)
...     print([deal(AskedQuery(np.zeros(1))) for _ in range(6)])
[0, 1, 2, 0, 1, 2]
[0, 0, 1, 1, 2, 2]
"""


TITLES: Mapping[str, str] = MappingProxyType(
    {
        "round-robin": "In turn",
        "class": "By the label of the nearest natural example",
        "region": "By the nearest of well spread natural examples, one for each account",
        "pair": "One search an account",
        "block": "One account after another",
        "random": "Each query to any account",
    }
)
"""What each split is, for lists."""


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
