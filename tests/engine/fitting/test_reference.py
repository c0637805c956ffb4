"""Fitting the reference: scales, directions, sampled columns and categories, and what cannot be fitted."""

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.datasets import load_digits, load_wine

from detector.engine.fitting.reference import LEAST_ROWS, fit_reference
from detector.engine.memory.reservoir import SAMPLED
from detector.engine.models.encoding import encode
from detector.engine.models.reference import C_LEVELS, MOST_CATEGORIES
from detector.errors import BaselineError

Floats = npt.NDArray[np.float32]


def digits() -> Floats:
    return np.asarray(load_digits().data, np.float32)


@pytest.mark.parametrize("dimension", [1, 2, 24])
def test_few_columns_are_kept_as_they_are(dimension: int) -> None:
    """Up to 24 columns every distance is exact, but for the rounding to 16 bits."""
    X = np.random.default_rng(dimension).normal(size=(300, dimension)).astype(np.float32)
    reference = fit_reference(X, 2, seed=0)
    z = reference.reduce(X).z.astype(np.float64) * reference.quantum
    scaled = encode(X, reference.offset, reference.scale, reference.categorical, reference.categories)
    true = np.linalg.norm(scaled[:150] - scaled[150:], axis=1)
    np.testing.assert_allclose(np.linalg.norm(z[:150] - z[150:], axis=1), true, atol=reference.quantum * np.sqrt(dimension))
    assert reference.off_median == 0.0
    assert not reference.reduce(X).off.any()


def test_pixels_share_a_scale_and_columns_of_different_units_do_not() -> None:
    """A flat step must look flat: one scale for pixels, one for each column of a table."""
    pixels = fit_reference(digits(), 10, seed=0)
    assert len(np.unique(pixels.scale)) == 1
    table = fit_reference(load_wine().data.astype(np.float32), 3, seed=0)
    assert len(np.unique(table.scale)) == 13
    forced = fit_reference(load_wine().data.astype(np.float32), 3, seed=0, common_scale=True)
    assert len(np.unique(forced.scale)) == 1


def test_few_columns_are_a_table_though_they_share_a_range() -> None:
    """A table that was standardised before it reached the model is one; pixels are more, and who forces a scale says so."""
    standardised = np.random.default_rng(0).normal(size=(300, 9)).astype(np.float32)
    table = fit_reference(standardised, 2, seed=0)
    assert table.table
    assert table.numbers == 9
    assert len(np.unique(table.scale)) == 1
    assert not fit_reference(standardised, 2, seed=0, common_scale=True).table
    assert not fit_reference(digits(), 10, seed=0).table


def test_columns_that_never_vary_have_no_directions() -> None:
    """Columns beyond those that are kept may all be constant; a query that moves one of them still lies apart."""
    X = np.random.default_rng(0).normal(size=(300, 40)).astype(np.float32)
    X[:, 16:] = 3.0
    reference = fit_reference(X, 2, seed=0)
    moved = X[:2].copy()
    moved[1] = moved[0]
    moved[1, 30] += 1.0
    one, other = reference.reduce(moved).z.astype(np.float64) * reference.quantum
    assert np.linalg.norm(one - other) > 0.02


def test_sampled_columns_are_secret_and_vary() -> None:
    """Another seed remembers other columns; columns that never vary are not worth remembering."""
    X = np.random.default_rng(0).random((200, 90)).astype(np.float32)
    X[:, 40:50] = 3.0
    first, second = (fit_reference(X, 10, seed=seed) for seed in (1, 2))
    assert first.sampled.tolist() != second.sampled.tolist()
    assert first.fingerprint != second.fingerprint
    assert first.fingerprint == fit_reference(X, 10, seed=1).fingerprint
    assert len(set(first.sampled.tolist())) == len(first.sampled) == SAMPLED
    assert (X.var(axis=0)[first.sampled] > 0).all()


def test_sampled_values_have_headroom_of_a_tenth() -> None:
    """Values a little beyond the range are told apart, values far beyond saturate."""
    X = np.random.default_rng(0).random((400, 4)).astype(np.float32)
    reference = fit_reference(X, 2, seed=0)
    low, high = np.quantile(X, [0.005, 0.995])
    levels = reference.reduce(np.outer([low, high, low - 0.09, high + 0.09, -9, 9], np.ones(4)).astype(np.float32)).c
    assert levels[0, 0] == pytest.approx(21, abs=2)
    assert levels[1, 0] == pytest.approx(21 + C_LEVELS, abs=2)
    assert 0 < levels[2, 0] < levels[0, 0]
    assert levels[1, 0] < levels[3, 0] < 255
    assert levels[4:, 0].tolist() == [0, 255]


