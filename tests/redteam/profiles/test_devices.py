import numpy as np

from detector.redteam.conversation import Array, converse
from detector.redteam.entries import Begin
from detector.redteam.profiles import devices
from detector.redteam.setting import Setting
from detector.redteam.victim import Victim


def _play(profile: Begin, victim: Victim, seed: int, budget: int = 120) -> Array:
    pool = victim.benign
    client = profile(victim.setting(pool, np.random.default_rng(seed)))
    return converse(client, victim.predict, budget)[0]


def _rows(vectors: Array) -> set[bytes]:
    return {np.ascontiguousarray(row).tobytes() for row in vectors}


def test_mirrored_and_turned_pictures_are_pictures_of_the_pool(victim: Victim) -> None:
    """Undoing the device gives pictures of the pool, exactly."""
    natural = _rows(victim.benign.vectors)
    seen = _play(devices.mirrored, victim, 1).reshape(-1, 8, 8)
    assert _rows(seen[:, :, ::-1].reshape(-1, 64)) <= natural
    ways = set()
    for seed in range(6):
        seen = _play(devices.quarter_turned, victim, seed).reshape(-1, 8, 8)
        undone = [k for k in (1, 3) if _rows(np.rot90(seen, k, axes=(1, 2)).reshape(-1, 64)) <= natural]
        assert len(undone) == 1
        ways.add(undone[0])
    assert ways == {1, 3}


def test_a_plain_sheet_has_no_edges() -> None:
    """The Sobel gradient of one grey is zero, that of a step is not."""
    plain = np.full(64, 9.0)
    half = np.repeat([[2.0] * 4 + [12.0] * 4], 8, axis=0).ravel()
    for picture, edges in ((plain, False), (half, True)):
        client = devices.edge_filtered(Setting(picture[None], np.array([0]), np.random.default_rng(0), (0.0, 16.0)))
        seen = converse(client, lambda X: X, 1)[0][0].reshape(8, 8)
        assert bool(seen[:, 3:5].all()) is edges
        assert not seen[:, 0].any()


def test_inverted_pictures_are_bright_where_natural_ones_are_dark(victim: Victim) -> None:
    """Mean pictures are opposite."""
    seen = _play(devices.inverted, victim, 0, 300).mean(axis=0)
    assert np.corrcoef(seen, victim.benign.vectors.mean(axis=0))[0, 1] < -0.95


def test_a_thermal_camera_sees_a_warm_background(victim: Victim) -> None:
    """Nothing is quite black, and warmer things are still brighter."""
    for seed in range(4):
        seen = _play(devices.thermal, victim, seed, 300)
        assert np.quantile(seen, 0.01) > 0.03 * 16
        assert np.corrcoef(seen.mean(axis=0), victim.benign.vectors.mean(axis=0))[0, 1] > 0.8


def test_dithering_keeps_the_mean_with_few_levels() -> None:
    """A grey ramp becomes two to four levels whose mean over a tile is that of the ramp."""
    levels = set()
    for seed in range(24):
        grey = np.full(256, 5.0)
        client = devices.dithered(Setting(grey[None], np.array([0]), np.random.default_rng(seed), (0.0, 16.0)))
        seen = converse(client, lambda X: X, 1)[0][0]
        assert abs(seen.mean() - 5.0) < 0.4
        client = devices.dithered(
            Setting(np.linspace(0, 16, 256)[None], np.array([0]), np.random.default_rng(seed), (0.0, 16.0))
        )
        levels.add(len(np.unique(converse(client, lambda X: X, 1)[0][0])))
    assert levels == {2, 3, 4}


def test_few_levels_are_few(victim: Victim) -> None:
    """A fax has two, a posteriser three to six."""
    for seed in range(6):
        assert len(np.unique(_play(devices.binarised, victim, seed))) == 2
        assert 3 <= len(np.unique(_play(devices.posterised, victim, seed))) <= 6


def test_salt_and_pepper_hits_a_fixed_share() -> None:
    """On a grey wall 1 to 8% of the pixels are black or white, half of them each."""
    wall = np.full((1, 400), 8.0)
    for seed in range(6):
        client = devices.salt_and_pepper(Setting(wall, np.array([0]), np.random.default_rng(seed), (0.0, 16.0)))
        seen = converse(client, lambda X: X, 60)[0]
        black, white, grey = (float((seen == value).mean()) for value in (0.0, 16.0, 8.0))
        assert black + white + grey == 1.0
        assert 0.008 < black + white < 0.09
        assert 0.5 < black / white < 2.0


