"""Fitting what tells drawn records: the population's columns and directions, and how draws differ from benign records.

Columns and directions are learned from the clients that teach the reference, and what is usual from those that calibrate, as
for noise (see `fitting.noise`).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from detector.engine.evidence.cooccur import BINS
from detector.engine.evidence.drawn import FARTHEST, MOST_A_COLUMN, SCALING, VIEWS, Drawn, record_views
from detector.engine.evidence.foreign import EDITED, LEAST, MOST
from detector.engine.evidence.noise import noise_ratios
from detector.engine.fitting.cooccurrence import binned, binning_of
from detector.engine.fitting.noise import Matrix, Taught, Unheard, alone, form_of
from detector.engine.fitting.stray import LEAST_CLIENTS, usual_under
from detector.engine.fitting.tree import information, parents_of
from detector.engine.memory.reservoir import SAMPLED
from detector.engine.models.reference import Floats, Reference, drawn_fields

DRAWN = 4000  # records of each kind of draw
LEAST_RECORDS = 500
LEAST_VARIANCE = 1e-4  # of a direction, as a share of that of a column: rounding leaves no less
LEAST_GROWTH = 0.5  # least mean logarithm of the ratio of a draw: with less, 50 queries are hardly enough for a throttle
SMOOTHED = 0.5  # records that each bin has beside those that were seen
TIED = 4.0  # records that each bin of a parent has beside those that were seen, with the column's bins as usual
SURPRISE = 4.0  # deviations of chance that two columns have to tell of each other, by the chi-squared distribution
COMPARED = 64  # latest records of a client that say whether one is a version of them


def fit_drawn(reference: Reference, taught: Taught, calibrating: Unheard, seed: int) -> Reference:
    """Return the reference with what it takes to tell drawn records; unchanged unless its inputs are records of a table.

    Nothing tells them for fewer than `LEAST_RECORDS` different records, where fewer than `LEAST_CLIENTS` calibrating clients
    have unrelated ones, or where no kind of draw is told.
    """
    if not reference.table or len(calibrating.vectors) == 0:
        return reference
    taught = Taught(reference.complete(taught.vectors), taught.clients)
    unheard = Unheard(reference.complete(calibrating.vectors), calibrating.clients)
    records = np.unique(taught.vectors, axis=0)
    if len(records) < LEAST_RECORDS:
        return reference
    rng = np.random.default_rng(seed)
    draws = [_on_levels(drawn, records) for drawn in _draws(records, reference.categorical, rng)]
    known = _known(records, _own(reference, taught), draws, reference.categorical, rng)
    if len(known.columns) == 0:
        return reference

    def views(vectors: Floats) -> Matrix:
        rows = np.ascontiguousarray(vectors, np.float32)
        found = np.empty((len(rows), VIEWS))
        record_views(rows, reference.reduce(rows).landmark, known, found)
        return found

    heard = {row.tobytes() for row in taught.vectors}
    lessons = [views(own) for own in alone(reference, unheard, heard)]
    if len(lessons) < LEAST_CLIENTS:
        return reference
    forms = [form for drawn in draws if (form := form_of(lessons, views(drawn), LEAST_GROWTH)) is not None]
    if not forms:
        return reference
    return replace(reference, **drawn_fields(known), noise=_fair(forms, lessons))


def _draws(records: Floats, categorical: npt.NDArray[np.int32], rng: np.random.Generator) -> list[Floats]:
    """Return uniform draws, normal ones and draws of occurring values, (DRAWN, dimension) each; codes are known ones."""
    shape = (DRAWN, records.shape[1])
    wide = records.astype(np.float64)
    low, high = wide.min(axis=0), wide.max(axis=0)
    uniform = low + (high - low) * rng.random(shape)
    normal = np.clip(wide.mean(axis=0) + wide.std(axis=0) * rng.standard_normal(shape), low, high)
    occurring = np.take_along_axis(wide, rng.integers(len(records), size=shape), axis=0)
    for column in categorical.tolist():
        uniform[:, column] = rng.choice(np.unique(records[:, column]), DRAWN)
        normal[:, column] = occurring[:, column]
    return [np.asarray(drawn, np.float32) for drawn in (uniform, normal, occurring)]


def _on_levels(drawn: Floats, records: Floats) -> Floats:
    """Return draws with each value moved to the nearest one that occurs in its column."""
    found = drawn.copy()
    for column in range(records.shape[1]):
        levels = np.unique(records[:, column])
        if len(levels) > 1:
            above = np.clip(np.searchsorted(levels, drawn[:, column]), 1, len(levels) - 1)
            low, high = levels[above - 1], levels[above]
            found[:, column] = np.where(drawn[:, column] - low < high - drawn[:, column], low, high)
    return found


def _known(
    records: Floats, own: Floats, draws: Sequence[Floats], categorical: npt.NDArray[np.int32], rng: np.random.Generator
) -> Drawn:
    """Return what records are compared with; pairs of columns are learned from those records that are no versions, `own`."""
    binning = binning_of(records, frozenset(categorical.tolist()), rng)
    columns, coded, edges = binning
    population, *others = (_shares(binned(rows, binning)[0]) for rows in (records, *draws[:2]))
    odds = np.clip(np.log(np.stack(others) / population), -MOST_A_COLUMN, MOST_A_COLUMN)
    whiten = _whitening(records[:, columns].astype(np.float64), coded)
    return Drawn(columns, coded, edges, odds.astype(np.float32), whiten, *_pairs(binned(np.unique(own, axis=0), binning)[0]))


def _shares(bins: npt.NDArray[np.int64]) -> Matrix:
    """Return how often each bin of each column occurs, (columns, BINS), from the bins (n, columns) of records."""
    counts = np.stack([np.bincount(column, minlength=BINS) for column in bins.T]) if bins.shape[1] else np.zeros((0, BINS))
    return np.asarray((counts + SMOOTHED) / (len(bins) + SMOOTHED * BINS))


def _whitening(values: Matrix, coded: npt.NDArray[np.bool_]) -> Floats:
    """Return `Drawn.whiten` for the values (n, columns) of records; no directions for fewer than two numeric columns."""
    numeric = np.flatnonzero(~coded)
    middle, spread = values.mean(axis=0), np.maximum(values.std(axis=0), 1e-30)
    scaled = np.clip((values[:, numeric] - middle[numeric]) / spread[numeric], -FARTHEST, FARTHEST)
    count = len(numeric) if len(numeric) > 1 else 0
    whiten = np.zeros((len(coded), SCALING + count))
    whiten[:, 0] = middle
    if count:
        variance, directions = np.linalg.eigh(np.cov(scaled.T))  # in ascending order
        whiten[numeric, 1] = 1.0 / spread[numeric]
        whiten[numeric, SCALING:] = directions / np.sqrt(np.maximum(variance, LEAST_VARIANCE))
    return np.asarray(np.clip(whiten, -1e30, 1e30), np.float32)


def _fair(forms: Sequence[Matrix], lessons: Sequence[Matrix]) -> Matrix:
    """Return the forms (kinds, terms), lowered until no client's largest ratios average more than is fair."""
    found = np.stack(forms)
    best = []
    for lesson in lessons:
        ratio = np.empty(len(lesson), np.float32)
        noise_ratios(lesson, found, ratio)
        best.append(np.clip(np.log(ratio.astype(np.float64)), LEAST, MOST))
    found[:, 0] -= max(usual_under(best, 1.0), 0.0)
    return found


