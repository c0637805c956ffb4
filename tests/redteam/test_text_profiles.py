from itertools import pairwise

import numpy as np
import pytest

from detector.redteam.conversation import Array, converse
from detector.redteam.profiles import Profile
from detector.redteam.text_profiles import TEXT, text_conversation, text_form_letters, text_paraphrase, text_typing
from detector.redteam.texts import embedded_all, sentences

TEXTS, TOPICS = sentences(300, np.random.default_rng(5))
POOL = embedded_all(TEXTS)
BY_ID = {profile.id: profile for profile in TEXT}


def _play(profile: Profile, seed: int, budget: int) -> Array:
    client = profile.make(POOL, TOPICS, np.random.default_rng(seed), (-1.0, 1.0))
    return converse(client, lambda X: np.eye(3)[np.zeros(len(X), dtype=np.int64)], budget)[0]


@pytest.mark.parametrize("profile", TEXT, ids=list(BY_ID))
def test_texts_stay_on_the_sphere(profile: Profile) -> None:
    """Every query has length one; a seed gives a client, a longer budget continues it, another seed gives another."""
    vectors = _play(profile, 1, 80)
    assert vectors.shape == (80, POOL.shape[1])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0)
    assert np.array_equal(_play(profile, 1, 30), vectors[:30])
    assert not np.array_equal(_play(profile, 2, 80), vectors)


@pytest.mark.parametrize("profile", TEXT, ids=list(BY_ID))
def test_without_texts_there_is_nothing_to_ask(profile: Profile) -> None:
    """An empty pool is an error at once, not an endless silence."""
    with pytest.raises(ValueError, match=r"example|picture"):
        next(profile.make(POOL[:0], TOPICS[:0], np.random.default_rng(0), (-1.0, 1.0)))


def test_published_ids_stay() -> None:
    """One may be added here, none changed or taken away; all are for texts and named so."""
    assert set(BY_ID) >= {
        *("text_steady", "text_skewed", "text_retries", "text_load_test", "text_paraphrase", "text_conversation"),
        *("text_form_letters", "text_typing", "text_misspelt"),
    }
    assert all(profile.data == "text" and profile.id.startswith("text_") for profile in TEXT)
    assert {profile.tier for profile in TEXT} == {"known", "later"}


def _nearness(name: str, seed: int) -> Array:
    vectors = _play(BY_ID[name], seed, 300)
    return np.array([a @ b for a, b in pairwise(vectors)])


def test_those_who_rephrase_or_go_on_stay_near() -> None:
    """Neighbours in a conversation, while typing, between form letters and between wordings are nearer than chance."""
    chance = np.median([_nearness("text_steady", seed) for seed in range(3)])
    for make in (text_paraphrase, text_conversation, text_form_letters, text_typing):
        name = make.__name__
        near = np.median([_nearness(name, seed) for seed in range(3)])
        assert near > chance + 0.15, name
