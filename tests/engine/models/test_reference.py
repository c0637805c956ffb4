"""The reduction of inputs: alike in every batch, faithful to distances, finite whatever comes."""

import hashlib
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.datasets import load_digits

from detector.engine.features.coverage import CELLS
from detector.engine.fitting.reference import fit_reference
from detector.engine.memory.reservoir import COORDINATES
from detector.engine.models.reference import SINCE_KNOWN, Reduced, Reference, from_arrays, to_arrays
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


def test_rounding_has_one_size_in_sharpened_coordinates() -> None:
    """A random direction adds up the rounding of all values; without rounding all coordinates stay as they are."""
    rows = np.random.default_rng(5).random((2000, 100))
    rounded = fit_reference((np.rint(rows * 255) / 255).astype(np.float32), 2, seed=1)
    assert rounded.sharpness.min() < 0.5 < rounded.sharpness.max() == 1.0
    noise = np.random.default_rng(6).normal(size=(4000, 100)) @ rounded.projection * rounded.sharpness
    np.testing.assert_allclose(noise.std(axis=0), 1.0, rtol=0.1)
    assert 0.0 < rounded.blur_sharpened < rounded.blur
    plain = fit_reference(rows.astype(np.float32), 2, seed=1)
    assert plain.sharpness.tolist() == [1.0] * COORDINATES


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_vectors_of_one_length_lie_on_a_sphere_whose_centre_is_known(kind: type[np.floating]) -> None:
    """Also in half precision; from the centre, reduced rows are reduced sums of directions, whatever their length."""
    rows = np.random.default_rng(7).normal(size=(2000, 100))
    ball = (3.0 * rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(kind).astype(np.float32)
    reference = fit_reference(ball, 2, seed=1)
    assert reference.sphere == pytest.approx(3.0, rel=1e-3)
    one, other, middle = (reference.reduce(x[None]).z[0] + reference.origin for x in (*ball[:2], (ball[0] + ball[1]) / 4))
    np.testing.assert_allclose(middle, (one + other) / 4, atol=2.0)
    assert fit_reference(rows.astype(np.float32), 2, seed=1).origin.size == 0


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


def test_an_older_reference_knows_no_rates_of_turns(reference: Reference) -> None:
    """It is read as before, and the channel that needs them is silent."""
    arrays = to_arrays(reference)
    del arrays["turning"]
    assert (from_arrays(arrays).turning == 1.0).all()


def test_what_an_older_reference_lacks_does_not_change_its_fingerprint(reference: Reference) -> None:
    """State that was saved under it is accepted; what a reference does know counts."""
    older = from_arrays({name: array for name, array in to_arrays(reference).items() if name not in SINCE_KNOWN})
    digest = hashlib.sha256()
    for name, array in to_arrays(older).items():
        if name not in SINCE_KNOWN:
            digest.update(np.ascontiguousarray(array).tobytes())
    assert older.fingerprint == digest.hexdigest()[:16]
    assert replace(older, blur=1.0).fingerprint != older.fingerprint
    assert replace(older, turning=np.float32(0.5) * older.turning).fingerprint != older.fingerprint
