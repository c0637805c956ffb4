"""Fitting the stray: the directions in which a population's queries differ most, and how far benign queries stray from them.

The channel `foreign` compares clients with it. The expectation of a client comes from directions that were fitted without it;
otherwise it would look closer to them than the next client does.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.evidence.foreign import (
    APART,
    EDITED,
    LEAST,
    MOST,
    MOST_PER_CROWD,
    PAIRS,
    ROUNDING,
    crowd_of,
    stray_of,
)
from detector.engine.fitting.yardsticks import FAIR
from detector.engine.memory.reservoir import SAMPLED
from detector.engine.models.reference import Reduced, Reference

LEADING = 0.25  # share of the directions that lead: fewer depend on what a client asks about, more leave noise little room
LESSONS = 64  # queries of one client that are compared
LEAST_LESSONS = 8
LEAST_CLIENTS = 6
FOLDS = 3
ODD = 0.02  # share of the clients, at least one, that may be odd: they set no expectation
EDGE = 0.1  # share of the clients, at least three, that stray most and say how much strays vary
LEAST_SPREAD = 0.05
ROOM = 1.5  # noise needs to be so many times as far from usual as the largest ratio takes; the rest is left to innocents
HALVINGS = 40

Matrix = npt.NDArray[np.float64]


class Lesson(NamedTuple):
    """One client's n scored queries.

    These are their `places`, their distance `reach` to the nearest earlier query, their differences `apart` (n, PAIRS, samples)
    from unrelated queries, and their `own` values, centred. A query with fewer unrelated ones than `PAIRS` has some twice.
    """

    places: npt.NDArray[np.intp]
    reach: Matrix
    apart: Matrix
    own: Matrix


def usual_stray(reference: Reference, lessons: Sequence[Lesson]) -> dict[str, Any]:
    """Return the leading directions, the usual stray of benign clients and its spread, as fields of a reference.

    The usual stray is the least one under which no client has a mean ratio above `FAIR`, but for a few odd clients. The
    spread is that of the queries of the clients which stray most, and at least so wide that noise gets twice the largest ratio.
    Where noise is farther away than it needs to be, the usual stray is raised: unknown cameras stray more than known ones.
    Returns nothing if fewer than `LEAST_CLIENTS` clients have `LEAST_LESSONS` unrelated queries.
    """
    if len(lessons) < LEAST_CLIENTS:
        return {}
    samples = len(reference.sampled)
    count = max(round(LEADING * samples), 1)
    scatters = np.stack([_scatter(lesson) for lesson in lessons])
    fold = np.arange(len(lessons)) % FOLDS
    unseen = [_directions(scatters[fold != own].mean(axis=0), count) for own in range(FOLDS)]
    strays = [strays_of(lesson, unseen[own]) for lesson, own in zip(lessons, fold.tolist(), strict=True)]
    usual, spread = expected(strays)
    noise = math.log(samples / count)
    spread = max(spread, (noise - usual) / (2.0 * MOST))
    usual = max(usual, noise - ROOM * MOST * spread)
    leading = np.zeros((SAMPLED, count), np.float32)
    leading[:samples] = _directions(scatters.mean(axis=0), count)
    return {"leading": leading, "usual_stray": usual, "stray_spread": spread}


def lessons_of(reference: Reference, rows: Reduced, clients: Sequence[str]) -> list[Lesson]:
    """Return what each client teaches that has `LEAST_LESSONS` unrelated queries; names decide on nothing, not on the order."""
    owner = np.asarray(clients)
    found = [_lesson(reference, rows, np.flatnonzero(owner == client)[:LESSONS]) for client in sorted(set(clients))]
    lessons = [lesson for lesson in found if len(lesson.own) >= LEAST_LESSONS]
    lessons.sort(key=lambda lesson: float(np.square(lesson.own).sum()))  # by content: names decide on no fold
    return lessons


def expected(found: Sequence[Matrix], steep: float = 1.0) -> tuple[float, float]:
    """Return the usual value and the spread under which no client's likelihood ratios average more than `FAIR`.

    `found` are each client's values. A few odd clients are left out. The spread is that of the clients with the largest values,
    divided by `steep`.
    """
    spread = _spread(found) / steep
    return usual_under(found, spread), spread


def usual_under(found: Sequence[Matrix], spread: float) -> float:
    """Return the least usual value under which no client's ratios average more than `FAIR`, but for a few odd clients."""
    return float(np.sort([fair_under(values, spread) for values in found])[-1 - _odd(found)])


