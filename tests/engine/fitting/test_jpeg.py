"""JPEG: the steps and the place of the blocks are found for any quality, and nothing is found where there is none."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.engine.evidence.tone import NOISE
from detector.engine.fitting.jpeg import BLOCK, Jpeg, before_jpeg, blocks_of, displaced, jpeg_of, through_jpeg
from detector.engine.fitting.reference import fit_reference
from detector.engine.models.reference import C_LEVELS, to_arrays
from tests.engine.jpegs import SIDE, Floats, compressed, scenes


def middles_of(one: Floats, other: Floats) -> Floats:
    """Return the middles of two pictures, in whole grey levels."""
    return np.asarray(np.rint(0.5 * (one + other)), np.float32)


def mean_square(values: npt.NDArray[np.floating]) -> float:
    return float(np.square(values, dtype=np.float64).mean())


@pytest.mark.parametrize("quality", [60, 90])
def test_the_steps_of_a_jpeg_are_found(quality: int) -> None:
    """Nearly each coefficient has the step of the file's own table, or hardly ever differs from 0."""
    arrived, table = compressed(scenes(quality, 1500), quality)
    found = jpeg_of(arrived)
    assert found is not None
    assert (found.top, found.left) == (0, 0)
    told = np.isfinite(found.steps)
    assert told.sum() >= 6
    assert np.mean(found.steps[told] == table[told]) > 0.9


@given(st.integers(0, BLOCK - 1), st.integers(0, BLOCK - 1), st.sampled_from([1.0, 1.0 / 255.0]))
@settings(max_examples=3, deadline=None)
def test_blocks_may_begin_anywhere(top: int, left: int, level: float) -> None:
    """Pictures were cut out after the JPEG, at one place for all."""
    arrived, table = compressed(scenes(3, 800, 28), 75)
    cut = arrived.reshape(-1, 28, 28)[:, top : top + SIDE, left : left + SIDE].reshape(-1, SIDE * SIDE)
    found = jpeg_of((cut * level).astype(np.float32))
    assert found is not None
    assert (found.top, found.left) == (-top % BLOCK, -left % BLOCK)
    told = np.isfinite(found.steps)
    assert np.mean(found.steps[told] == table[told]) > 0.9


@pytest.mark.parametrize("kind", ["8 bits", "cut anywhere", "noise", "few levels", "one picture", "continuous", "not square"])
def test_nothing_is_found_where_there_is_none(kind: str) -> None:
    """Neither in pictures that never were a JPEG, nor in such whose blocks lie anywhere or which are all the same."""
    rng = np.random.default_rng(7)
    plain = scenes(4)
    wide = compressed(scenes(5, 600, 28), 75)[0].reshape(-1, 28, 28)
    places = rng.integers(BLOCK, size=(len(wide), 2)).tolist()
    rows = {
        "8 bits": plain,
        "cut anywhere": np.stack([x[a : a + SIDE, b : b + SIDE].ravel() for x, (a, b) in zip(wide, places, strict=True)]),
        "noise": rng.integers(0, 256, plain.shape).astype(np.float32),
        "few levels": np.rint(plain / 17.0) * 17.0,
        "one picture": np.repeat(compressed(plain[:1], 75)[0], 500, axis=0),
        "continuous": plain + rng.random(plain.shape).astype(np.float32),
        "not square": plain[:, :390],
    }[kind]
    assert jpeg_of(rows.astype(np.float32)) is None


@pytest.mark.parametrize("quality", [50, 75, 90])
def test_pictures_are_moved_as_the_true_jpeg_moves_them(quality: int) -> None:
    """Pictures that never were a JPEG, of another sample; and middles of two of them, or of two that arrived."""
    found = jpeg_of(compressed(scenes(8, 1500), quality)[0])
    assert found is not None
    one, other = scenes(9, 400), scenes(10, 400)
    ends = [compressed(x, quality)[0] for x in (one, other)]
    middle = 0.5 * (ends[0] + ends[1])
    moved, told = map(mean_square, displaced(compressed(scenes(8, 1500), quality)[0], found, 1))
    assert 1.0 / 1.6 < moved / mean_square(ends[0] - one) < 1.6
    assert 1.0 / 1.6 < told / mean_square(compressed(middles_of(one, other), quality)[0] - middle) < 1.6
    assert 1.0 / 1.6 < told / mean_square(compressed(middles_of(ends[0], ends[1]), quality)[0] - middle) < 1.6