def test_scrolled_pictures_keep_their_pixels(victim: Victim) -> None:
    """All positions of a picture hold the same values, moved along one axis, and the first is the picture itself."""
    for seed in range(4):
        seen = _play(devices.scrolling, victim, seed, 8)
        assert np.array_equal(np.sort(seen[0]), np.sort(seen[1]))
        assert seen[0].tobytes() in _rows(victim.benign.vectors)
        assert not np.array_equal(seen[0], seen[1])


def test_dead_rows_stay_dead() -> None:
    """One to three whole rows or columns have one value in every frame; with random pictures no others do."""
    pool = np.random.default_rng(0).uniform(1.0, 15.0, (30, 64))
    for seed in range(8):
        client = devices.dead_rows(Setting(pool, np.zeros(30, dtype=np.int64), np.random.default_rng(seed), (0.0, 16.0)))
        still = (np.ptp(converse(client, lambda X: X, 40)[0], axis=0) == 0.0).reshape(8, 8)
        lines = max(still.all(axis=1).sum(), still.all(axis=0).sum())
        assert 1 <= lines <= 3
        assert still.sum() == 8 * lines


def test_another_lens_shows_more_or_less(victim: Victim) -> None:
    """Some clients see larger digits, some smaller, none the usual ones."""
    usual = victim.benign.vectors.sum(axis=1).mean()
    light = np.array([_play(devices.other_zoom, victim, seed).sum(axis=1).mean() / usual for seed in range(12)])
    assert (light > 1.05).any()
    assert (light < 0.8).any()


def test_slanted_pictures_keep_the_middle_row_only() -> None:
    """A vertical line becomes a slanted one."""
    picture = np.zeros((9, 9))
    picture[:, 4] = 16.0
    client = devices.slanted(Setting(picture.reshape(1, -1), np.array([0]), np.random.default_rng(0), (0.0, 16.0)))
    seen = converse(client, lambda X: X, 1)[0][0].reshape(9, 9)
    assert seen[4, 4] == 16.0
    assert seen[0, 4] < 12.0
    assert seen[8, 4] < 12.0


def test_compression_is_near_and_worse_at_lower_quality() -> None:
    """A smooth picture survives; noise loses its fine detail; sizes that are no multiple of eight work."""
    down, right = np.mgrid[0:14, 0:14]
    smooth = (8.0 + 4.0 * np.sin(down / 5.0) + 3.0 * np.cos(right / 6.0)).ravel()
    client = devices.compressed(Setting(smooth[None], np.array([0]), np.random.default_rng(0), (0.0, 16.0)))
    assert np.abs(converse(client, lambda X: X, 1)[0][0] - smooth).mean() < 0.5
    noise = np.random.default_rng(1).uniform(0.0, 16.0, 196)
    client = devices.compressed(Setting(noise[None], np.array([0]), np.random.default_rng(0), (0.0, 16.0)))
    assert np.abs(converse(client, lambda X: X, 1)[0][0] - noise).mean() > 0.5


def test_a_hidden_mark_is_one_level_at_most(victim: Victim) -> None:
    """No pixel is further from a picture of the pool than one level, and most pictures are marked."""
    seen = _play(devices.low_bits, victim, 2, 60)
    pool = victim.benign.vectors
    off = np.array([np.abs(pool - picture).max(axis=1).min() for picture in seen])
    assert off.max() == 1.0
    assert (off == 1.0).mean() > 0.9


def test_flicker_repeats_itself_exactly() -> None:
    """A scene has as many different frames as the lamp's rhythm has, up to rounding, over and over."""
    pool = np.random.default_rng(3).integers(0, 256, (5, 64)).astype(np.float64)
    for seed in range(5):
        client = devices.flickering(Setting(pool, np.arange(5), np.random.default_rng(seed), (0.0, 255.0)))
        scene = converse(client, lambda X: X, 20)[0]
        assert 2 <= len(_rows(scene)) <= 9