def _odd(found: Sequence[Matrix]) -> int:
    return max(round(ODD * len(found)), 1)


def _foremost(found: Sequence[Matrix]) -> list[int]:
    edge = max(round(EDGE * len(found)), 3)
    order: list[int] = np.argsort([-values.mean() for values in found], kind="stable").tolist()
    return order[_odd(found) :][:edge]


def _spread(found: Sequence[Matrix]) -> float:
    return max(float(np.mean([found[k].std() for k in _foremost(found)])), LEAST_SPREAD)


def _lesson(reference: Reference, rows: Reduced, own: npt.NDArray[np.intp]) -> Lesson:
    """Return what one client's queries `own` teach; a cluster of near neighbours counts at most as often as in the channel."""
    samples = len(reference.sampled)
    z = rows.z[own] * np.float64(reference.unit)
    c = rows.c[own, :samples].astype(np.float64)
    counted = np.zeros(len(own), np.int64)
    apart, kept, reach = [], [], []
    for i in range(1, len(own)):
        distance = np.sqrt(np.square(z[:i] - z[i]).sum(axis=1))
        nearest = int(np.argmin(distance))
        near = distance < crowd_of(rows.landmark[own[i]], reference.table)
        counted[i] = counted[:i][near].max(initial=0)
        others = np.flatnonzero(distance >= APART)
        repeated = distance[nearest] == 0.0 or (reference.table and np.count_nonzero(c[nearest] != c[i]) <= EDITED)
        if repeated or counted[i] >= MOST_PER_CROWD or len(others) == 0:
            continue
        counted[i] += 1
        if near[nearest]:
            counted[nearest] = counted[i]
        apart.append(c[i] - c[others[np.arange(PAIRS) * len(others) // PAIRS]])
        kept.append(i)
        reach.append(distance[nearest])
    middle = reference.middle[:samples].astype(np.float64)
    return Lesson(own[kept], np.array(reach), np.array(apart).reshape(-1, PAIRS, samples), c[kept] - middle)


def _scatter(lesson: Lesson) -> Matrix:
    """Return the mean square (samples, samples) of a client's differences."""
    rows = lesson.apart.reshape(-1, lesson.apart.shape[2])
    return np.asarray(rows.T @ rows / len(rows))


def _directions(scatter: Matrix, count: int) -> Matrix:
    """Return the directions (samples, count) in which the differences are largest."""
    _, directions = np.linalg.eigh(scatter + ROUNDING * np.eye(len(scatter)))
    return np.asarray(directions[:, ::-1][:, :count])


def strays_of(lesson: Lesson, leading: Matrix) -> Matrix:
    """Return the stray of each query, as the channel computes it."""
    count = leading.shape[1]

    def stray(led: Matrix, whole: Matrix) -> Matrix:
        return np.array([stray_of(one, other, count, SAMPLED) for one, other in zip(led, whole, strict=True)])

    apart = stray(np.square(lesson.apart @ leading).sum(axis=2).mean(axis=1), np.square(lesson.apart).sum(axis=2).mean(axis=1))
    own = stray(np.square(lesson.own @ leading).sum(axis=1), np.square(lesson.own).sum(axis=1))
    return np.minimum(apart, own)


def fair_under(stray: Matrix, spread: float) -> float:
    """Return the expectation under which a client's ratios are `FAIR` on average, by halving an interval."""
    low, high = float(stray.min()) - MOST * spread, float(stray.max()) - LEAST * spread
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        if np.exp(np.clip((stray - middle) / spread, LEAST, MOST)).mean() > FAIR:
            low = middle
        else:
            high = middle
    return high
