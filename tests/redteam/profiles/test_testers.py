from itertools import pairwise

import numpy as np
import pytest

from detector.redteam.conversation import Array, Conversation, converse
from detector.redteam.profiles import testers
from detector.redteam.setting import Setting
from detector.redteam.victim import Victim


def _watch(client: Conversation, budget: int) -> Array:
    return converse(client, lambda X: np.eye(3)[np.zeros(len(X), dtype=np.int64)], budget)[0]


def test_sign_noise_has_one_size_and_both_signs() -> None:
    """Every pixel of a version is off by the same amount, up or down about equally often: the attack's own geometry."""
    pool = np.random.default_rng(0).uniform(6.0, 10.0, (4, 100))
    sizes = set()
    for seed in range(5):
        client = testers.sign_noise(Setting(pool, np.zeros(4, dtype=np.int64), np.random.default_rng(seed), (0.0, 16.0)))
        vectors = _watch(client, 6)
        moves = vectors[1:] - vectors[0]
        assert np.ptp(np.abs(moves)) < 1e-9
        assert 0.3 < (moves > 0).mean() < 0.7
        size = float(np.abs(moves).mean()) / 16.0
        assert 0.02 <= size <= 0.10
        sizes.add(round(size, 6))
    assert len(sizes) == 5


def test_a_sweep_goes_on_until_the_label_turns() -> None:
    """Against a model that never changes its mind all strengths are asked; against one that does at once, one of each."""
    pool = np.random.default_rng(0).uniform(2.0, 14.0, (3, 64))

    def stubborn() -> int:
        client = testers.robustness_sweep(Setting(pool, np.zeros(3, dtype=np.int64), np.random.default_rng(1), (0.0, 16.0)))
        asked = _watch(client, 300)
        natural = [row for row, vector in enumerate(asked) if any(np.array_equal(vector, picture) for picture in pool)]
        return natural[1] - natural[0]

    def fickle() -> int:
        client = testers.robustness_sweep(Setting(pool, np.zeros(3, dtype=np.int64), np.random.default_rng(1), (0.0, 16.0)))
        query, labels, natural = next(client), iter(range(10**6)), []
        for row in range(30):
            if any(np.array_equal(query.vector, picture) for picture in pool):
                natural.append(row)
            query = client.send(np.eye(10)[next(labels) % 10])
        return natural[1] - natural[0]

    assert 1 + 5 * 5 <= stubborn() <= 1 + 5 * 10
    assert fickle() == 1 + 5


def test_a_drawing_only_grows_and_ends_as_the_picture() -> None:
    """Each stage shows what the one before did and more, until the whole picture is there."""
    pool = np.random.default_rng(0).uniform(5.0, 16.0, (3, 64))
    for seed in range(6):
        client = testers.progressive_drawing(
            Setting(pool, np.zeros(3, dtype=np.int64), np.random.default_rng(seed), (0.0, 16.0))
        )
        vectors = _watch(client, 31)
        drawn = (vectors > 0.0).sum(axis=1)
        end = int(np.flatnonzero(drawn == 64)[0])
        assert 7 <= end <= 29
        assert np.all(np.diff(drawn[: end + 1]) > 0)
        for before, after in pairwise(vectors[: end + 1]):
            assert np.array_equal(after[before > 0.0], before[before > 0.0])
        assert any(np.array_equal(vectors[end], picture) for picture in pool)


def test_a_fade_is_a_straight_line_of_equal_steps() -> None:
    """Between two pictures all steps are the same vector."""
    pool = np.random.default_rng(0).uniform(0.0, 16.0, (6, 64))
    client = testers.cross_fade(Setting(pool, np.zeros(6, dtype=np.int64), np.random.default_rng(0), (0.0, 16.0)))
    vectors = _watch(client, 120)
    steps = np.diff(vectors, axis=0)
    same = np.abs(np.diff(steps, axis=0)).max(axis=1) < 1e-9
    natural = [row for row, vector in enumerate(vectors) if any(np.allclose(vector, picture) for picture in pool)]
    assert 8 <= natural[1] - natural[0] <= 30
    assert same.sum() >= len(same) - len(natural)


def test_a_time_lapse_brightens_and_darkens() -> None:
    """The light of a scene rises to noon and falls again, frame by frame nearly the same."""
    pool = np.full((1, 64), 200.0)
    client = testers.time_lapse(Setting(pool, np.array([0]), np.random.default_rng(0), (0.0, 255.0)))
    light = _watch(client, 60).mean(axis=1)
    assert np.abs(np.diff(light)).max() < 20.0
    assert light.max() > 1.8 * light[0]


@pytest.mark.parametrize("seed", range(3))
def test_mixed_pictures_lie_between_two(victim: Victim, seed: int) -> None:
    """Where all pictures are black or white points, every value is the share of one of the two."""
    pool = np.eye(40) * 16.0
    client = testers.mixup(Setting(pool, np.zeros(40, dtype=np.int64), np.random.default_rng(seed), victim.value_range))
    vectors = _watch(client, 50)
    np.testing.assert_allclose(vectors.sum(axis=1), 16.0)
    assert set((vectors > 0.0).sum(axis=1).tolist()) <= {1, 2}
