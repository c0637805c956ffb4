import numpy as np
import pytest

from detector.redteam.attacks.augmented import augmented_seeds
from detector.redteam.conversation import converse
from detector.redteam.setting import Setting
from detector.redteam.victim import Victim


def test_variants_are_of_the_seeds_and_all_different(victim: Victim) -> None:
    """After the seeds come made pictures, each nearer to a seed or its mirror image than pictures lie apart."""
    setting = victim.setting(victim.attacker, np.random.default_rng(1))
    vectors, _, made = converse(augmented_seeds(setting), victim.predict, 120)
    assert made.tolist() == [False] * 20 + [True] * 100
    assert len(np.unique(vectors, axis=0)) == 120
    seeds = np.concatenate([vectors[:20], vectors[:20].reshape(-1, 8, 8)[:, :, ::-1].reshape(-1, 64)])
    nearest = np.linalg.norm(vectors[made][:, None] - seeds, axis=2).min(axis=1)
    apart = np.linalg.norm(seeds[:20, None] - seeds[None, :20], axis=2)[np.triu_indices(20, 1)]
    assert np.median(nearest) < 0.85 * np.median(apart)


def test_without_a_picture_there_is_nothing_to_vary() -> None:
    """An empty pool is an error at the first query."""
    with pytest.raises(ValueError, match="at least one natural picture"):
        next(augmented_seeds(Setting(np.empty((0, 64)), np.empty(0, np.int64), np.random.default_rng(0))))