def test_categories_are_as_far_apart_as_a_value_range() -> None:
    """Two different codes are one range apart, whatever the codes; an unknown one differs from all known by less."""
    rng = np.random.default_rng(0)
    X = rng.random((500, 3)).astype(np.float32)
    X[:, 1] = rng.choice([3, 7, 1000], 500)
    reference = fit_reference(X, 2, seed=0, categorical=[1])
    assert reference.sampled[: reference.measured].tolist() == [0, 2]
    assert (reference.sampled[reference.measured :] >= 3).all()
    rows = np.full((4, 3), 0.5, np.float32)
    rows[:, 1] = [3, 7, 1000, 55]
    z = reference.reduce(rows).z.astype(np.float64) * reference.quantum
    between = np.linalg.norm(z[:, None] - z[None], axis=2)
    np.testing.assert_allclose(between[:3, :3][~np.eye(3, dtype=bool)], 1.0, atol=0.01)
    np.testing.assert_allclose(between[3, :3], np.sqrt(0.5), atol=0.01)


def test_more_categories_than_places_keep_the_commonest() -> None:
    """Of forty codes the 32 commonest are known."""
    rng = np.random.default_rng(0)
    X = rng.random((4000, 2)).astype(np.float32)
    X[:, 0] = np.repeat(np.arange(40), 100)
    X[3960:, 0] = 0
    reference = fit_reference(X, 2, seed=0, categorical=[0])
    assert reference.categories.shape == (1, MOST_CATEGORIES)
    assert 0.0 in reference.categories[0]
    assert not np.isnan(reference.categories).any()


@pytest.mark.parametrize(
    ("X", "options", "message"),
    [
        (np.zeros((LEAST_ROWS - 1, 3), np.float32), {}, "too few"),
        (np.zeros((100, 3), np.float32), {}, "all queries are the same"),
        (np.ones((100, 3), np.float32), {"categorical": [3]}, "categorical column 3 does not exist"),
        (np.ones((100, 3), np.float32), {"categorical": [0, 1, 2]}, "all queries are the same"),
    ],
)
def test_what_cannot_be_fitted_is_refused(X: Floats, options: dict[str, list[int]], message: str) -> None:
    """Too few rows, no variation, or a column that is not there: the error says which."""
    with pytest.raises(BaselineError, match=message):
        fit_reference(X, 2, seed=0, categorical=options.get("categorical", ()))


def test_categories_alone_are_an_input_space() -> None:
    """Inputs that are all codes can be fitted; no number is remembered then, only which codes there were."""
    X = np.random.default_rng(0).integers(0, 4, (200, 3)).astype(np.float32)
    reference = fit_reference(X, 2, seed=0, categorical=[0, 1, 2])
    assert reference.measured == 0
    c = reference.reduce(X).c[:, : len(reference.sampled)]
    assert (np.count_nonzero(c == c.max(), axis=1) == 3).all()


def test_nearly_constant_columns_do_not_explode() -> None:
    """A column that is zero in all but one row of a thousand is scaled by something finite."""
    X = np.random.default_rng(0).random((1000, 5)).astype(np.float32)
    X[:, 2] = 0.0
    X[7, 2] = 1.0
    for common_scale in (True, False):
        reference = fit_reference(X, 2, seed=0, common_scale=common_scale)
        assert np.isfinite(reference.scale).all()
        assert np.isfinite(reference.reduce(X).landmark).all()


@pytest.mark.parametrize("dimension", [32, 64])
def test_vectors_of_one_length_are_no_table(dimension: int) -> None:
    """Embeddings vary unequally once reduced to principal directions, and may be short, but have one unit all the same."""
    rows = np.random.default_rng(3).normal(size=(400, dimension)) * np.geomspace(3.0, 0.02, dimension)
    assert fit_reference(rows.astype(np.float32), 2, seed=0).table
    embedded = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    reference = fit_reference(embedded, 2, seed=0)
    assert not reference.table
    assert reference.sphere == pytest.approx(1.0)


def test_categories_as_indicators_are_no_vectors_of_one_length() -> None:
    """Each record has one 1 per category, so all have one length; it is a table of few columns all the same."""
    rng = np.random.default_rng(0)
    rows = np.concatenate([np.eye(k, dtype=np.float32)[rng.integers(0, k, 300)] for k in (6, 5, 7, 4, 8, 3)], axis=1)
    reference = fit_reference(rows, 2, seed=1)
    assert (reference.table, reference.sphere) == (True, 0.0)
    wide = np.concatenate([np.eye(k, dtype=np.float32)[rng.integers(0, k, 300)] for k in (30, 25, 20)], axis=1)
    assert fit_reference(wide, 2, seed=1).sphere == 0.0
