"""A small shop with its recommender, trained once."""

import numpy as np
import pytest

from detector.redteam.rankings.copies import Honest
from detector.redteam.rankings.measured import Scene
from detector.redteam.rankings.recommender import examples, trained
from detector.redteam.rankings.users import Shop

ITEMS = 60


@pytest.fixture(scope="session")
def stage() -> Scene:
    """A recommender of 60 items that has learned from 150 users."""
    shop = Shop.open(5, ITEMS)
    rng = np.random.default_rng(5)
    walks, owned, honest = (shop.walks(users, 20, rng) for users in (150, 30, 30))
    return Scene(trained(walks, ITEMS, 5, steps=150), walks, owned, Honest(*examples(honest, ITEMS)), shop)
