import numpy as np

from detector.redteam.conversation import Array, converse
from detector.redteam.entries import Begin
from detector.redteam.profiles import benign
from detector.redteam.setting import Setting
from detector.redteam.victim import Victim


def _play(profile: Begin, victim: Victim, seed: int, budget: int) -> Array:
    pool = victim.benign
    client = profile(victim.setting(pool, np.random.default_rng(seed)))
    return converse(client, victim.predict, budget)[0]


def _rows(vectors: Array) -> set[bytes]:
    return {row.tobytes() for row in vectors}


def test_steady_clients_send_pool_pictures_without_repeating_at_once(victim: Victim) -> None:
    """Every query is a picture of the pool, and no two in a row are the same."""
    vectors = _play(benign.steady, victim, 1, 300)
    assert _rows(vectors) <= _rows(victim.benign.vectors)
    assert np.all(np.abs(np.diff(vectors, axis=0)).sum(axis=1) > 0.0)


def test_bursty_clients_ask_what_steady_ones_ask(victim: Victim) -> None:
    """Burstiness is in the arrival process alone."""
    assert np.array_equal(_play(benign.bursty, victim, 1, 50), _play(benign.steady, victim, 1, 50))


def test_skewed_clients_care_about_few_classes(victim: Victim) -> None:
    """On average three of ten classes carry most of the traffic, and clients differ in which."""
    pool = victim.benign
    label_of = {row.tobytes(): int(label) for row, label in zip(pool.vectors, pool.labels, strict=True)}
    top_three, favourites = [], set()
    for seed in range(10):
        labels = [label_of[row.tobytes()] for row in _play(benign.skewed, victim, seed, 200)]
        counts = np.bincount(labels, minlength=10)
        top_three.append(np.sort(counts)[-3:].sum() / 200)
        favourites.add(int(counts.argmax()))
    assert np.mean(top_three) > 0.7
    assert len(favourites) > 2


def test_video_frames_are_near_duplicates_but_not_all_equal(victim: Victim) -> None:
    """Consecutive frames are much closer than two pictures are, differ now and then, and lie on the sensor's levels."""
    frames = _play(benign.video, victim, 2, 400)
    steps = np.linalg.norm(np.diff(frames, axis=0), axis=1)
    apart = np.linalg.norm(np.diff(_play(benign.steady, victim, 2, 400), axis=0), axis=1)
    assert np.median(steps) < 0.25 * np.median(apart)
    assert len(_rows(frames)) > 200
    assert np.array_equal(frames, np.rint(frames))
    assert frames.min() >= 0.0
    assert frames.max() <= 16.0


def test_video_scenes_last_15_to_60_frames() -> None:
    """With one dark and one bright picture to film, the cuts can be seen and are never early or late."""
    pool = np.repeat([[3.0], [13.0]], 64, axis=1)
    client = benign.video(Setting(pool, np.array([0, 1]), np.random.default_rng(0), (0.0, 16.0)))
    frames, _, _ = converse(client, lambda X: X, 800)
    bright = frames.mean(axis=1) > 6.5
    cuts = np.flatnonzero(np.diff(bright.astype(np.int64)))
    lengths = np.diff(cuts)
    assert len(lengths) > 8
    assert lengths.min() >= 15
    assert lengths.max() <= 60


def test_retries_repeat_exactly_and_soon() -> None:
    """Repeats are of one of the last eight different queries, bit for bit, and make up 10 to 50% of the traffic."""
    pool = np.arange(500_000.0)[:, None]
    shares = []
    for seed in range(20):
        client = benign.retries(Setting(pool, np.zeros(len(pool), dtype=np.int64), np.random.default_rng(seed)))
        vectors, _, _ = converse(client, lambda X: X, 400)
        recent: list[bytes] = []
        repeats = 0
        for row in vectors:
            key = row.tobytes()
            if key in recent[-8:]:
                repeats += 1
            else:
                recent.append(key)
        # The pool is large, so hardly a picture comes back by chance after it left the last eight.
        assert len(recent) - len(set(recent)) <= 3
        shares.append(repeats / 400)
    assert min(shares) > 0.05
    assert max(shares) < 0.6
    assert np.ptp(shares) > 0.2


def test_a_noisy_sensor_has_one_gain_and_one_noise_level() -> None:
    """On a grey wall the readings show the client's gain and noise, in the stated ranges and different by client."""
    wall = np.full((2, 400), 8.0)
    gains = []
    for seed in range(12):
        client = benign.noisy_sensor(Setting(wall, np.array([0, 1]), np.random.default_rng(seed), (0.0, 16.0)))
        frames, _, _ = converse(client, lambda X: X, 10)
        assert frames.min() >= 0.0
        assert frames.max() <= 16.0
        readings = frames.mean(axis=1)
        assert np.ptp(readings) < 0.5
        assert 0.015 * 16 < frames.std() < 0.105 * 16
        gains.append(readings.mean() / 8.0)
    assert min(gains) > 0.68
    assert max(gains) < 1.32
    assert np.ptp(gains) > 0.2
