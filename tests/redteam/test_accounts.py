import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.redteam.accounts import SPLITS, Campaign, Dealer
from detector.redteam.conversation import Array, AskedQuery

RNG = np.random.default_rng(0)
POOL = np.vstack([RNG.normal(centre, 0.1, (30, 2)) for centre in (0.0, 5.0, 10.0)])
LABELS = np.repeat([4, 7, 9], 30)


def _dealer(split: str, accounts: int, queries: int = 100) -> Dealer:
    return SPLITS[split](Campaign(accounts, queries, POOL, LABELS, np.random.default_rng(7)))


def _asked(vectors: Array) -> list[AskedQuery]:
    return [AskedQuery(vector) for vector in vectors]


@given(split=st.sampled_from(sorted(SPLITS)), accounts=st.integers(1, 400), seed=st.integers(0, 1000))
def test_queries_go_to_accounts_that_exist(split: str, accounts: int, seed: int) -> None:
    """Every dealer names accounts below their number, and the same queries get the same accounts."""
    queries = _asked(np.random.default_rng(seed).uniform(-1.0, 11.0, (30, 2)))
    one, other = (_dealer(split, accounts) for _ in range(2))
    dealt = [one(query) for query in queries]
    assert all(0 <= account < accounts for account in dealt)
    assert dealt == [other(query) for query in queries]


def test_in_turn_every_account_gets_as_much() -> None:
    """Twenty accounts share a hundred queries evenly."""
    deal = _dealer("round-robin", 20)
    assert np.bincount([deal(query) for query in _asked(POOL[:60].repeat(2, axis=0)[:100])]).tolist() == [5] * 20


def test_in_blocks_no_account_comes_back() -> None:
    """Seven accounts ask 14 or 15 queries each, one after another; what was not planned goes to the last."""
    deal = _dealer("block", 7)
    dealt = np.array([deal(query) for query in _asked(POOL[:55].repeat(2, axis=0))])
    assert (np.diff(dealt) >= 0).all()
    assert set(np.bincount(dealt[:100]).tolist()) == {14, 15}
    assert set(dealt[100:].tolist()) == {6}


def test_at_random_every_account_gets_some() -> None:
    """Twenty accounts of 400 queries, none in a rhythm."""
    deal = _dealer("random", 20)
    dealt = np.array([deal(query) for query in _asked(POOL[:80].repeat(5, axis=0))])
    assert (np.bincount(dealt, minlength=20) > 5).all()
    assert len(set(np.diff(dealt).tolist())) > 10


def test_by_class_no_account_sees_two_classes() -> None:
    """Of nine accounts each has one class, and each class three accounts."""
    deal = _dealer("class", 9)
    seen: dict[int, set[int]] = {}
    for query, label in zip(_asked(POOL), LABELS, strict=True):
        seen.setdefault(deal(query), set()).add(int(label))
    assert len(seen) == 9
    assert all(len(labels) == 1 for labels in seen.values())


def test_by_region_near_queries_meet_and_far_ones_do_not() -> None:
    """Three accounts for three clusters: each cluster has its own."""
    deal = _dealer("region", 3)
    dealt = np.array([deal(query) for query in _asked(POOL)]).reshape(3, 30)
    assert all(len(set(row.tolist())) == 1 for row in dealt)
    assert len(set(dealt[:, 0].tolist())) == 3


def test_by_pair_each_search_has_an_account() -> None:
    """Natural queries after made ones begin the next search; cover stays where it is, and the first account comes round."""
    deal = _dealer("pair", 2)
    search = [AskedQuery(POOL[0]), AskedQuery(POOL[1]), AskedQuery(POOL[2], synthetic=True), AskedQuery(POOL[3], cover=True)]
    assert [deal(query) for query in (*search, *search, *search)] == [0] * 4 + [1] * 4 + [0] * 4


@pytest.mark.parametrize("split", SPLITS)
def test_no_account_is_no_campaign(split: str) -> None:
    """Zero accounts are refused."""
    with pytest.raises(ValueError, match="at least one account"):
        _dealer(split, 0)
