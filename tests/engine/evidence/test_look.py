"""Look: the views of a picture, and the ratio that they give."""

import numpy as np
import numpy.typing as npt
import pytest

from detector.engine.evidence.foreign import LEAST, MOST
from detector.engine.evidence.look import MOST_SIDE, TERMS, TEXTURE, VIEWS, Look, is_version_of, look_ratios, look_views
from detector.engine.fitting.look import terms_of

Floats = npt.NDArray[np.float32]
SIDE = 12
GREY = (SIDE, 1, 0)
PLAIN_SHARE, AT_ENDS, MIDDLE = VIEWS - 3, VIEWS - 2, VIEWS - 1
CONCENTRATED, DIRECTION = 4 + 1, 4 + 6


def pictures(n: int, side: int = SIDE) -> Floats:
    """Soft noise of half the range."""
    noise = np.random.default_rng(0).random((n, side + 1, side + 1))
    soft = noise[:, 1:, 1:] + noise[:, :-1, 1:] + noise[:, 1:, :-1] + noise[:, :-1, :-1]
    return np.asarray(0.25 + 0.125 * soft.reshape(n, -1), np.float32)


def seen(rows: Floats, shape: tuple[int, int, int] = GREY) -> npt.NDArray[np.float64]:
    views = np.empty((len(rows), VIEWS))
    look_views(rows, shape, 0.0, 1.0, views)
    return views


def test_each_picture_is_looked_at_alone() -> None:
    """The batch does not matter."""
    rows = pictures(5)
    np.testing.assert_array_equal(np.concatenate([seen(rows[k : k + 1]) for k in range(5)]), seen(rows))


def test_brightness_moves_the_mean_alone() -> None:
    """Slopes do not know it, nor does the shape of the histogram."""
    rows = pictures(5)
    moved = seen(rows + np.float32(0.2)) - seen(rows)
    np.testing.assert_allclose(moved[:, 0], 0.2, atol=1e-6)
    np.testing.assert_allclose(moved[:, 1:], 0.0, atol=1e-4)


def test_mirrored_turned_and_inverted_pictures_look_the_same() -> None:
    """A selfie camera draws as other cameras do. Direction is seen from one corner of each pixel, so it may differ."""
    rows = pictures(5)
    kept = [k for k in range(1, VIEWS) if k not in {DIRECTION, DIRECTION + TEXTURE}]
    square = rows.reshape(-1, SIDE, SIDE)
    for other in (square[:, :, ::-1], np.rot90(square, 1, (1, 2)), 1.0 - square):
        found = seen(np.ascontiguousarray(other.reshape(5, -1), np.float32))
        np.testing.assert_allclose(found[:, kept], seen(rows)[:, kept], atol=1e-4)


def test_colours_are_read_in_grey_however_they_are_ordered() -> None:
    """Channels side by side, or plane by plane."""
    rows = pictures(3)
    together, planes = np.repeat(rows, 3, axis=1), np.tile(rows, (1, 3))
    np.testing.assert_allclose(seen(together, (SIDE, 3, 0)), seen(rows), atol=1e-4)
    np.testing.assert_allclose(seen(planes, (SIDE, 3, 1)), seen(rows), atol=1e-4)
    assert np.abs(seen(planes, (SIDE, 3, 0)) - seen(rows)).max() > 0.1


def test_large_pictures_are_averaged_first() -> None:
    """So each of four equal pixels may be one."""
    rows = pictures(2, MOST_SIDE - 1)
    large = np.kron(rows.reshape(2, MOST_SIDE - 1, -1), np.ones((1, 2, 2))).reshape(2, -1).astype(np.float32)
    np.testing.assert_allclose(seen(large, (2 * MOST_SIDE - 2, 1, 0)), seen(rows, (MOST_SIDE - 1, 1, 0)), atol=1e-4)


def test_what_the_views_say() -> None:
    """An edge, a wave along one side, a spot in the middle and a black ground are told from soft noise."""
    place = np.arange(SIDE)
    edge = np.tile(np.where(place < SIDE // 2, 0.2, 0.8), (SIDE, 1))
    wave = np.tile(0.5 + 0.3 * np.sin(place), (SIDE, 1))
    spot = np.zeros((SIDE, SIDE))
    spot[5:7, 5:7] = 0.5
    noise, edge_views, wave_views, spot_views = seen(
        np.stack([pictures(1)[0], *(one.ravel() for one in (edge, wave, spot))]).astype(np.float32)
    )
    assert edge_views[CONCENTRATED] > noise[CONCENTRATED] + 1.0
    assert wave_views[DIRECTION] > noise[DIRECTION] + 0.4
    assert edge_views[PLAIN_SHARE] > noise[PLAIN_SHARE] + 0.8
    assert spot_views[AT_ENDS] > noise[AT_ENDS] + 0.8
    assert spot_views[MIDDLE] > noise[MIDDLE] + 1.0
    assert not np.allclose(noise[4 : 4 + TEXTURE], noise[4 + TEXTURE : 4 + 2 * TEXTURE])


def test_a_plain_picture_has_views() -> None:
    """Nothing is divided by zero."""
    assert np.isfinite(seen(np.full((1, SIDE * SIDE), 0.5, np.float32))).all()


def test_the_ratio_is_a_quadratic_form_within_its_limits() -> None:
    """The kernel sums the terms in the order of the fit; what lacks a value is not foreign."""
    rng = np.random.default_rng(1)
    norm = np.stack([rng.standard_normal(VIEWS), rng.uniform(1.0, 2.0, VIEWS)])
    form = 0.02 * rng.standard_normal(TERMS)
    rows, ratio = pictures(6), np.empty(6, np.float32)
    look_ratios(rows, Look(GREY, 0.0, 1.0, norm, form), ratio)
    np.testing.assert_allclose(np.log(ratio), np.clip(form[0] + terms_of(seen(rows), norm) @ form[1:], LEAST, MOST), atol=1e-5)
    for constant, limit in ((99.0, MOST), (-99.0, LEAST)):
        look_ratios(rows, Look(GREY, 0.0, 1.0, norm, np.eye(1, TERMS)[0] * constant), ratio)
        np.testing.assert_allclose(np.log(ratio), limit, rtol=1e-6)
    rows[0, 3] = np.nan
    look_ratios(rows, Look(GREY, 0.0, 1.0, norm, form), ratio)
    assert np.log(ratio[0]) == pytest.approx(LEAST)


def test_a_version_shares_values_that_lie_within_the_range() -> None:
    """A picture half of which was blackened is one; two dark pictures with a black ground in common are not."""
    rng = np.random.default_rng(2)
    one, other = rng.integers(40, 220, (2, 48)).astype(np.uint8)
    assert is_version_of(np.where(np.arange(48) < 24, one, 21).astype(np.uint8), one, 21.0, 233.0)
    assert not is_version_of(other, one, 21.0, 233.0)
    one[:40], other[:40] = 21, 21
    assert not is_version_of(other, one, 21.0, 233.0)
