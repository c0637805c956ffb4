"""Qualities: the qualities at which clients send pictures are told apart, and nothing is found where there is no JPEG."""

import numpy as np
import pytest

from detector.engine.fitting.jpeg import jpeg_of, moved_by
from detector.engine.fitting.qualities import qualities_of, table_of
from detector.engine.fitting.reference import fit_reference
from detector.engine.models.reference import C_LEVELS
from tests.engine.jpegs import SIDE, Floats, compressed, scenes

MIXED = (60, 75, 90)


def mixed(seed: int, qualities: tuple[int, ...] = MIXED, n: int = 1200, side: int = SIDE) -> Floats:
    """Return pictures of which each was sent at another of the `qualities` than the one before."""
    rows = scenes(seed, n, side)
    sent = np.empty_like(rows)
    for k, quality in enumerate(qualities):
        sent[k :: len(qualities)] = compressed(rows[k :: len(qualities)], quality)[0]
    return sent


@pytest.mark.parametrize("quality", [30, 50, 75, 90, 98])
def test_tables_are_those_of_writers(quality: int) -> None:
    """The standard's table at each quality is what a file of that quality holds."""
    assert (compressed(scenes(1, 2), quality)[1] == table_of(quality)).all()


@pytest.mark.parametrize("qualities", [MIXED, (85,), (92, 95)])
def test_each_quality_is_found_with_its_share(qualities: tuple[int, ...]) -> None:
    """Whether all steps of it are coarse or most are one level."""
    found, before = qualities_of(mixed(2, qualities), 1)
    shares = {tuple(one.jpeg.steps[0, :4]): one.share for one in found}
    wanted = {tuple(table_of(quality)[0, :4]) for quality in qualities}
    assert sum(shares.get(steps, 0.0) for steps in wanted) > 0.9
    assert all(shares[steps] > 0.7 / len(qualities) for steps in wanted)
    assert before.shape[1] == SIDE * SIDE


def test_blocks_of_several_qualities_may_begin_anywhere() -> None:
    """Pictures were cut out after the JPEG, at one place for all."""
    wide = mixed(3, n=900, side=28).reshape(-1, 28, 28)
    found, _ = qualities_of(wide[:, 3 : 3 + SIDE, 5 : 5 + SIDE].reshape(-1, SIDE * SIDE), 1)
    assert len(found) == len(MIXED)
    assert {(one.jpeg.top, one.jpeg.left) for one in found} == {(-3 % 8, -5 % 8)}


@pytest.mark.parametrize("kind", ["8 bits", "mostly 8 bits", "noise", "few levels", "plain", "not square", "small"])
def test_no_quality_is_found_where_there_is_none(kind: str) -> None:
    """Nor where most clients send no JPEG, or pictures are too plain to tell."""
    rng = np.random.default_rng(7)
    rows = scenes(4, 900)
    sent = mixed(4, n=900)
    found = {
        "8 bits": rows,
        "mostly 8 bits": np.where(np.arange(900)[:, None] % 4 == 0, sent, rows),
        "noise": rng.integers(0, 256, rows.shape).astype(np.float32),
        "few levels": np.rint(rows / 17.0) * 17.0,
        "plain": np.repeat(np.rint(rows.mean(axis=1, keepdims=True)), SIDE * SIDE, axis=1),
        "not square": sent[:, :390],
        "small": sent[:, :49],
    }[kind]
    assert qualities_of(np.asarray(found, np.float32), 1)[0] == []


def test_pictures_are_moved_as_each_quality_moves_them() -> None:
    """Pictures of one sample, by what was learned of another one that was sent at several qualities."""
    found, before = qualities_of(mixed(5), 1)
    fresh = scenes(6, 300)
    for one, quality in zip(found, sorted(MIXED, reverse=True), strict=True):
        moved, _ = moved_by(before, one.jpeg)
        true = compressed(fresh, quality)[0] - fresh
        assert 1.0 / 1.5 < np.sqrt(np.square(moved).mean() / np.square(true).mean()) < 1.5


def test_a_reference_of_several_qualities_allows_for_a_coarse_one() -> None:
    """No single JPEG explains the pictures; what they are rounded by is what the coarse ones of them are."""
    rows = mixed(8, n=600)
    assert jpeg_of(rows) is None
    reference = fit_reference(rows, 2, seed=1)
    fresh = scenes(9, 300)
    moved = [
        (compressed(fresh, quality)[0] - fresh)[:, reference.sampled] * reference.scale[0] * C_LEVELS for quality in (90, 60)
    ]
    fine, coarse = (2.0 * float(np.square(part).mean() + 1.0 / 12.0) for part in moved)
    assert fine < 0.7 * reference.rounding
    assert reference.rounding == pytest.approx(coarse, rel=0.6)
    assert len(reference.blurs) > 0
