"""Novelty: how much more of the model than every known benign client this one can learn, by what is unusual about it.

Benign clients form several groups: a camera that sends video differs from a nightly batch in almost every feature. So
calibration clients are clustered into profiles (k-means, as many as the silhouette favours). A client is compared with the
profile that fits it best, at the same number of queries (a stage). Only deviations to the side that lets it learn more count
(see `sides`), in all three parts of the score:

- *ranges*: how far each feature lies outside the profile's range, in widths of that range: the distance from the middle of the
  profile to the end of its range on the side that counts. A feature inside the range adds nothing, and no feature adds more
  than `MOST`, so one odd feature alone does not make a client novel;
- *combination*: how far the Mahalanobis distance (covariance within profiles, shrunk; Ledoit and Wolf, 2004) exceeds what
  1 held-out client in 20 reaches. It finds features that are usual alone and odd together. It is the distance to the nearest
  client that deviates from the profile in directions that do not count (Perlman, 1969), so such a deviation never adds to it;
- *stream*: how far the score of half-space trees, which continue to learn from innocent clients, exceeds what is usual. Only
  this part sees timing. What lies outside the usual range on a side that does not count is shown to the trees at its end.

The score is the root of the sum of their squares: 0 for a client like all others, 1 for one feature a whole width off. Novelty
cannot tell a thief from a new device, so it may alert and throttle but never stops a client. Without a baseline the trees alone
make the score, once they have learned two windows, and count both sides.

The same comparison without sides tells which clients are merely unlike the known ones (`Novelty.unfamiliar`). They are named
for review, without an alert.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.engine.features.row import CONTENT, NAMES
from detector.engine.findings import Unfamiliar
from detector.engine.memory.admission import evaluation_after
from detector.engine.models.profiles import MOST, Comparison, Floats, Profiles, stage_of, stages_of
from detector.engine.models.sides import BOTH, SIDES, usual_or_more, weigh_outputs
from detector.engine.models.trees import WINDOW, OnlineTrees
from detector.errors import BaselineError

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
BOTH_KINDS = np.concatenate([CUMULATIVE, FILLING])
FULL_AT = 256  # queries after which the window of distances and the memory are full
LEAST_CLIENTS = 8
UNFAMILIAR = 0.01  # share of known clients that are unlike all others
SHOWN_FEATURES = 3  # of those in which an unfamiliar client deviates
TREE_SEED = 20_180_423


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
class Norms(Profiles):
    """Profiles, and what clients like the calibration clients score.

    `usual` (stages,) is the distance that 1 held-out evaluation in 20 passes. The online trees start from the rows `lessons`
    (n, features). `session_scores` (clients,) are the highest scores of each calibration client, under norms that had not seen
    it. `unlike_scores` (clients,) are those without sides and without the stream, and `unlike_usual` (stages,) are their usual
    distances; both are empty in older baselines, which call nobody unfamiliar. `reach` is the number of queries that enough
    calibration clients had; beyond it, features that depend on the count are left out.
    """

    usual: Floats
    lessons: Floats
    session_scores: Floats
    unlike_scores: Floats
    unlike_usual: Floats
    reach: int


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What was learned of n calibration clients: the `norms`, and of each client its `profile` and its `score`, (n,)."""

    norms: Norms
    profile: npt.NDArray[np.int64]
    score: Floats


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
    hidden = BOTH_KINDS if reach < FULL_AT else CUMULATIVE
    if beyond.all():  # much cheaper, and usual with few evaluations
        shown[:, hidden] = np.nan
    else:
        shown[np.ix_(beyond, hidden)] = np.nan
    return shown


