"""Fitting the views of noise: what is told, and when nothing is."""

import numpy as np
import numpy.typing as npt

from detector.engine.evidence.noise import VIEWS, noise_ratios, sights_from, views_of
from detector.engine.fitting.noise import Unheard, fit_noise
from detector.engine.fitting.reference import fit_reference
from detector.engine.fitting.stray import LEAST_CLIENTS
from detector.engine.models.reference import Reference, from_arrays, to_arrays

Floats = npt.NDArray[np.float32]
CLIENTS, QUERIES, DIMENSION = 12, 60, 64
OWNERS = [f"client-{k // QUERIES}" for k in range(CLIENTS * QUERIES)]


def scaled(values: npt.NDArray[np.float64]) -> Floats:
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


def embeddings(seed: int) -> Floats:
    """Vectors whose directions vary alike, in a hundred clusters, with few large values each."""
    centres = np.random.default_rng(99).standard_normal((100, DIMENSION)) ** 3
    rng = np.random.default_rng(seed)
    own = centres[rng.integers(len(centres), size=CLIENTS * QUERIES)]
    return scaled(own + 0.5 * rng.standard_normal(own.shape) ** 3)


def fitted(teaching: Floats, calibrating: Unheard) -> Reference:
    reference = fit_reference(teaching, 10, seed=1, clients=OWNERS)
    return fit_noise(reference, teaching, calibrating, seed=1)


def ratios(reference: Reference, vectors: Floats) -> Floats:
    views, ratio = np.empty((len(vectors), VIEWS)), np.zeros(len(vectors), np.float32)
    if len(reference.noise) == 0:
        return ratio
    views_of(vectors, sights_from(reference.sights, reference.sight_values), views)
    noise_ratios(views, reference.noise, ratio)
    return ratio


def test_noise_is_told_from_queries_that_nobody_asked_before() -> None:
    """New queries of new clients are no noise. Texts may have the usual mean and spread of each value, and count little."""
    reference = fitted(embeddings(1), Unheard(embeddings(2), OWNERS))
    rng = np.random.default_rng(3)
    known = embeddings(1)
    assert np.log(ratios(reference, scaled(rng.uniform(-1.0, 1.0, (200, DIMENSION))))).mean() > 2.0
    normal = known.mean(axis=0) + known.std(axis=0) * rng.standard_normal((200, DIMENSION))
    assert np.log(ratios(reference, scaled(normal))).mean() < -1.0
    assert ratios(reference, embeddings(4)).mean() < 0.5


def test_vectors_that_lack_values_teach_nothing() -> None:
    """They are left out among the teachers and among the others."""
    teaching, calibrating = embeddings(1), embeddings(2)
    holed = calibrating.copy()
    holed[::7, 3] = np.nan
    kept = np.flatnonzero(~np.isnan(holed[:, 3]))
    clean = fitted(teaching, Unheard(calibrating[kept], [OWNERS[k] for k in kept]))
    np.testing.assert_allclose(fitted(teaching, Unheard(holed, OWNERS)).noise, clean.noise)


def test_noise_is_not_told_where_clients_ask_nothing_else() -> None:
    """A kind of noise that benign clients send is none that counts."""
    one, other, drawn = map(scaled, np.random.default_rng(5).uniform(-1.0, 1.0, (3, CLIENTS * QUERIES, DIMENSION)))
    assert ratios(fitted(one, Unheard(other, OWNERS)), drawn).mean() < 1.0


def test_nothing_is_learned_off_the_sphere_or_from_few_clients() -> None:
    """Vectors of many lengths are no embeddings; few clients, or the teachers' own queries, do not say what is usual."""
    known = embeddings(1)
    few = (LEAST_CLIENTS - 1) * QUERIES
    assert len(fitted(known, Unheard(embeddings(2)[:few], OWNERS[:few])).noise) == 0
    long = known * np.linspace(1.0, 2.0, len(known), dtype=np.float32)[:, None]
    assert len(fitted(long, Unheard(long, OWNERS)).noise) == 0
    assert len(fitted(known, Unheard(known[:0], [])).noise) == 0
    assert len(fitted(known, Unheard(known, OWNERS)).noise) == 0


def test_names_decide_on_nothing() -> None:
    """Clients with other names teach the same."""
    calibrating = embeddings(2)
    one = fitted(embeddings(1), Unheard(calibrating, OWNERS))
    other = fitted(embeddings(1), Unheard(calibrating, [name[::-1] for name in OWNERS]))
    np.testing.assert_allclose(one.noise, other.noise, rtol=1e-3)


def test_an_older_baseline_tells_no_noise() -> None:
    """It is read as one that tells none."""
    arrays = to_arrays(fitted(embeddings(1), Unheard(embeddings(2), OWNERS)))
    for name in ("sights", "sight_values", "noise"):
        del arrays[name]
    assert len(from_arrays(arrays).noise) == 0
