"""Yardsticks: the unit of distances, cells and landmarks of the population, and levels of values."""

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.datasets import load_breast_cancer, load_digits

from detector.engine.features.coverage import CELLS
from detector.engine.fitting.reference import fit_reference
from detector.engine.fitting.yardsticks import blur_of, grid_step
from detector.engine.memory.reservoir import COORDINATES
from detector.engine.models.reference import LANDMARKS, Reference

Floats = npt.NDArray[np.float32]


def digits() -> Floats:
    return np.asarray(load_digits().data, np.float32)


@pytest.fixture(scope="module")
def reference() -> Reference:
    """Fit handwritten digits: 64 inputs, more than the memory's coordinates."""
    return fit_reference(digits()[:900], 10, seed=3)


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


def test_levels_of_the_values_are_found() -> None:
    """Pictures of 17 grey levels have a grain of 1/16 of the range; continuous values have none."""
    assert fit_reference(digits(), 10, seed=0).grain == pytest.approx(1 / 16, rel=0.05)
    assert fit_reference(np.random.default_rng(0).random((500, 30)).astype(np.float32), 2, seed=0).grain == 0.0
    assert fit_reference(load_breast_cancer().data.astype(np.float32), 2, seed=0).grain == 0.0


def test_shared_coordinates_have_the_rounding_of_their_columns() -> None:
    """A rounded middle of two records lies within half of what is told, in nearly every coordinate that sums up columns."""
    rng, units = np.random.default_rng(4), np.geomspace(1.0, 900.0, 120)
    reference = fit_reference(np.round(rng.normal(size=(3000, 120)) * units, 1).astype(np.float32), 2, seed=0)
    assert reference.numbers > 0
    ends = np.round(rng.normal(size=(2, 500, 120)) * units, 1)
    z = [reference.reduce(np.round(rows, 1).astype(np.float32)).z.astype(np.float64) for rows in (*ends, ends.mean(axis=0))]
    off = np.abs(z[2] - (z[0] + z[1]) / 2)[:, reference.numbers :]
    within = off <= 0.5 * reference.level[reference.numbers :] + 1.0
    assert within.mean() > 0.99
    assert (off > 0.1 * reference.level[reference.numbers :]).any()


@pytest.mark.parametrize("levels", [255, 1000])
def test_the_grid_of_the_wire_is_found_in_the_values(levels: int) -> None:
    """Also where a few clients send no grid; a coarse grid, which only some clients may have, is none of the wire."""
    rng = np.random.default_rng(1)
    values = (rng.integers(0, levels + 1, 20_000) / levels).astype(np.float32)
    assert grid_step(values) == pytest.approx(1 / levels, rel=1e-3)
    values[:400] = rng.random(400)
    assert grid_step(values) == pytest.approx(1 / levels, rel=1e-3)
    values[:4000] = rng.random(4000)
    assert grid_step(values) == 0.0
    assert grid_step((rng.integers(0, 17, 20_000) / 16).astype(np.float32)) == 0.0
    assert grid_step(np.zeros(100, np.float32)) == 0.0


def test_blur_is_what_rounding_moves_a_middle_by() -> None:
    """The expected squared distance, measured on random pairs, is the one that is told."""
    rng = np.random.default_rng(2)
    projection = rng.standard_normal((60, COORDINATES)).astype(np.float32)
    ends = rng.random((2, 4000, 60))
    first, second, middle = (np.rint(rows * 255) / 255 for rows in (*ends, ends.mean(axis=0)))
    away = (middle - (first + second) / 2) @ projection
    told = blur_of(first.astype(np.float32), projection, common=True)
    assert told == pytest.approx(np.square(away).sum(axis=1).mean(), rel=0.1)
    apart = blur_of(first.astype(np.float32), projection, common=False)
    assert apart == pytest.approx(told, rel=0.05)
