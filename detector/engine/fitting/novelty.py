"""Fitting the norms of novelty: profiles of benign clients, their ranges and their covariance, stage by stage."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.covariance import LedoitWolf
from sklearn.metrics import silhouette_score

from detector.engine.features.row import CONTENT, NAMES
from detector.engine.models.novelty import (
    LEAST_CLIENTS,
    LESSONS,
    Calibrated,
    Evaluations,
    Norms,
    Trees,
    combine,
    usual_range_of,
)
from detector.engine.models.profiles import (
    FARTHEST,
    RESOLUTION,
    STAGES,
    Comparison,
    Floats,
    Profiles,
    center_and_scale,
    stages_of,
)
from detector.engine.models.sides import BOTH, SIDES, usual_or_more, weigh_outputs
from detector.errors import BaselineError

FOLDS = 5  # with two, who is in which decides what is unusual in a history of a few hundred clients
TREE_FOLDS = 2  # trees take most of the time of a fit
MOST_PROFILES = 8
LEAST_MEMBERS = 8
LEAST_VARIANCE = 0.05


def fit_norms(evaluations: Evaluations) -> Calibrated:
    """Learn the norms from the scheduled evaluations of benign clients.

    Raises `BaselineError` when fewer than 8 clients reached their first evaluation.
    """
    clients = np.unique(evaluations.client)
    if len(clients) < LEAST_CLIENTS:
        raise BaselineError(
            f"only {len(clients)} clients have {STAGES[0]} queries or more; at least {LEAST_CLIENTS} such clients are "
            "needed to say what is usual"
        )
    stage = stages_of(evaluations.queries)
    profile = _profiles(evaluations, clients)
    client_row = np.searchsorted(clients, evaluations.client)
    full = _fit(evaluations, stage, profile[client_row], np.ones(len(stage), bool))
    compared = _held_out(evaluations, stage, profile[client_row], client_row)
    oddness = np.empty(len(stage))
    usual_range = usual_range_of(full.quantiles)
    for held_out in _folds(client_row, TREE_FOLDS):
        trees = Trees(usual_or_more(weigh_outputs(_lessons(evaluations, ~held_out)), usual_range))
        oddness[held_out] = trees.oddness(usual_or_more(weigh_outputs(evaluations.rows[held_out]), usual_range))
    usual, unlike_usual = (
        np.array([_usual(distance[_at_stage(stage, s)]) for s in range(len(STAGES))]) for _, distance in compared
    )
    (excess, distance), (unlike_excess, unlike_distance) = compared
    score = combine(excess, distance, usual[stage], oddness)
    unlike = combine(unlike_excess, unlike_distance, unlike_usual[stage], np.zeros(len(stage)))
    sessions, unlike_sessions = (np.array([one[client_row == i].max() for i in range(len(clients))]) for one in (score, unlike))
    norms = Norms(
        quantiles=full.quantiles,
        low=full.low,
        high=full.high,
        width=full.width,
        means=full.means,
        whiten=full.whiten,
        usual=usual,
        lessons=_lessons(evaluations, np.ones(len(stage), bool)),
        session_scores=np.sort(sessions)[::-1],
        unlike_scores=np.sort(unlike_sessions)[::-1],
        unlike_usual=unlike_usual,
        reach=int(np.sort([evaluations.queries[client_row == i].max() for i in range(len(clients))])[-LEAST_CLIENTS]),
    )
    return Calibrated(norms, profile, sessions)


def _held_out(
    evaluations: Evaluations,
    stage: npt.NDArray[np.int64],
    profile: npt.NDArray[np.int64],
    client_row: npt.NDArray[np.intp],
) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Return excess and distance of each evaluation under norms that have not seen its client: with sides, and without."""
    compared = np.empty((2, 2, len(stage)))
    for held_out in _folds(client_row, FOLDS):
        model = Comparison(_fit(evaluations, stage, profile, ~held_out))
        for n, sides in enumerate((SIDES, BOTH)):
            compared[n, :, held_out] = np.transpose(model.over(evaluations.rows[held_out], stage[held_out], sides)[:2])
    return (compared[0, 0], compared[0, 1]), (compared[1, 0], compared[1, 1])


def _folds(client_row: npt.NDArray[np.intp], count: int) -> Iterator[npt.NDArray[np.bool_]]:
    """Yield which rows are those of each part of the clients; neighbours in the clients' order are in different parts."""
    for part in range(count):
        yield client_row % count == part


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
    center, scale = center_and_scale(quantiles, len(STAGES) - 1)
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
) -> Profiles:
    f = len(NAMES) - CONTENT.start
    profiles = np.unique(profile)
    quantiles = np.zeros((len(STAGES), len(NAMES), 3))
    means = np.zeros((len(STAGES), len(profiles), f))
    low, high, width = np.zeros((3, *means.shape))
    whiten = np.zeros((len(STAGES), f, f))
    for s in range(len(STAGES)):
        here = _at_stage(np.where(use, stage, -1), s)
        if not here.any():
            here = use
        quantiles[s] = _quantiles(evaluations.rows[here], (0.05, 0.5, 0.95)).T
        center, scale = center_and_scale(quantiles[s], s)
        rows = weigh_outputs(evaluations.rows[here])[:, CONTENT]
        x = np.clip(np.nan_to_num((rows - center) / scale), -FARTHEST, FARTHEST)
        residual = x.copy()
        members = np.zeros(len(profiles))
        for p, number in enumerate(profiles):
            own = profile[here] == number
            if not own.any():
                own = np.ones(len(own), bool)
            members[p] = len(np.unique(evaluations.client[here][own]))
            means[s, p] = x[own].mean(axis=0)
            residual[own] = x[own] - means[s, p]
            low[s, p], middle, high[s, p] = _quantiles(rows[own], (0.02, 0.5, 0.98))
            width[s, p] = _width(low[s, p], middle, high[s, p])
        # The range of a profile with few clients is poorly known: it is drawn to the mean range of all profiles.
        pooled = np.average(width[s], axis=0, weights=members)
        share = (members / (members + LEAST_MEMBERS))[:, None]
        width[s] = np.maximum(share * width[s] + (1.0 - share) * pooled, RESOLUTION[s])
        covariance = LedoitWolf(assume_centered=True).fit(residual).covariance_
        # A floor on the variance: otherwise a feature that is constant within every profile would have infinite weight.
        whiten[s] = np.linalg.inv(np.linalg.cholesky(covariance + LEAST_VARIANCE * np.eye(f)))
    return Profiles(quantiles, low, high, width, means, whiten)


def _width(low: Floats, middle: Floats, high: Floats) -> Floats:
    """Return the distance from the middle of a range to its end on the side that counts; half the range where both do."""
    width: Floats = np.where(SIDES > 0, high - middle, np.where(SIDES < 0, middle - low, (high - low) / 2.0))
    return width


def _quantiles(rows: Floats, shares: tuple[float, ...]) -> Floats:
    """Return quantiles (shares, features) of the values that are not missing; 0 for a feature without any."""
    found = np.zeros((len(shares), rows.shape[1]))
    known = ~np.isnan(rows).all(axis=0)
    found[:, known] = np.nanquantile(rows[:, known], shares, axis=0)
    return found


def _lessons(evaluations: Evaluations, use: npt.NDArray[np.bool_]) -> Floats:
    """Return rows to learn from: a bounded number per client, spread over its evaluations."""
    lessons: Floats = evaluations.rows[use & np.isin(evaluations.queries, sorted(LESSONS))]
    return lessons
