"""Fitting the stray: directions that lead, what is usual, and clients that are odd."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from detector.engine.evidence.foreign import MOST
from detector.engine.fitting.reference import fit_reference
from detector.engine.fitting.stray import LEADING, LEAST_CLIENTS, ROOM
from detector.engine.memory.reservoir import SAMPLED
from detector.engine.models.reference import Reference, from_arrays, to_arrays

Floats = npt.NDArray[np.float32]
CLIENTS, QUERIES, DIMENSION = 12, 40, 60
OWNERS = [f"client-{k // QUERIES}" for k in range(CLIENTS * QUERIES)]


def pictures(n: int, seed: int = 0) -> Floats:
    """Dense pictures whose values all vary alike: four patterns, and a little of everything."""
    patterns = np.random.default_rng(99).normal(size=(4, DIMENSION))
    patterns /= np.sqrt(np.square(patterns).sum(axis=0))
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, 4)) @ patterns + 0.05 * rng.normal(size=(n, DIMENSION))
    return np.asarray(np.clip(0.5 + 0.15 * values, 0.0, 1.0), np.float32)


def fitted(X: Floats, owners: Sequence[str] = OWNERS) -> Reference:
    return fit_reference(X, 10, seed=1, clients=owners)


def test_the_leading_directions_hold_the_population_and_noise_is_far_from_usual() -> None:
    """A quarter of the directions leads. Noise is half as far again as the largest ratio takes, and benign queries farther."""
    reference = fitted(pictures(CLIENTS * QUERIES))
    count = round(LEADING * SAMPLED)
    assert reference.leading.shape == (SAMPLED, count)
    np.testing.assert_allclose(reference.leading.T @ reference.leading, np.eye(count), atol=1e-5)
    assert 0.2 < reference.usual_stray < 0.5
    away = (math.log(SAMPLED / count) - reference.usual_stray) / reference.stray_spread
    assert away == pytest.approx(ROOM * MOST, rel=0.01)


def test_one_odd_client_sets_no_expectation_and_three_do() -> None:
    """One client with noise among twelve changes little; with three of them, noise is usual."""
    X = pictures(CLIENTS * QUERIES)
    noise = np.random.default_rng(5).random((3 * QUERIES, DIMENSION)).astype(np.float32)
    usual = fitted(X).usual_stray
    X[:QUERIES] = noise[:QUERIES]
    assert fitted(X).usual_stray < usual + 0.3
    X[: 3 * QUERIES] = noise
    assert fitted(X).usual_stray > usual + 0.5


def test_too_few_clients_and_repeats_teach_nothing() -> None:
    """Without enough clients, or enough unrelated queries of each, the expectation is not known."""
    X = pictures(CLIENTS * QUERIES)
    few = (LEAST_CLIENTS - 1) * QUERIES
    assert math.isnan(fitted(X[:few], OWNERS[:few]).usual_stray)
    repeated = np.concatenate([np.tile(X[k * QUERIES : k * QUERIES + 4], (QUERIES // 4, 1)) for k in range(CLIENTS)])
    assert math.isnan(fitted(repeated).usual_stray)
    assert math.isnan(fit_reference(X, 10, seed=1).usual_stray)


def test_an_older_baseline_knows_no_stray() -> None:
    """It is read as one that expects nothing."""
    arrays = to_arrays(fitted(pictures(CLIENTS * QUERIES)))
    for name in ("leading", "usual_stray", "stray_spread"):
        del arrays[name]
    older = from_arrays(arrays)
    assert older.leading.shape == (SAMPLED, 0)
    assert math.isnan(older.usual_stray)
