"""Novelty: how unlike every known benign client this one is.

Benign clients form several groups: a camera that sends video differs from a nightly batch in almost every feature. So
calibration clients are clustered into profiles (k-means, as many as the silhouette favours). A client is compared with the
profile that fits it best, at the same number of queries (a stage). The score has three parts:

- *ranges*: how far each feature lies outside the profile's range, in widths of that range. A feature inside the range adds
  nothing, and no feature adds more than `MOST`, so one odd feature alone does not make a client novel;
- *combination*: how far the Mahalanobis distance (covariance within profiles, shrunk; Ledoit and Wolf, 2004) exceeds what
  1 held-out client in 20 reaches. It finds features that are usual alone and odd together;
- *stream*: how far the score of half-space trees, which continue to learn from innocent clients, exceeds what is usual. Only
  this part sees timing.

The score is the root of the sum of their squares: 0 for a client like all others, 1 for one feature a whole range off. Novelty
cannot tell a thief from a new device, so it may alert and throttle but never stops a client. Without a baseline the trees alone
make the score, once they have learned two windows.
"""

from collections import deque
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.engine.features.row import CONTENT, NAMES
from detector.engine.kernels import kernel
from detector.engine.memory.admission import evaluation_after
from detector.engine.models.trees import WINDOW, OnlineTrees
from detector.errors import BaselineError

STAGES = np.array([8, 16, 24, 32, 48, 64, 96, 160, 256, 512, 1024, 4096])
# Features that change with the number of queries even for the steadiest client; the distances do so until memory is full.
CUMULATIVE = np.array(
    [
        NAMES.index(name)
        for name in (
            "cells_per_query",
            "new_cell_rate",
            "label_share",
            "population_covered",
            "near_duplicate_rate",
            "repeat_rate",
        )
    ]
)
FILLING = np.array(
    [NAMES.index(name) for name in ("distance_mean", "distance_low", "distance_mid", "distance_high", "normality")]
)
FULL_AT = 256  # queries after which the window of distances and the memory are full
LEAST_SCALE = 0.06  # least standard deviation of a feature, for features that never varied in calibration
LEAST_WIDTH = 0.2  # least width of a profile's range of a feature, for features that never varied within the profile
FARTHEST = 12.0
# Which side of the usual range counts: +1 above, -1 below, 0 both. A client can be too far from the population, not too near.
SIDES = np.array(
    [{"off_manifold": 1, "landmark_distance": 1, "population_share": -1}.get(name, 0) for name in NAMES[CONTENT]], np.int64
)
MOST = 1.5
LEAST_CLIENTS = 8
TREE_SEED = 20_180_423

Floats = npt.NDArray[np.float64]


def stage_of(queries: int) -> int:
    """Return the stage of a scheduled evaluation: the last of `STAGES` not above its number of queries.

    >>> stage_of(8), stage_of(40), stage_of(10**6)
    (0, 3, 11)
    """
    return max(int(np.searchsorted(STAGES, queries, side="right")) - 1, 0)


def _lesson_evaluations() -> frozenset[int]:
    """Return the evaluations that may teach the trees: the first at or above each power of two, from 16 on."""
    evaluations = set()
    queries = 0
    power = 16
    while queries < 2**31:
        queries = evaluation_after(queries)
        if queries >= power:
            evaluations.add(queries)
            while power <= queries:
                power *= 2
    return frozenset(evaluations)


LESSONS = _lesson_evaluations()


@dataclass(frozen=True, slots=True)
class Evaluations:
    """Features of benign clients at n scheduled evaluations: `rows` (n, features).

    `client` (n,) are the numbers of the clients, and `queries` (n,) are their counts of queries.
    """

    client: npt.NDArray[np.int64]
    queries: npt.NDArray[np.int64]
    rows: Floats


