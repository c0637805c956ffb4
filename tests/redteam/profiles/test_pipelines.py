import numpy as np
import pytest

from detector.redteam.conversation import Array, Conversation, converse
from detector.redteam.entries import Begin
from detector.redteam.profiles import pipelines
from detector.redteam.setting import Setting


def _watch(client: Conversation, budget: int) -> Array:
    return converse(client, lambda X: np.eye(3)[np.zeros(len(X), dtype=np.int64)], budget)[0]


def _begin(profile: Begin, pool: Array, seed: int) -> Conversation:
    return profile(Setting(pool, np.arange(len(pool)) % 2, np.random.default_rng(seed), (0.0, 16.0)))


def _random(count: int, side: int = 8) -> Array:
    return np.random.default_rng(0).uniform(4.0, 12.0, (count, side * side))


def test_a_label_has_bars_along_one_side() -> None:
    """On a plain sheet some rows at the top or at the bottom have columns of two greys, and the others have none."""
    below = set()
    for seed in range(12):
        seen = _watch(_begin(pipelines.label_scanner, np.full((1, 256), 6.0), seed), 6).reshape(-1, 16, 16)
        busy = np.ptp(seen[:, :, 2:14], axis=2).mean(axis=0) > 1.0
        assert 2 <= busy.sum() <= 10
        assert not busy[7]
        below.add(bool(busy[8:].any()))
    assert below == {False, True}


def test_a_pan_goes_there_and_back() -> None:
    """On a wall of plain pictures the mean changes slowly, and both directions are seen."""
    pool = np.repeat(np.linspace(0.0, 16.0, 30)[:, None], 64, axis=1)
    light = _watch(_begin(pipelines.panning_camera, pool, 1), 300).mean(axis=1)
    assert np.median(np.abs(np.diff(light))) < 3.0
    assert (np.diff(light) > 0.01).any()
    assert (np.diff(light) < -0.01).any()


def test_a_pan_over_one_picture_shows_it_everywhere() -> None:
    """Where all pictures of the wall are the same plain one, every frame is it."""
    seen = _watch(_begin(pipelines.panning_camera, np.full((1, 64), 8.0), 3), 60)
    assert np.abs(seen - 8.0).max() <= 1.5


def test_restoration_lies_between_the_squeezed_picture_and_the_real_one() -> None:
    """A picture, its means of two by two pixels or a smoothed version of them, and a blend of both."""
    pool = _random(5)
    kinds = set()
    for seed in range(12):
        real, small, third = _watch(_begin(pipelines.super_resolution, pool, seed), 3)
        assert (pool == real).all(axis=1).any()
        assert small.std() < real.std()
        restored = not (pool == third).all(axis=1).any()
        kinds.add(restored)
        if restored:
            share = float(((third - small) @ (real - small)) / ((real - small) @ (real - small)))
            assert 0.3 <= share <= 0.9
            np.testing.assert_allclose(third, small + share * (real - small), atol=1e-9)
    assert kinds == {False, True}


def test_a_loading_picture_comes_nearer_with_every_scan() -> None:
    """From one grey to the picture itself, in 5 to 16 scans."""
    pool = _random(3)
    for seed in range(6):
        seen = _watch(_begin(pipelines.progressive_loading, pool, seed), 16)
        last = int(np.flatnonzero([(pool == row).all(axis=1).any() for row in seen])[0])
        assert 4 <= last <= 15
        off = np.linalg.norm(seen[: last + 1] - seen[last], axis=1)
        assert np.all(np.diff(off) <= 1e-9)
        assert off[-1] == 0.0


def test_noise_has_the_shape_it_is_named_after() -> None:
    """Uniform noise has a sharp edge; that of a certificate lies in a thin shell and follows the picture itself."""
    pool = np.full((1, 900), 8.0)
    flat = _watch(_begin(pipelines.uniform_noise, pool, 2), 12) - 8.0
    assert np.abs(flat).max() / flat.std() < 1.75
    normal = _watch(_begin(pipelines.smoothing, pool, 2), 40) - 8.0
    assert not normal[0].any()
    radius = np.linalg.norm(normal[1:], axis=1)
    assert radius.std() / radius.mean() < 0.1
    assert np.abs(normal).max() / normal[1:].std() > 2.5