def _own(reference: Reference, taught: Taught) -> Floats:
    """Return the records (n, dimension) that differ from each earlier one of their client in more than a few sampled values.

    Versions of one record, such as those of a slider, keep what they leave alone together as often as somebody tries them.
    """
    integers = reference.reduce(np.ascontiguousarray(taught.vectors, np.float32)).c
    owner = np.asarray(taught.clients)
    found: list[int] = []
    for client in sorted(set(taught.clients)):
        kept: list[int] = []
        for i in np.flatnonzero(owner == client).tolist():
            if (integers[kept[-COMPARED:]] != integers[i]).sum(axis=1).min(initial=SAMPLED) > EDITED:
                kept.append(i)
        found += kept
    return np.asarray(taught.vectors[np.sort(found)], np.float32)


def _pairs(bins: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int32], Floats]:
    """Return `Drawn.parent` and `Drawn.belong` for the bins (n, columns) of different records.

    A column depends on none where no other tells more of it than chance may.
    """
    n, columns = bins.shape
    counts = np.zeros((columns, columns, BINS, BINS))
    for j in range(columns):
        for other in range(columns):
            together = np.bincount(bins[:, other] * BINS + bins[:, j], minlength=BINS * BINS)
            counts[j, other] = together.reshape(BINS, BINS)
    seen = np.count_nonzero(counts[np.arange(columns), np.arange(columns)].sum(axis=2), axis=1)
    freedom = np.outer(seen - 1.0, seen - 1.0)  # twice as many records as there are, times what chance tells
    surprise = SURPRISE * np.sqrt(2.0 * freedom)
    told = np.zeros((columns, columns))
    for j in range(columns):
        for other in range(j):
            found = 2.0 * n * information(counts[j, other] / max(n, 1)) - freedom[j, other]
            told[j, other] = found if found > surprise[j, other] else 0.0
    parent = parents_of(told)
    belong = np.zeros((columns, BINS, BINS), np.float32)
    for j in range(columns):
        if parent[j] < 0 or max(told[j, parent[j]], told[parent[j], j]) == 0.0:
            parent[j] = -1
            continue
        pair = counts[j, parent[j]]
        own = (pair.sum(axis=0) + SMOOTHED) / (n + SMOOTHED * BINS)
        depends = (pair + TIED * own) / (pair.sum(axis=1, keepdims=True) + TIED)
        belong[j] = np.clip(np.log(depends / own), -MOST_A_COLUMN, MOST_A_COLUMN)
    return parent, belong
