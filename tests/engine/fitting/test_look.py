"""Fitting the look: what is told, of whom nothing is said, and when nothing is told."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from detector.engine.evidence.look import look_ratios
from detector.engine.fitting.drawings import drawn_by_formula, put_together
from detector.engine.fitting.lenses import lens
from detector.engine.fitting.look import fit_look, format_of
from detector.engine.fitting.noise import Taught, Unheard
from detector.engine.fitting.reference import fit_reference
from detector.engine.models.reference import Reference, from_arrays, to_arrays

Floats = npt.NDArray[np.float32]
CLIENTS, QUERIES, SIDE = 12, 40, 10
OWNERS = [f"client-{k // QUERIES}" for k in range(CLIENTS * QUERIES)]


def bricks(seed: int, n: int = CLIENTS * QUERIES) -> Floats:
    """Shaded walls with dark joints, 8 bits."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[0:SIDE, 0:SIDE]
    rows = []
    for _ in range(n):
        top, left, wide = rng.integers(3), rng.integers(6), rng.integers(4, 7)
        joint = ((down + top) % 3 == 0) | ((across + left + 3 * ((down + top) // 3 % 2)) % wide == 0)
        shade = rng.uniform(0.4, 0.9) + 0.1 * ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), 1.0)
        rows.append(np.where(joint, 0.5, 1.0) * shade)
    return np.asarray(np.rint(255.0 * np.clip(rows, 0.0, 1.0)).reshape(n, -1), np.float32)


def fitted(teaching: Floats, calibrating: Floats, owners: list[str] = OWNERS) -> Reference:
    reference = fit_reference(teaching, 4, seed=1, clients=owners)
    return fit_look(reference, Taught(teaching, owners), Unheard(calibrating, owners), seed=1)


@pytest.fixture(scope="module")
def known() -> Reference:
    return fitted(bricks(1), bricks(2))


def logs(reference: Reference, rows: npt.ArrayLike) -> npt.NDArray[np.float64]:
    vectors = np.ascontiguousarray(np.asarray(rows, np.float32).reshape(-1, SIDE * SIDE))
    ratio = np.zeros(len(vectors), np.float32)
    assert reference.look is not None
    look_ratios(vectors, reference.look, ratio)
    return np.log(ratio.astype(np.float64))


def test_other_drawings_are_told_from_pictures_that_nobody_asked_before(known: Reference) -> None:
    """Fields, figures, waves and strokes of another hand."""
    for drawn in drawn_by_formula(200, SIDE, np.random.default_rng(9)).values():
        assert logs(known, 255.0 * drawn).mean() > 1.0
    assert np.exp(logs(known, bricks(3))).mean() < 1.0


def test_other_devices_see_the_same_pictures(known: Reference) -> None:
    """A mirrored, darker, softer or noisier picture is no drawing of another kind."""
    square = bricks(4).reshape(-1, SIDE, SIDE)
    noise = np.random.default_rng(5).normal(0.0, 4.0, square.shape)
    for other in (square[:, :, ::-1], np.rint(0.6 * square), ndimage.gaussian_filter(square, (0, 0.5, 0.5)), square + noise):
        assert np.exp(logs(known, np.clip(other, 0.0, 255.0))).mean() < 1.5


def test_it_is_saved_with_the_reference(known: Reference) -> None:
    """A reference without it keeps the arrays that it had."""
    again = from_arrays(to_arrays(known))
    np.testing.assert_array_equal(logs(again, bricks(3)), logs(known, bricks(3)))
    without = fit_reference(bricks(1), 4, seed=1, clients=OWNERS)
    assert not {name for name in to_arrays(without) if name.startswith("look_")}
    assert from_arrays(to_arrays(without)).look is None


def test_nothing_is_told_without_pictures_or_clients() -> None:
    """Values without order are no picture; a few clients say nothing of the next one."""
    order = np.random.default_rng(6).permutation(SIDE * SIDE)
    assert fitted(bricks(1)[:, order], bricks(2)[:, order]).look is None
    assert fitted(bricks(1)[:, :-1], bricks(2)[:, :-1]).look is None
    assert fitted(bricks(1), bricks(2), ["one"] * len(OWNERS)).look is None


def test_three_channels_are_found_in_both_orders() -> None:
    """By planes or pixel by pixel; vertical neighbours tell."""
    soft = ndimage.gaussian_filter(np.random.default_rng(8).standard_normal((100, SIDE, SIDE)), (0.0, 1.5, 1.5))
    grey = soft.reshape(len(soft), -1)
    tint = np.array([1.0, 0.8, 0.5])
    together = np.asarray(grey[:, :, None] * tint, np.float32).reshape(len(grey), -1)
    planes = np.asarray(grey[:, None] * tint[:, None], np.float32).reshape(len(grey), -1)
    for rows, planar in ((together, 0), (planes, 1)):
        found = format_of(fit_reference(rows, 4, seed=1), rows)
        assert found is not None
        assert found.shape == (SIDE, 3, planar)


def test_drawings_and_lenses_stay_within_the_range() -> None:
    """The same seed draws the same; a lens is one device."""
    own = np.asarray(bricks(7, 30).reshape(-1, SIDE, SIDE) / 255.0, np.float64)
    pieces = put_together(own, np.random.default_rng(0))
    drawn = drawn_by_formula(5, SIDE, np.random.default_rng(0))
    np.testing.assert_array_equal(drawn["fields"], drawn_by_formula(5, SIDE, np.random.default_rng(0))["fields"])
    assert pieces.shape == (90, SIDE, SIDE)
    seen = [lens(np.random.default_rng(k))(own) for k in range(30)]
    for pictures in (pieces, *drawn.values(), *seen):
        assert pictures.shape[1:] == (SIDE, SIDE)
        assert 0.0 <= pictures.min() <= pictures.max() <= 1.0
    assert sum(not np.array_equal(pictures, own) for pictures in seen) >= 29
