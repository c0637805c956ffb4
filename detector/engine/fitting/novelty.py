"""Fitting the norms of novelty: profiles of benign clients, their ranges and their covariance, stage by stage."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.covariance import LedoitWolf
from sklearn.metrics import silhouette_score

from detector.engine.features.row import CONTENT, NAMES
from detector.engine.models.novelty import (
    FARTHEST,
    LEAST_CLIENTS,
    LESSONS,
    STAGES,
    Evaluations,
    Floats,
    Norms,
    Trees,
    center_and_scale,
    combine,
    compare,
    stage_of,
)
from detector.errors import BaselineError

FOLDS = 5  # with two, who is in which decides what is unusual in a history of a few hundred clients
TREE_FOLDS = 2  # trees take most of the time of a fit
MOST_PROFILES = 8
LEAST_MEMBERS = 8
LEAST_VARIANCE = 0.05


def fit_norms(evaluations: Evaluations) -> Norms:
    """Learn the norms from the scheduled evaluations of benign clients.

    Raises `BaselineError` when fewer than 8 clients reached their first evaluation.
    """
    clients = np.unique(evaluations.client)
    if len(clients) < LEAST_CLIENTS:
        raise BaselineError(
            f"only {len(clients)} clients have {STAGES[0]} queries or more; at least {LEAST_CLIENTS} such clients are "
            "needed to say what is usual"
        )
    stage = np.array([stage_of(q) for q in evaluations.queries])
    profile = _profiles(evaluations, clients)
    client_row = np.searchsorted(clients, evaluations.client)
    excess, distance, oddness = np.empty((3, len(stage)))
    for held_out in _folds(client_row, FOLDS):
        model = _fit(evaluations, stage, profile[client_row], ~held_out)
        excess[held_out], distance[held_out] = _compare(model, evaluations.rows[held_out], stage[held_out])
    for held_out in _folds(client_row, TREE_FOLDS):
        oddness[held_out] = Trees(_lessons(evaluations, ~held_out)).oddness(evaluations.rows[held_out])
    full = _fit(evaluations, stage, profile[client_row], np.ones(len(stage), bool))
    usual = np.array([_usual(distance[_at_stage(stage, s)]) for s in range(len(STAGES))])
    score = combine(excess, distance, usual[stage], oddness)
    sessions = np.array([score[client_row == i].max() for i in range(len(clients))])
    return Norms(
        quantiles=full.quantiles,
        low=full.low,
        high=full.high,
        means=full.means,
        whiten=full.whiten,
        usual=usual,
        lessons=_lessons(evaluations, np.ones(len(stage), bool)),
        session_scores=np.sort(sessions)[::-1],
        reach=int(np.sort([evaluations.queries[client_row == i].max() for i in range(len(clients))])[-LEAST_CLIENTS]),
    )


def _folds(client_row: npt.NDArray[np.intp], count: int) -> Iterator[npt.NDArray[np.bool_]]:
    """Yield which rows are those of each part of the clients; neighbours in the clients' order are in different parts."""
    for part in range(count):
        yield client_row % count == part


@dataclass(frozen=True, slots=True)
class _Fit:
    quantiles: Floats
    low: Floats
    high: Floats
    means: Floats
    whiten: Floats


def _at_stage(stage: npt.NDArray[np.int64], wanted: int) -> npt.NDArray[np.bool_]:
    """Return the rows of a stage, or of the latest earlier stage that enough rows reached."""
    while wanted > 0 and np.count_nonzero(stage == wanted) < LEAST_CLIENTS:
        wanted -= 1
    rows: npt.NDArray[np.bool_] = stage == wanted
    return rows


def _usual(distances: Floats) -> float:
    return max(float(np.quantile(distances, 0.95)), 1e-6) if len(distances) else 1.0


def _profiles(evaluations: Evaluations, clients: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return a profile number per client, from its mean features over all its evaluations."""
    quantiles = _quantiles(evaluations.rows, (0.05, 0.5, 0.95)).T
    center, scale = center_and_scale(quantiles)
    x = np.clip(np.nan_to_num((evaluations.rows[:, CONTENT] - center) / scale), -4, 4)
    means = np.array([x[evaluations.client == client].mean(axis=0) for client in clients])
    best = np.zeros(len(clients), np.int64)
    best_score = 0.0
    for count in range(2, min(MOST_PROFILES, len(clients) // LEAST_MEMBERS, len(np.unique(means, axis=0))) + 1):
        found = KMeans(count, n_init=4, random_state=0).fit_predict(means).astype(np.int64)
        if np.bincount(found, minlength=count).min() < LEAST_MEMBERS:
            continue
        score = float(silhouette_score(means, found))
        if score > best_score:
            best, best_score = found, score
    return best


def _fit(
    evaluations: Evaluations, stage: npt.NDArray[np.int64], profile: npt.NDArray[np.int64], use: npt.NDArray[np.bool_]
) -> _Fit:
    f = len(NAMES) - CONTENT.start
    profiles = np.unique(profile)
    quantiles = np.zeros((len(STAGES), len(NAMES), 3))
    means = np.zeros((len(STAGES), len(profiles), f))
    low = np.zeros_like(means)
    high = np.zeros_like(means)
    whiten = np.zeros((len(STAGES), f, f))
    for s in range(len(STAGES)):
        here = _at_stage(np.where(use, stage, -1), s)
        if not here.any():
            here = use
        rows = evaluations.rows[here]
        quantiles[s] = _quantiles(rows, (0.05, 0.5, 0.95)).T
        center, scale = center_and_scale(quantiles[s])
        x = np.clip(np.nan_to_num((rows[:, CONTENT] - center) / scale), -FARTHEST, FARTHEST)
        residual = x.copy()
        for p, number in enumerate(profiles):
            own = profile[here] == number
            if not own.any():
                own = np.ones(len(own), bool)
            means[s, p] = x[own].mean(axis=0)
            residual[own] = x[own] - means[s, p]
            low[s, p], high[s, p] = _quantiles(rows[own][:, CONTENT], (0.02, 0.98))
        covariance = LedoitWolf(assume_centered=True).fit(residual).covariance_
        # A floor on the variance: otherwise a feature that is constant within every profile would have infinite weight.
        whiten[s] = np.linalg.inv(np.linalg.cholesky(covariance + LEAST_VARIANCE * np.eye(f)))
    return _Fit(quantiles, low, high, means, whiten)


def _quantiles(rows: Floats, shares: tuple[float, ...]) -> Floats:
    """Return quantiles (shares, features) of the values that are not missing; 0 for a feature without any."""
    found = np.zeros((len(shares), rows.shape[1]))
    known = ~np.isnan(rows).all(axis=0)
    found[:, known] = np.nanquantile(rows[:, known], shares, axis=0)
    return found


def _compare(model: _Fit, rows: Floats, stage: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    center, scale = center_and_scale(model.quantiles)
    excess, distance = np.empty((2, len(rows)))
    compare(
        np.ascontiguousarray(rows[:, CONTENT]),
        stage,
        model.low,
        model.high,
        center,
        scale,
        model.means,
        model.whiten,
        excess,
        distance,
    )
    return excess, distance


def _lessons(evaluations: Evaluations, use: npt.NDArray[np.bool_]) -> Floats:
    """Return rows to learn from: a bounded number per client, spread over its evaluations."""
    lessons: Floats = evaluations.rows[use & np.isin(evaluations.queries, sorted(LESSONS))]
    return lessons
