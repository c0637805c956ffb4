"""Fitting the views of noise: sights of the population, and how noise differs from benign queries that the sights do not know.

Sights are learned from the clients that teach the reference. New clients ask about new things, which lie farther from the
sights than those of the teachers. So what is usual is learned from the clients that calibrate.

One kind of noise is told: uniform in every value. Normal noise with the usual means and deviations looks like texts that are
unfinished or misspelt, which clients send that nobody has calibrated with.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression

from detector.engine.evidence.foreign import LEAST, MOST
from detector.engine.evidence.noise import MOST_SIGHTS, VIEWS, sights_from, views_of
from detector.engine.evidence.remote import ALONE
from detector.engine.fitting.stray import LEAST_CLIENTS, LESSONS, usual_under
from detector.engine.models.reference import Floats, Reference

LEAST_SIGHTS = 64
SIGHT_VALUES = 1 << 15  # numbers in all sights: each is multiplied once a query, which takes 4 microseconds
LEARNED = 4000  # teachers' queries that sights are learned from
LOOKED_AT = 128  # queries of a calibrating client
LEAST_LESSONS = 4  # a large log keeps few queries of each client
DRAWN = 4000  # vectors of noise
KEPT = 0.1  # share of the noise that may get less than the largest ratio when what is usual is raised
LEAST_GROWTH = 0.5 * MOST  # least mean logarithm of the ratio of noise: what is told more slowly is too near
SPREADS = np.geomspace(0.5, 20.0, 20)  # in deviations of the scores of noise: less would tell noise from noise
MOST_STEPS = 500

Matrix = npt.NDArray[np.float64]


class Unheard(NamedTuple):
    """Queries (n, dimension) of clients that taught no sights, and whose they are."""

    vectors: Floats
    clients: Sequence[str]


class Taught(NamedTuple):
    """Queries (n, dimension) of the clients that taught the reference, and whose they are."""

    vectors: Floats
    clients: Sequence[str]


def fit_noise(reference: Reference, teaching: Floats, calibrating: Unheard, seed: int) -> Reference:
    """Return the reference with what it takes to tell noise; unchanged unless all inputs lie on a sphere.

    It is unchanged, too, where fewer than `LEAST_CLIENTS` calibrating clients have unrelated queries, or noise is not told.
    """
    if reference.sphere == 0.0 or len(calibrating.vectors) == 0:
        return reference
    rng = np.random.default_rng(seed)
    rows = np.unique(_scaled(teaching[_whole(teaching)]), axis=0)
    values = np.stack([rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-6)]).astype(np.float32)
    sights = _sights(rows, rng)
    known = sights_from(sights, values)

    def views(vectors: Floats) -> Matrix:
        found = np.empty((len(vectors), VIEWS))
        views_of(np.ascontiguousarray(vectors, np.float32), known, found)
        return found

    heard = {row.tobytes() for row in teaching}  # what the sights have learned by heart is not new
    lessons = [views(own) for own in alone(reference, calibrating, heard)]
    if len(lessons) < LEAST_CLIENTS:
        return reference
    drawn = rng.uniform(-1.0, 1.0, (DRAWN, rows.shape[1])).astype(np.float32)
    form = form_of(lessons, views(_scaled(drawn)))
    return reference if form is None else replace(reference, sights=sights, sight_values=values, noise=form[None])


def _whole(vectors: Floats) -> npt.NDArray[np.bool_]:
    """Return which vectors lack no value."""
    return np.asarray(np.isfinite(vectors).all(axis=1))


def _scaled(vectors: Floats) -> Floats:
    """Return vectors of length one."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32)


def _sights(rows: Floats, rng: np.random.Generator) -> Floats:
    """Return directions (dimension, count) of length one: centres of the different `rows`."""
    count = min(max(SIGHT_VALUES // rows.shape[1], LEAST_SIGHTS), MOST_SIGHTS)
    chosen = rows[rng.permutation(len(rows))[:LEARNED]]
    if len(chosen) <= count:
        return np.ascontiguousarray(chosen.T)
    centres = KMeans(count, n_init=1, random_state=0, max_iter=20).fit(chosen).cluster_centers_
    return np.ascontiguousarray(_scaled(centres).T)


def alone(reference: Reference, calibrating: Unheard, heard: set[bytes]) -> list[Floats]:
    """Return each client's queries that the channel would score, which its earlier ones hardly explain, less those `heard`."""
    owner = np.where(_whole(calibrating.vectors), np.asarray(calibrating.clients), "")
    found = []
    for client in sorted(set(calibrating.clients)):
        own = calibrating.vectors[np.flatnonzero(owner == client)[:LOOKED_AT]]
        if len(own) == 0:
            continue
        rows = reference.reduce(own)
        z = rows.z * np.float64(reference.unit)
        kept = [
            i
            for i in range(1, len(z))
            if own[i].tobytes() not in heard
            and np.sqrt(np.square(z[:i] - z[i]).sum(axis=1).min()) >= ALONE * np.exp(float(rows.landmark[i]))
        ][:LESSONS]
        if len(kept) >= LEAST_LESSONS:
            found.append(own[kept])
    return found


def form_of(lessons: Sequence[Matrix], noise: Matrix, least: float = LEAST_GROWTH) -> Matrix | None:
    """Return the quadratic form (terms,) whose value is the logarithm of the ratio; None if noise is told too slowly.

    Too slowly is with less than `least` a query.
    A logistic regression gives the score. Its usual value and spread are those under which noise is found fastest while no
    client's ratios average more than `FAIR`, but for a few odd clients. Where noise is farther away than it needs to be, the
    usual value is raised, since unknown clients are odder than known ones.
    """
    benign = np.concatenate(lessons)
    rows = np.concatenate([benign, noise])
    middle, width = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-9)

    def terms(views: Matrix) -> Matrix:
        scaled = (views - middle) / width
        return np.concatenate([scaled, np.square(scaled)], axis=1)

    weight = np.concatenate([np.full(len(benign), len(noise) / len(benign)), np.ones(len(noise))])
    is_noise = np.arange(len(rows)) >= len(benign)
    fitted = LogisticRegression(max_iter=MOST_STEPS).fit(terms(rows), is_noise, sample_weight=weight)
    told = fitted.decision_function(terms(noise))
    scores = [fitted.decision_function(terms(lesson)) for lesson in lessons]
    spreads = SPREADS * max(float(told.std()), 1e-6)
    usual = [usual_under(scores, spread) for spread in spreads]
    growth = [np.clip((told - u) / s, LEAST, MOST).mean() for u, s in zip(usual, spreads, strict=True)]
    best = int(np.argmax(growth))
    if growth[best] < least:
        return None
    spread = float(spreads[best])
    expected = max(usual[best], float(np.quantile(told, KEPT)) - MOST * spread)
    count = len(middle)
    linear, square = fitted.coef_[0, :count] / width, fitted.coef_[0, count:] / np.square(width)
    form = np.empty(1 + 2 * count)
    form[0] = fitted.intercept_[0] - expected - (linear * middle).sum() + (square * np.square(middle)).sum()
    form[1 : 1 + count] = linear - 2.0 * square * middle
    form[1 + count :] = square
    return form / spread