def usual_range_of(quantiles: Floats) -> Floats:
    """Return the 5% and 95% of each feature over all stages, (features, 2), from quantiles (stages, features, 3)."""
    usual: Floats = np.median(quantiles[:, :, ::2], axis=0)
    return usual


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
        self._usual_range = usual_range_of(norms.quantiles) if norms else None
        self.trees = Trees(self._counted(norms.lessons) if norms else np.empty((0, len(NAMES))))
        if norms:
            self._comparison = Comparison(norms)

    def score(self, rows: Floats, queries: npt.NDArray[np.int64]) -> Floats:
        """Return the score of each of n evaluations, from `rows` (n, features) and `queries` (n,)."""
        if self.norms is not None:
            rows = within_reach(rows, queries, self.norms.reach)
        oddness = self.trees.oddness(self._counted(rows))
        if self.norms is None or len(rows) == 0:
            return oddness
        stage = stages_of(queries)
        excess, distance, _ = self._comparison.over(rows, stage, SIDES)
        return combine(excess, distance, self.norms.usual[stage], oddness)

    def learn(self, row: Floats) -> bool:
        """Teach the trees the row of an innocent client's evaluation; True when scores changed."""
        return self.trees.learn(self._counted(row[None])[0])

    def _counted(self, rows: Floats) -> Floats:
        """Return rows as the trees see them."""
        return rows if self._usual_range is None else usual_or_more(weigh_outputs(rows), self._usual_range)

    def unfamiliar(self, rows: Floats, queries: npt.NDArray[np.int64]) -> dict[int, Unfamiliar]:
        """Return which of n evaluations are unlike every known client, on whichever side, each with what is unusual.

        As many known clients pass as differ from all others: `UNFAMILIAR`. Clients that novelty alerts on are among them.
        """
        norms = self.norms
        if norms is None or len(norms.unlike_scores) == 0 or len(rows) == 0:
            return {}
        rows, stage = within_reach(rows, queries, norms.reach), stages_of(queries)
        excess, distance, nearest = self._comparison.over(rows, stage, BOTH)
        score = combine(excess, distance, norms.unlike_usual[stage], np.zeros(len(rows)))
        highest = np.sort(norms.unlike_scores)[::-1]
        rank = min(max(int(UNFAMILIAR * len(highest)), 1), len(highest) - 1)  # the highest may be odd itself
        found = {}
        for i in np.flatnonzero(score > highest[rank]).tolist():
            away = self._comparison.away(rows[i], int(stage[i]), int(nearest[i]))
            most = [j for j in np.argsort(-np.abs(away), kind="stable")[:SHOWN_FEATURES].tolist() if away[j] != 0.0]
            names = tuple(f"{NAMES[CONTENT][j]} {'above' if away[j] > 0 else 'below'}" for j in sorted(most))
            found[i] = Unfamiliar(float(score[i]), int(nearest[i]), names)
        return found

    def deviations(self, row: Floats, queries: int) -> list[tuple[str, float, tuple[float, float, float], float]]:
        """Return (feature, value, its 5%, 50% and 95% among benign clients, deviations from the median), the largest first."""
        if self.norms is None:
            return []
        row = within_reach(row[None], np.array([queries]), self.norms.reach)[0]
        quantiles = self.norms.quantiles[stage_of(queries)]
        center, scale = self._comparison.center[stage_of(queries)], self._comparison.scale[stage_of(queries)]
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
    """Rebuild norms from `to_arrays`, also where an older version wrote them.

    Raises `BaselineError` when an array is missing.
    """
    missing = [field.name for field in fields(Norms) if field.name not in {*arrays, *SINCE_KNOWN}]
    if missing:
        raise BaselineError(f"the norms lack {missing[0]!r}")
    known = {name: make(arrays) for name, make in SINCE_KNOWN.items() if name not in arrays}
    parts: dict[str, Any] = {field.name: {**arrays, **known}[field.name] for field in fields(Norms)}
    return Norms(**{**parts, "reach": int(parts["reach"])})


# Arrays that older baselines lack, as those baselines were used.
SINCE_KNOWN: dict[str, Callable[[dict[str, Floats]], Floats]] = {
    "width": lambda arrays: np.maximum(arrays["high"] - arrays["low"], 0.2),
    "unlike_scores": lambda _: np.zeros(0),
    "unlike_usual": lambda _: np.zeros(0),
}