@dataclass(frozen=True, slots=True)
class Norms:
    """What benign clients look like, stage by stage; f counts the content features.

    `quantiles` (stages, features, 3) are the 5%, 50% and 95% of each feature. `low` and `high` (stages, profiles, f) are the
    range of each profile. `means` (stages, profiles, f) and `whiten` (stages, f, f) give the Mahalanobis distance, and `usual`
    (stages,) is the distance that 1 held-out evaluation in 20 passes. The online trees start from the rows `lessons` (n,
    features). `session_scores` (clients,) are the highest scores of each calibration client, under norms that had not seen it.
    `reach` is the number of queries that enough calibration clients had; beyond it, features that depend on the count are left
    out.
    """

    quantiles: Floats
    low: Floats
    high: Floats
    means: Floats
    whiten: Floats
    usual: Floats
    lessons: Floats
    session_scores: Floats
    reach: int


@kernel
def compare(rows, stage, low, high, center, scale, means, whiten, excess, distance):
    """Compare each row with the profiles of its stage; features that are missing (NaN) count as usual.

    `excess[i]` becomes the sum of squared excesses over the ranges of the best fitting profile, and `distance[i]` the
    Mahalanobis distance to the nearest profile.
    """
    n, f = rows.shape
    x = np.empty(f)
    for i in range(n):
        s = stage[i]
        excess[i] = np.inf
        distance[i] = np.inf
        for p in range(means.shape[1]):
            outside = 0.0
            for j in range(f):
                value = rows[i, j]
                if np.isnan(value):
                    x[j] = 0.0
                    continue
                below = 0.0 if SIDES[j] > 0 else low[s, p, j] - value
                above = 0.0 if SIDES[j] < 0 else value - high[s, p, j]
                over = max(below, above, 0.0)
                over = min(over / max(high[s, p, j] - low[s, p, j], LEAST_WIDTH), MOST)
                outside += over * over
                x[j] = min(max((value - center[s, j]) / scale[s, j], -FARTHEST), FARTHEST) - means[s, p, j]
                if SIDES[j] * x[j] < 0.0:
                    x[j] = 0.0
            total = 0.0
            for j in range(f):
                part = 0.0
                for k in range(j + 1):  # the inverse of a Cholesky factor is lower triangular
                    part += whiten[s, j, k] * x[k]
                total += part * part
            excess[i] = min(excess[i], outside)
            distance[i] = min(distance[i], np.sqrt(total))


def combine(excess: Floats, distance: Floats, usual: Floats, oddness: Floats) -> Floats:
    """Return the score from its three parts; all arguments have one entry per scheduled evaluation."""
    combination = np.clip(distance / usual - 1.0, 0.0, MOST)
    stream = np.clip((oddness - 1.0) / 2.0, 0.0, MOST)
    return np.sqrt(excess + np.square(combination) + np.square(stream))


def within_reach(rows: Floats, queries: npt.NDArray[np.int64], reach: int) -> Floats:
    """Return the rows with NaN for features that cannot be compared, since no calibration client had so many queries."""
    beyond = queries > reach
    if not beyond.any():
        return rows
    shown = rows.copy()
    shown[np.ix_(beyond, CUMULATIVE)] = np.nan
    if reach < FULL_AT:
        shown[np.ix_(beyond, FILLING)] = np.nan
    return shown


def center_and_scale(quantiles: Floats) -> tuple[Floats, Floats]:
    """Return the median and a robust standard deviation of the content features, from their quantiles."""
    spread = (quantiles[..., 2] - quantiles[..., 0]) / 3.29
    return quantiles[..., CONTENT, 1], np.maximum(spread, LEAST_SCALE)[..., CONTENT]


