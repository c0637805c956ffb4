"""The reduction of inputs: alike in every batch, faithful to distances, finite whatever comes."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.datasets import load_breast_cancer, load_digits, load_wine

from detector.engine.features.coverage import CELLS
from detector.engine.memory.reservoir import COORDINATES, SAMPLED
from detector.engine.models.reference import (
    C_LEVELS,
    LANDMARKS,
    LEAST_ROWS,
    MOST_CATEGORIES,
    Reduced,
    Reference,
    encode,
    fit_reference,
    from_arrays,
    to_arrays,
)
from detector.errors import BaselineError

Floats = npt.NDArray[np.float32]


def digits() -> Floats:
    return np.asarray(load_digits().data, np.float32)


def parts(reduced: Reduced) -> dict[str, npt.NDArray[np.generic]]:
    return {name: getattr(reduced, name) for name in ("z", "c", "cell", "off", "landmark")}


@pytest.fixture(scope="module")
def reference() -> Reference:
    """Fit handwritten digits: 64 inputs, more than the memory's coordinates."""
    return fit_reference(digits()[:900], 10, seed=3)


def test_a_row_reduces_alike_alone_and_among_a_thousand(reference: Reference) -> None:
    """The integers of a query do not depend on its batch, nor on its place there."""
    X = digits()[500:1500]
    whole = parts(reference.reduce(X))
    backwards = parts(reference.reduce(np.ascontiguousarray(X[::-1])))
    for i in (0, 1, 499, 999):
        alone = parts(reference.reduce(X[i : i + 1]))
        for name, column in whole.items():
            np.testing.assert_array_equal(alone[name][0], column[i])
            np.testing.assert_array_equal(backwards[name][-1 - i], column[i])


def test_distances_survive_the_projection(reference: Reference) -> None:
    """Among digits that the fit has not seen, distances between integers follow those between pictures."""
    X = digits()[1000:1200]
    z = reference.reduce(X).z.astype(np.float64) * reference.quantum
    scaled = (X - reference.offset) * reference.scale
    true = np.linalg.norm(scaled[:100] - scaled[100:], axis=1)
    found = np.linalg.norm(z[:100] - z[100:], axis=1)
    assert np.corrcoef(true, found)[0, 1] > 0.9
    assert 0.8 < float(np.median(found / true)) < 1.2


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


def test_unit_is_the_median_distance_to_the_nearest_neighbour(reference: Reference) -> None:
    """One unit of every distance feature is what separates two neighbours of the population."""
    z = np.unique(reference.reduce(digits()[:900]).z, axis=0).astype(np.float64)
    squares = np.square(z[:, None] - z[None]).sum(axis=2)
    np.fill_diagonal(squares, np.inf)
    assert float(np.median(np.sqrt(squares.min(axis=1)))) * reference.unit == pytest.approx(1.0, rel=0.02)


def test_cells_and_landmarks_know_the_population(reference: Reference) -> None:
    """The population lives in its cells and near its landmarks; noise lives farther away, and off the principal directions."""
    own = reference.reduce(digits()[:900])
    known = {cell for cell in range(CELLS) if int(reference.known_cells[cell >> 6]) >> (cell & 63) & 1}
    assert set(own.cell.tolist()) == known
    assert len(known) == reference.known_count
    noise = reference.reduce(np.random.default_rng(1).uniform(0, 16, (300, 64)).astype(np.float32))
    assert np.median(noise.off) > np.quantile(own.off, 0.95)
    assert np.median(noise.landmark) > np.quantile(own.landmark, 0.95)
    assert abs(float(np.median(own.off))) < 0.1
    assert reference.landmarks.shape == (COORDINATES, LANDMARKS)


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


def test_levels_of_the_values_are_found() -> None:
    """Pictures of 17 grey levels have a grain of 1/16 of the range; continuous values have none."""
    assert fit_reference(digits(), 10, seed=0).grain == pytest.approx(1 / 16, rel=0.05)
    assert fit_reference(np.random.default_rng(0).random((500, 30)).astype(np.float32), 2, seed=0).grain == 0.0
    assert fit_reference(load_breast_cancer().data.astype(np.float32), 2, seed=0).grain == 0.0


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


population = st.sampled_from(["pixels", "tiny", "huge", "mixed", "rare", "denormal"])


def drawn(kind: str, rng: np.random.Generator, dimension: int) -> Floats:
    """Return 80 queries of a population whose numbers are hard to handle."""
    X = rng.random((80, dimension))
    scale = {"tiny": 1e-30, "huge": 3e38, "denormal": 1e-40}.get(kind, 1.0)
    if kind == "huge":
        X = 2 * X - 1
    if kind == "mixed":
        X *= 10.0 ** rng.integers(-30, 30, dimension)
    if kind == "rare":
        X *= rng.random((80, dimension)) < 0.03
        X[0, 0] = 1.0
    return (X * scale).astype(np.float32)


@given(
    population,
    st.integers(0, 100),
    st.sampled_from([1, 3, 30]),
    hnp.arrays(np.float32, 30, elements=st.floats(width=32, allow_nan=False, allow_infinity=False)),
)
def test_whatever_is_finite_reduces_to_something_finite(kind: str, seed: int, dimension: int, query: Floats) -> None:
    """No population and no query, however huge or small its numbers, makes NaN, infinity or a warning."""
    X = drawn(kind, np.random.default_rng(seed), dimension)
    reference = fit_reference(X, 2, seed=seed)
    for field in (reference.offset, reference.scale, reference.center, reference.projection, reference.variance):
        assert np.isfinite(field).all()
    assert np.isfinite([reference.quantum, reference.unit, reference.tolerance, reference.grain, reference.off_median]).all()
    reduced = reference.reduce(np.stack([query[:dimension], X[0], np.zeros(dimension, np.float32)]))
    assert np.isfinite(reduced.off).all()
    assert np.isfinite(reduced.landmark).all()
    assert ((reduced.cell >= 0) & (reduced.cell < CELLS)).all()


def test_arrays_and_back(reference: Reference) -> None:
    """What is kept in a file reduces like the original; a missing array is named."""
    arrays = to_arrays(reference)
    again = from_arrays(arrays)
    assert again.fingerprint == reference.fingerprint
    X = digits()[:50]
    for name, column in parts(reference.reduce(X)).items():
        np.testing.assert_array_equal(parts(again.reduce(X))[name], column)
    del arrays["planes"]
    with pytest.raises(BaselineError, match="planes"):
        from_arrays(arrays)
