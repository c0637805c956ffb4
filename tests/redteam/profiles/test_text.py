from itertools import pairwise

import numpy as np

from detector.redteam.conversation import Array, converse
from detector.redteam.entries import Profile
from detector.redteam.registry import PROFILES
from detector.redteam.setting import Setting
from detector.redteam.texts import embedded_all, sentences

TEXTS, TOPICS = sentences(300, np.random.default_rng(5))
POOL = embedded_all(TEXTS)


def _play(profile: Profile, seed: int, budget: int) -> Array:
    client = profile.begin(Setting(POOL, TOPICS, np.random.default_rng(seed), (-1.0, 1.0), unit=True))
    return converse(client, lambda X: np.eye(3)[np.zeros(len(X), dtype=np.int64)], budget)[0]


def _nearness(name: str, seed: int) -> Array:
    vectors = _play(PROFILES[name], seed, 300)
    return np.array([a @ b for a, b in pairwise(vectors)])


def test_those_who_rephrase_or_go_on_stay_near() -> None:
    """Neighbours in a conversation, while typing, between form letters and between wordings are nearer than chance."""
    chance = np.median([_nearness("text_steady", seed) for seed in range(3)])
    for name in ("text_paraphrase", "text_conversation", "text_form_letters", "text_typing"):
        near = np.median([_nearness(name, seed) for seed in range(3)])
        assert near > chance + 0.15, name