@pytest.mark.parametrize("quality", [60, 90])
def test_what_went_through_a_jpeg_stays_where_it_is(quality: int) -> None:
    """Whole blocks lie on the steps after the first pass; what may have been before lies off them, and returns to them."""
    arrived, _ = compressed(scenes(8, 1500), quality)
    found = jpeg_of(arrived)
    assert found is not None
    inside = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)[: 2 * BLOCK, : 2 * BLOCK].ravel()
    once = through_jpeg(arrived[:300].astype(np.float64), found)
    before = before_jpeg(once, found, np.random.default_rng(1))
    away = np.abs(before - once)[:, inside].mean()
    assert np.abs(through_jpeg(once, found) - once)[:, inside].mean() < 0.3
    assert away > 1.0
    assert np.abs(through_jpeg(before, found) - once)[:, inside].mean() < 0.5 * away


def test_a_reference_knows_how_far_a_jpeg_moves_a_middle() -> None:
    """By coordinate, and in all coordinates alike once these are sharpened; other pictures keep the rounding of 8 bits."""
    reference = fit_reference(compressed(scenes(11, 1500), 75)[0], 2, seed=1)
    plain = fit_reference(scenes(11, 1500), 2, seed=1)
    assert len(plain.blurs) == 0
    assert plain.rounding == NOISE
    assert reference.blur > 4.0 * plain.blur * (plain.quantum / reference.quantum) ** 2
    one, other = scenes(12), scenes(13)
    ends = [reference.reduce(compressed(x, 75)[0]).z.astype(np.float64) for x in (one, other)]
    middle = reference.reduce(compressed(middles_of(one, other), 75)[0]).z
    away = (middle - 0.5 * (ends[0] + ends[1])) * reference.sharpness
    assert np.square(away).sum(axis=1).mean() == pytest.approx(reference.blur_sharpened, rel=0.4)
    assert np.square(away).mean(axis=0).max() < 4.0 * np.square(away).mean(axis=0).min()
    sampled = (compressed(one, 75)[0] - one)[:, reference.sampled] * reference.scale[0] * C_LEVELS
    assert reference.rounding == pytest.approx(2.0 * (np.square(sampled).mean() + 1.0 / 12.0), rel=0.4)


@given(st.integers(0, BLOCK - 1), st.integers(0, BLOCK - 1), st.integers(BLOCK, 28))
def test_values_are_in_one_block_where_a_jpeg_moves_them_together(top: int, left: int, side: int) -> None:
    """Whatever the place of the blocks; and no block is told where few sampled values lie in each."""
    jpeg = Jpeg(side, 1.0, top, left, np.full((BLOCK, BLOCK), 2.0), 0.0, np.ones((BLOCK, BLOCK)))
    numbers = blocks_of(jpeg, np.arange(side * side, dtype=np.int32))
    if len(numbers) == 0:
        assert side * side < 4 * (side // BLOCK + 1) ** 2
        return
    for number in np.unique(numbers):
        moved = np.where(numbers == number, 40.0, 0.0)
        arrived = through_jpeg(np.stack([np.full(side * side, 100.0), 100.0 + moved]), jpeg)
        differs = arrived[0] != arrived[1]
        assert differs.any()
        assert (numbers[differs] == number).all()
    assert len(blocks_of(jpeg, np.zeros(3, np.int32))) == 0


def test_a_reference_tells_blocks_of_small_pictures_only() -> None:
    """Of pictures with many blocks the memory samples too few values of each; of others than JPEGs there are none."""
    small = fit_reference(compressed(scenes(11, 800), 75)[0], 2, seed=1)
    assert len(small.blocks) == len(small.sampled)
    assert len(fit_reference(compressed(scenes(11, 800, 28), 75)[0], 2, seed=1).blocks) == 0
    assert "blocks" in to_arrays(small)
    assert "blocks" not in to_arrays(fit_reference(scenes(11, 800), 2, seed=1))


@pytest.mark.parametrize("kind", ["pictures", "table"])
def test_inputs_that_never_were_a_jpeg_leave_the_same_reference(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte for byte as if no JPEG were looked for."""
    rows = scenes(14) if kind == "pictures" else np.random.default_rng(14).normal(size=(600, 12)).astype(np.float32)
    looked = to_arrays(fit_reference(rows, 2, seed=1))
    monkeypatch.setattr("detector.engine.fitting.reference.rounding_of_jpeg", lambda *_: {})
    ignored = to_arrays(fit_reference(rows, 2, seed=1))
    assert {name: array.tobytes() for name, array in looked.items()} == {
        name: array.tobytes() for name, array in ignored.items()
    }
