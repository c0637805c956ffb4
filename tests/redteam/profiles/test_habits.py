import numpy as np
import pytest

from detector.redteam.conversation import Array, Conversation, converse
from detector.redteam.entries import Begin
from detector.redteam.profiles import habits
from detector.redteam.setting import Setting
from detector.redteam.victim import Victim


def _play(profile: Begin, victim: Victim, seed: int, budget: int) -> Array:
    pool = victim.benign
    client = profile(victim.setting(pool, np.random.default_rng(seed)))
    return converse(client, victim.predict, budget)[0]


def _watch(client: Conversation, budget: int) -> Array:
    return converse(client, lambda X: X[:, :2], budget)[0]


def _different(vectors: Array) -> int:
    return len(np.unique(vectors, axis=0))


def _steps(vectors: Array) -> Array:
    return np.asarray(np.linalg.norm(np.diff(vectors, axis=0), axis=1))


def test_drift_is_slow_and_bounded() -> None:
    """A single picture, seen again and again, changes a little each time, wanders far, and never gets lost."""
    pool = np.zeros((1, 15, 15))
    pool[0, 4:11, 6:9] = 200.0
    client = habits.drifting(Setting(pool.reshape(1, -1), np.array([0]), np.random.default_rng(1), (0.0, 255.0)))
    seen = _watch(client, 600)
    apart = np.linalg.norm(seen[::100, None] - seen[None, ::100], axis=2)
    assert np.median(_steps(seen)) < 0.3 * apart[apart > 0].mean()
    assert seen.reshape(-1, 15, 15)[:, 7, 7].min() > 100.0


def test_the_same_pictures_come_every_night(victim: Victim) -> None:
    """Night after night each place of the list shows its picture again, nearly the same but not exactly."""
    shares = []
    for seed in range(5):
        vectors = _play(habits.nightly, victim, seed, 400)
        nearest = [np.linalg.norm(vectors[: row - 19] - vectors[row], axis=1).min() for row in range(200, 400)]
        apart = np.median(_steps(vectors))
        shares.append(np.mean(np.array(nearest) < 0.4 * apart))
        assert _different(vectors) > 200
    assert min(shares) > 0.6


def test_shadow_copies_come_in_pairs(victim: Victim) -> None:
    """Each picture is followed by its other version: closer to it than to the next, and the same kind of change always."""
    for seed in range(6):
        vectors = _play(habits.ab_shadow, victim, seed, 200)
        first, second = vectors[::2], vectors[1::2]
        within = np.linalg.norm(second - first, axis=1)
        assert np.median(within) < 0.7 * np.median(_steps(first))
        assert _different(first) > 50


def test_load_tests_know_few_pictures(victim: Victim) -> None:
    """Five to fifty different pictures, all of them sent equally often in the end."""
    sizes = []
    for seed in range(8):
        vectors = _play(habits.load_test, victim, seed, 500)
        _, counts = np.unique(vectors, axis=0, return_counts=True)
        sizes.append(len(counts))
        assert counts.max() <= 3 * counts.min() + 2
    assert min(sizes) >= 4
    assert max(sizes) <= 50
    assert len(set(sizes)) > 3


def test_sliders_move_one_way_and_shuffled_ones_do_not() -> None:
    """In order, the brightness of a grey wall rises from one query to the next; shuffled, it jumps."""
    pool = np.full((2, 64), 8.0)
    pool[1, 0] = 7.5
    ordered, jumps = 0, 0
    for seed in range(12):
        for profile in (habits.sliders, habits.shuffled_sliders):
            client = profile(Setting(pool, np.array([0, 1]), np.random.default_rng(seed), (0.0, 16.0)))
            light = _watch(client, 40)[:, 1:].mean(axis=1)
            falls = int((np.diff(light) < -1e-9).sum())
            if np.ptp(light) < 4.0:  # not the slider of brightness
                continue
            if profile is habits.sliders:
                ordered += 1
                assert falls <= 5
            else:
                jumps += 1
                assert falls > 5
    assert ordered > 0
    assert jumps > 0


@pytest.mark.parametrize("seed", range(3))
def test_sliders_in_any_order_ask_the_same(victim: Victim, seed: int) -> None:
    """The first sweep of both holds the same queries, up to their order."""
    one, other = (_play(profile, victim, seed, 8) for profile in (habits.sliders, habits.shuffled_sliders))
    many, others = (_play(profile, victim, seed, 60) for profile in (habits.sliders, habits.shuffled_sliders))
    assert {row.tobytes() for row in one} & {row.tobytes() for row in others}
    assert {row.tobytes() for row in other} & {row.tobytes() for row in many}


def test_augmented_pictures_come_in_families(victim: Victim) -> None:
    """Neighbours in the log are mostly variants of one picture: nearer than pictures are, and never equal."""
    for seed in range(4):
        vectors = _play(habits.augmentation, victim, seed, 120)
        assert _different(vectors) > 100
        assert np.median(_steps(vectors)) < np.median(_steps(victim.benign.vectors))


def test_blurred_pictures_are_softer(victim: Victim) -> None:
    """Neighbouring pixels differ less than in the pool."""

    def rough(vectors: Array) -> float:
        return float(np.abs(np.diff(vectors.reshape(-1, 8, 8), axis=2)).mean())

    for seed in range(4):
        assert rough(_play(habits.blur, victim, seed, 100)) < 0.85 * rough(victim.benign.vectors)


def test_exposure_hunts_within_the_clients_reach() -> None:
    """On a grey wall every reading is a multiple of the wall between 0.5 and 1.5, and readings differ."""
    wall = np.full((2, 400), 100.0)
    spreads = []
    for seed in range(8):
        readings = _watch(habits.gain(Setting(wall, np.array([0, 1]), np.random.default_rng(seed), (0.0, 255.0))), 100).mean(
            axis=1
        )
        assert readings.min() > 49.0
        assert readings.max() < 151.0
        spreads.append(np.ptp(readings))
    assert min(spreads) > 15.0
    assert np.ptp(spreads) > 15.0


def test_hard_cases_are_harder(victim: Victim) -> None:
    """The model itself is less sure of them than of pictures at large."""

    def margin(vectors: Array) -> float:
        ordered = np.sort(np.log(victim.predict(vectors)), axis=1)
        return float((ordered[:, -1] - ordered[:, -2]).mean())

    hard = np.mean([margin(_play(habits.hard_cases, victim, seed, 150)) for seed in range(4)])
    assert hard < margin(victim.benign.vectors) - 0.5


def test_unsure_takes_the_share_and_the_nearest_to_the_middle() -> None:
    """On a line between two classes the rows in the middle come first."""
    X = np.linspace(0.0, 1.0, 21)[:, None]
    rows = habits.unsure(X, (X[:, 0] > 0.5).astype(np.int64), 0.25)
    assert len(rows) == 5
    assert set(rows.tolist()) <= set(range(7, 14))


def test_health_checks_are_few_pictures_and_a_fresh_one_now_and_then(victim: Victim) -> None:
    """At least four of five queries are one of at most eight pictures."""
    for seed in range(6):
        vectors = _play(habits.health_checks, victim, seed, 300)
        _, counts = np.unique(vectors, axis=0, return_counts=True)
        usual = np.sort(counts)[::-1][:8].sum()
        assert usual >= 0.8 * 300
        assert len(counts) > 8