def test_a_bent_picture_keeps_its_greys() -> None:
    """Deformation moves what is there: nothing brighter or darker comes in, and a plain sheet stays as it is."""
    pool = _random(4)
    seen = _watch(_begin(pipelines.elastic, pool, 0), 40)
    assert pool.min() <= seen.min() <= seen.max() <= pool.max()
    assert not (seen[0] == seen[1]).all()
    plain = _watch(_begin(pipelines.elastic, np.full((1, 64), 5.0), 0), 10)
    np.testing.assert_allclose(plain, 5.0)


def test_the_labelling_tool_opens_the_doubtful_ones() -> None:
    """The first pictures to be asked about again are those of the stack with the smallest margins, the most doubtful first."""
    pool = np.random.default_rng(0).uniform(0.0, 16.0, (50_000, 16))
    for seed in range(3):
        client = pipelines.labelling_tool(
            Setting(pool, np.zeros(50_000, dtype=np.int64), np.random.default_rng(seed), (0.0, 16.0))
        )
        vectors, answers, _ = converse(client, lambda X: np.column_stack([X[:, 0], 16.0 - X[:, 0]]) / 16.0, 200)
        seen = {vector.tobytes(): row for row, vector in reversed(list(enumerate(vectors)))}
        again = [row for row, vector in enumerate(vectors) if seen[vector.tobytes()] < row]
        size = again[0]
        assert 20 <= size <= 80
        margins = np.abs(answers[:size, 0] - answers[:size, 1])
        opened = [seen[vectors[row].tobytes()] for row in range(size, size + 3 * max(1, round(0.1 * size)), 3)]
        assert opened == np.argsort(margins, kind="stable")[: len(opened)].tolist()


def test_a_window_stretches_what_it_shows() -> None:
    """Each view is a rising straight line of the picture's values, cut off at black and at white."""
    ramp = np.linspace(0.0, 16.0, 64)[None]
    slopes = set()
    for view in _watch(_begin(pipelines.contrast_window, ramp, 1), 40):
        steps = np.diff(view)
        inside = steps[steps > 1e-9]
        assert np.all(steps >= -1e-9)
        assert len(inside)
        slopes.add(round(float(np.median(inside)), 6))
    assert len(slopes) > 5


def test_a_contour_grows_over_the_picture() -> None:
    """Only pixels of the line differ from the picture, all of one brightness, and mostly more of them each time."""
    pool = np.zeros((1, 196))
    for seed in range(4):
        inked = _watch(_begin(pipelines.contour_drawing, pool, seed), 9) > 0.0
        counts = inked.sum(axis=1)
        assert counts[0] == 1
        assert (np.diff(counts) >= 0).mean() > 0.5
        assert counts.max() <= 9
    assert len(np.unique(_watch(_begin(pipelines.contour_drawing, pool, 0), 9))) == 2


@pytest.mark.parametrize("limit", [0.2, 0.55, 0.9])
def test_dimming_closes_in_on_the_limit(limit: float) -> None:
    """Against a model that reads a picture down to a limit, the last lights of a picture are next to it."""
    pool = np.full((1, 64), 10.0)
    client = _begin(pipelines.dimming_test, pool, 0)

    def predict(X: Array) -> Array:
        return np.column_stack([X[:, 0] >= 10.0 * limit, X[:, 0] < 10.0 * limit]).astype(np.float64)

    vectors, _, _ = converse(client, predict, 60)
    lights = vectors[:, 0] / 10.0
    again = int(np.flatnonzero(lights[1:] == 1.0)[0]) + 1
    assert 7 <= again <= 11
    assert abs(lights[again - 1] - limit) < 1.0 / 2**4


def test_a_picture_that_is_read_in_the_dark_is_left() -> None:
    """Where the label never changes there is nothing to halve."""
    lights = _watch(_begin(pipelines.dimming_test, np.full((1, 64), 10.0), 0), 8)[:, 0]
    assert np.array_equal(lights[::2], np.full(4, 10.0))
    assert np.ptp(lights[1::2]) == 0.0
