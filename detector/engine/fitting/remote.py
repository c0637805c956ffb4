"""Fitting what is remote: how far benign clients' queries lie from the population, in each view and in all of them at once.

A client's distances come from landmarks that were fitted without it; the next client knows none of them either.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.engine.evidence.remote import (
    ALONE,
    DEVIATION,
    LANDMARK,
    LEAST_OF_ALL,
    LEAST_SAMPLES,
    MAIN,
    MINOR,
    VIEWS,
    minor_energy,
    remoteness,
    typical_deviation,
)
from detector.engine.fitting.stray import FOLDS, LEAST_CLIENTS, LEAST_LESSONS, Lesson, expected
from detector.engine.fitting.yardsticks import landmarks_of
from detector.engine.models.reference import Floats, Reduced, Reference

STEEP = 3.0  # deviations of benign clients that are one step of the likelihood ratio's logarithm: foreign queries are that far
LEAST_MINOR = 4  # least number of minor principal directions


def usual_remote(reference: Reference, rows: Reduced, lessons: Sequence[Lesson]) -> dict[str, Any]:
    """Return what remoteness is usual, as a field of a reference that knows its leading directions.

    Returns nothing for tables, whose columns are judged one by one, and for inputs on a sphere, which are all equally far from
    its centre. It also returns nothing where the reference has too few directions, or too few clients with unrelated queries.
    """
    small = reference.principal < MAIN + LEAST_MINOR or reference.measured < LEAST_SAMPLES
    if reference.table or reference.sphere > 0.0 or small or reference.leading.shape[1] == 0:
        return {}
    alone = [lesson.places[lesson.reach >= ALONE * np.exp(rows.landmark[lesson.places])] for lesson in lessons]
    places = [own for own in alone if len(own) >= LEAST_LESSONS]
    if len(places) < LEAST_CLIENTS:
        return {}
    remote = np.full((VIEWS, 2), np.nan, np.float32)
    ratios, weights = np.empty((2, reference.measured), np.float32)
    middle = reference.middle
    landmark = _unseen_distances(reference, rows, places)
    landmarks = [landmark[own].astype(np.float64) for own in places]
    minor = [np.array([minor_energy(rows.z[i], reference.variance, reference.principal) for i in own]) for own in places]
    deviations = [
        np.array([typical_deviation(rows.c[i], middle, reference.leading, ratios, weights) for i in own]) for own in places
    ]
    for view, found in ((LANDMARK, landmarks), (MINOR, minor), (DEVIATION, deviations)):
        remote[view] = expected(found)

    def least(i: int) -> float:
        given = (reference.variance, reference.principal, middle, reference.leading, remote, ratios, weights)
        return float(remoteness(rows.z[i], rows.c[i], landmark[i], *given))

    remote[LEAST_OF_ALL] = expected([np.array([least(i) for i in own]) for own in places], STEEP)
    return {"remote": remote}


def _unseen_distances(reference: Reference, rows: Reduced, places: Sequence[npt.NDArray[np.intp]]) -> Floats:
    """Return the log distance of each row of `places` to the nearest landmark that its client has not taught."""
    found = rows.landmark.copy()
    for fold in range(FOLDS):
        others = np.concatenate([own for k, own in enumerate(places) if k % FOLDS != fold])
        landmarks = landmarks_of(rows.z[others].astype(np.float64), fold).astype(np.float64)
        for own in places[fold::FOLDS]:
            squares = np.square(rows.z[own].astype(np.float64)[:, :, None] - landmarks).sum(axis=1).min(axis=1)
            found[own] = np.log(np.maximum(np.sqrt(squares) * reference.unit, 1e-3))
    return found