class Trees:
    """The online trees, with running statistics of which of their scores are usual."""

    def __init__(self, lessons: Floats) -> None:
        self._trees = OnlineTrees(len(NAMES), TREE_SEED)
        self._recent: deque[float] = deque(maxlen=2 * WINDOW)
        self._median = 0.0
        self._usual = 0.0
        # Few calibration clients teach several times, so that the trees can score from the first query on.
        for _ in range(-(-2 * WINDOW // len(lessons)) if len(lessons) else 0):
            for row in lessons:
                self.learn(row)

    @property
    def ready(self) -> bool:
        """Whether the trees know what is usual: they have learned two windows."""
        return self._usual > 0.0

    def learn(self, row: Floats) -> bool:
        """Learn the row of an innocent client's evaluation; True when scores changed."""
        if self._trees.ready:
            self._recent.append(float(self._trees.score(row[None])[0]))
        windows = self._trees.windows
        changed = self._trees.learn(row)
        if self._trees.windows > windows and len(self._recent) >= WINDOW:
            self._median, high = (float(q) for q in np.quantile(self._recent, [0.5, 0.95]))
            self._usual = max(high - self._median, 1e-3)
        return changed

    def oddness(self, rows: Floats) -> Floats:
        """Return a number from 0 to 4: 0 is usual, and 1 innocent evaluation in 20 passes 1."""
        if not self.ready:
            return np.zeros(len(rows))
        return np.clip((self._trees.score(rows) - self._median) / self._usual, 0.0, 4.0)

    def state(self) -> dict[str, Floats]:
        """Return what was learned, as arrays."""
        own = {"recent": np.array(self._recent), "usual": np.array([self._median, self._usual])}
        return self._trees.state() | own

    def restore(self, state: dict[str, Floats]) -> None:
        """Take over what `state` returned."""
        self._trees.restore(state)
        self._recent = deque((float(value) for value in state["recent"]), maxlen=2 * WINDOW)
        self._median, self._usual = (float(value) for value in state["usual"])


class Novelty:
    """The combined score of one model's clients; it learns from innocent evaluations as the stream goes on."""

    def __init__(self, norms: Norms | None) -> None:
        self.norms = norms
        self.trees = Trees(norms.lessons if norms else np.empty((0, len(NAMES))))
        if norms:
            self._center, self._scale = center_and_scale(norms.quantiles)

    def score(self, rows: Floats, queries: npt.NDArray[np.int64]) -> Floats:
        """Return the score of each of n evaluations, from `rows` (n, features) and `queries` (n,)."""
        if self.norms is not None:
            rows = within_reach(rows, queries, self.norms.reach)
        oddness = self.trees.oddness(rows)
        if self.norms is None or len(rows) == 0:
            return oddness
        norms = self.norms
        stage = np.maximum(np.searchsorted(STAGES, queries, side="right") - 1, 0)
        excess, distance = np.empty((2, len(rows)))
        compare(
            np.ascontiguousarray(rows[:, CONTENT]),
            stage,
            norms.low,
            norms.high,
            self._center,
            self._scale,
            norms.means,
            norms.whiten,
            excess,
            distance,
        )
        return combine(excess, distance, norms.usual[stage], oddness)

    def deviations(self, row: Floats, queries: int) -> list[tuple[str, float, tuple[float, float, float], float]]:
        """Return (feature, value, its 5%, 50% and 95% among benign clients, deviations from the median), the largest first."""
        if self.norms is None:
            return []
        row = within_reach(row[None], np.array([queries]), self.norms.reach)[0]
        quantiles = self.norms.quantiles[stage_of(queries)]
        center, scale = self._center[stage_of(queries)], self._scale[stage_of(queries)]
        found = []
        for j in range(CONTENT.start, len(NAMES)):
            if np.isnan(row[j]):
                continue
            away = float((row[j] - center[j - CONTENT.start]) / scale[j - CONTENT.start])
            low, median, high = (float(q) for q in quantiles[j])
            if SIDES[j - CONTENT.start] * away >= 0:
                found.append((NAMES[j], float(row[j]), (low, median, high), away))
        return sorted(found, key=lambda entry: -abs(entry[3]))


def to_arrays(norms: Norms) -> dict[str, Floats]:
    """Return the norms as named arrays, for ``numpy.savez``."""
    return {field.name: np.asarray(getattr(norms, field.name)) for field in fields(norms)}


def from_arrays(arrays: dict[str, Floats]) -> Norms:
    """Rebuild norms from `to_arrays`.

    Raises `BaselineError` when an array is missing.
    """
    missing = [field.name for field in fields(Norms) if field.name not in arrays]
    if missing:
        raise BaselineError(f"the norms lack {missing[0]!r}")
    parts: dict[str, Any] = {field.name: arrays[field.name] for field in fields(Norms)}
    return Norms(**{**parts, "reach": int(parts["reach"])})
