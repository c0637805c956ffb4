"""Fitting what is remote: pictures of another kind are, the population's own are not."""

import math

import numpy as np
import numpy.typing as npt
import pytest

from detector.engine.evidence.foreign import foreign_ratio
from detector.engine.evidence.remote import LEAST_OF_ALL, remoteness
from detector.engine.fitting.reference import fit_reference
from detector.engine.fitting.stray import LEAST_CLIENTS
from detector.engine.models.reference import Reference, from_arrays, to_arrays

Floats = npt.NDArray[np.float32]
CLIENTS, QUERIES, SIDE = 12, 40, 9
OWNERS = [f"client-{k // QUERIES}" for k in range(CLIENTS * QUERIES)]


def pictures(n: int, contrast: float, seed: int = 0) -> Floats:
    """Pictures of any brightness with a smooth pattern; its contrast varies by a factor of two or so."""
    rng = np.random.default_rng(seed)
    place = np.arange(SIDE)
    waves = np.stack(
        [
            np.outer(np.cos(np.pi * i * (place + 0.5) / SIDE), np.cos(np.pi * j * (place + 0.5) / SIDE)).ravel()
            for i in range(5)
            for j in range(5)
            if i + j > 0
        ]
    )
    pattern = rng.normal(size=(n, len(waves))) @ waves / math.sqrt(len(waves))
    values = rng.uniform(0.2, 0.8, (n, 1)) + contrast * np.exp(rng.normal(0.0, 0.5, (n, 1))) * pattern
    return np.asarray(np.clip(values, 0.0, 1.0), np.float32)


@pytest.fixture(scope="module")
def reference() -> Reference:
    return fit_reference(pictures(CLIENTS * QUERIES, 0.03), 10, seed=1, clients=OWNERS)


def ratios(reference: Reference, X: Floats) -> npt.NDArray[np.float64]:
    rows = reference.reduce(X)
    scratch, weights = np.empty((2, reference.measured), np.float32)
    usual = (reference.variance, reference.principal, reference.middle, reference.leading, reference.remote, scratch, weights)
    found = [remoteness(z, c, landmark, *usual) for z, c, landmark in zip(rows.z, rows.c, rows.landmark, strict=True)]
    return np.array([foreign_ratio(remote, *reference.remote[LEAST_OF_ALL]) for remote in found])


def test_pictures_of_strong_contrast_are_remote_and_the_usual_ones_are_not(reference: Reference) -> None:
    """New pictures of the population count against foreign ones; pictures with much more in them count for it."""
    assert ratios(reference, pictures(200, 0.03, seed=1)).mean() < 1.0
    assert np.log(ratios(reference, pictures(200, 0.5, seed=2))).mean() > 1.0


def test_a_part_that_is_foreign_makes_no_picture_remote(reference: Reference) -> None:
    """A label on a quarter of a usual picture does not count."""
    X = pictures(200, 0.03, seed=3).reshape(-1, SIDE, SIDE)
    X[:, : SIDE // 4] = np.random.default_rng(4).random((200, SIDE // 4, SIDE)) < 0.5
    assert np.log(ratios(reference, X.reshape(-1, SIDE**2))).mean() < 0.0


def test_too_few_clients_tables_spheres_and_older_baselines_know_nothing(reference: Reference) -> None:
    """Then no query is remote."""
    few = (LEAST_CLIENTS - 1) * QUERIES
    X = pictures(CLIENTS * QUERIES, 0.03)
    assert np.isnan(fit_reference(X[:few], 10, seed=1, clients=OWNERS[:few]).remote).all()
    assert np.isnan(fit_reference(X * np.geomspace(1, 100, SIDE**2, dtype=np.float32), 10, seed=1, clients=OWNERS).remote).all()
    length = np.linalg.norm(X, axis=1, keepdims=True)
    assert np.isnan(fit_reference(X / length, 10, seed=1, clients=OWNERS).remote).all()
    arrays = to_arrays(reference)
    del arrays["remote"]
    assert np.isnan(from_arrays(arrays).remote).all()
