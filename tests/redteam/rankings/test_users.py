"""The simulated shop and its users."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.redteam.rankings.users import WINDOW, Shop, padded


def test_the_same_seed_gives_the_same_walks() -> None:
    """Another seed gives others."""
    walks = [Shop.open(seed, 60).walks(3, 20, np.random.default_rng(7)) for seed in (1, 1, 2)]
    assert walks[0] == walks[1] != walks[2]


def test_no_item_comes_twice_within_a_window() -> None:
    """A recommender never recommends what was just looked at, so users do not look at it again at once."""
    for walk in Shop.open(0, 60).walks(20, 40, np.random.default_rng(0)):
        assert len(walk) == 40
        for end in range(len(walk)):
            window = walk[max(end - WINDOW, 0) : end + 1]
            assert len(set(window)) == len(window)


def test_items_follow_each_other_more_often_than_by_chance() -> None:
    """There is something to learn: a tenth of all steps or more goes to one of the five followers, of 120 items."""
    shop = Shop.open(3, 120)
    walks = shop.walks(60, 30, np.random.default_rng(1))
    followed = [now in shop.followers[before] for walk in walks for before, now in pairwise(walk)]
    assert np.mean(followed) > 0.2


@pytest.mark.parametrize(("items", "genres"), [(19, 1), (40, 12), (100, 0)])
def test_a_shop_too_small_for_followers_is_refused(items: int, genres: int) -> None:
    """It says how many items were asked for."""
    with pytest.raises(ValueError, match=f"{items} items are too few for {genres} genres"):
        Shop.open(0, items, genres)


@given(st.lists(st.lists(st.integers(0, 29), max_size=2 * WINDOW).map(tuple), max_size=4))
def test_windows_hold_the_latest_items_first(histories: list[tuple[int, ...]]) -> None:
    """What is older than the window is left out, and what is missing is marked."""
    windows = padded(histories, 30)
    assert windows.shape == (len(histories), WINDOW)
    for window, history in zip(windows.tolist(), histories, strict=True):
        known = [item for item in window if item < 30]
        assert known == list(reversed(history))[:WINDOW]
        assert window[len(known) :] == [30] * (WINDOW - len(known))
