"""Fitting what coarse tables are judged by: the levels of the columns, and which levels the population shows together.

Levels and dependences are learned from the clients that teach the reference. Those that calibrate have other records, which the
teachers never showed; the chances of draws are lowered until no client of theirs looks as if it drew its records.
"""

import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln
from scipy.stats import norm

from detector.engine.evidence.coarse import LAST, LEVELS, MOST_DRAWN, SPARE, Coarse, read_levels, record_chances
from detector.engine.fitting.noise import Unheard
from detector.engine.fitting.stray import LEAST_CLIENTS, LEAST_LESSONS, usual_under
from detector.engine.fitting.tree import information, parents_of
from detector.engine.fitting.yardsticks import FAIR
from detector.engine.models.reference import NOT_COARSE, Floats, Reference, nearest_levels

LEAST_COLUMNS = 5  # sampled columns; in fewer all records occur
LEAST_RECORDS = 100  # different ones
LEAST_TOLD = 0.5  # least share of a table's columns whose values the memory tells apart
STRAY = 0.005  # largest share of a column's values that lie on no level
OCCURS = 3  # records that have each level, at least
SMOOTHED = 1.0  # records that each column adds to every level of its parent, as they are without it
ALONE = 0.2  # share of the population's records in which a column does not depend on its parent
REST = 0.02  # share of the draws in which all levels are alike
EDITS = (0.3, 0.6, 0.06, 0.02, 0.01)  # how often an edit changes no column, one, two, three and four
MORE_EDITS = 0.002  # how often so many more columns

Levels = npt.NDArray[np.int64]


def fit_coarse(reference: Reference, teaching: Floats, calibrating: Unheard) -> Reference:
    """Return the reference with what records are compared with in a coarse or a mixed table; unchanged for any other.

    A table is coarse if all its numeric columns that vary have at most `LEVELS` levels and there are at least `LEAST_COLUMNS`
    of these and of codes. It is mixed if some have more values, but at least half of all columns have so few that the memory
    tells them apart. It is judged by fewer than `LEAST_RECORDS` different records, or by fewer than `LEAST_CLIENTS`
    calibrating clients, as if it were neither. `teaching` (n, dimension) are the inputs of the teachers.
    """
    columns = len(reference.sampled)
    if not reference.table or columns < LEAST_COLUMNS or len(calibrating.vectors) == 0:
        return reference
    records, often = np.unique(reference.complete(teaching), axis=0, return_counts=True)
    if len(records) < LEAST_RECORDS:
        return reference
    integers = reference.reduce(np.ascontiguousarray(records, np.float32)).c[:, :columns]
    few = _few_levels(records, reference.categorical)
    scales = [_scale_of(integers[:, j], coarse=few) for j in range(columns)]
    gap = np.array([scale.gap for scale in scales], np.float32)
    if np.count_nonzero((gap == 0.0) | (gap > SPARE)) < LEAST_TOLD * columns:
        return reference
    rows = np.stack([scale.levels(integers[:, j]) for j, scale in enumerate(scales)], axis=1).astype(np.int64)
    value = np.stack([scale.value for scale in scales])
    count = np.array([scale.known for scale in scales], np.uint8)
    mixed = bool(gap.any())
    # What many ask about is common, but a load test repeats one record thousands of times.
    parent, chance = _tree(rows, np.sqrt(often), count)
    known = replace(
        reference,
        coarse_value=value,
        coarse_count=count,
        coarse_parent=parent,
        coarse_chance=chance,
        coarse_drawn=_draws(rows, value, count, reference.measured),
        coarse_edited=_edits(columns),
        coarse_inner=np.stack([scale.inner for scale in scales]) if mixed else reference.coarse_inner,
        coarse_gap=gap if mixed else reference.coarse_gap,
    )
    return _fair(known, calibrating)


class _Scale(NamedTuple):
    """One column: its `known` levels, their integers `value` (LEVELS,), and `inner` (256,) and `gap` as in `Coarse`."""

    value: npt.NDArray[np.uint8]
    known: int
    inner: Floats
    gap: float

    def levels(self, integers: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return the nearest level of each of n integers."""
        return nearest_levels(self.value[: self.known], integers)


def _scale_of(integers: npt.NDArray[np.uint8], *, coarse: bool) -> _Scale:
    """Return how a column of n sampled integers is judged; in a `coarse` table rare values between its levels do not count."""
    found, counts = np.unique(integers, return_counts=True)
    value = np.zeros(LEVELS, np.uint8)
    if coarse or len(found) <= LEVELS:
        common = found if len(found) <= LEVELS else found[np.sort(np.argsort(-counts, kind="stable")[:LEVELS])]
        value[: len(common)] = common
        return _Scale(value, len(common), np.zeros(256, np.float32), 0.0)
    gap = int(np.diff(found[(found > 0) & (found < LAST)]).min(initial=LAST))
    centres = np.unique(np.quantile(integers, (np.arange(LEVELS) + 0.5) / LEVELS, method="nearest")).astype(np.uint8)
    value[: len(centres)] = centres
    level = nearest_levels(centres, np.arange(256))
    places = np.zeros(256)
    places[found[0] :: gap] = 0.5  # values that nobody asked about yet
    places[found] += counts
    places += 1e-3
    inner = np.log(places / np.bincount(level, places)[level])
    return _Scale(value, len(centres), inner.astype(np.float32), float(gap))


def _few_levels(records: Floats, categorical: npt.NDArray[np.int32]) -> bool:
    """Tell whether nearly all values of each numeric column of records (n, dimension) lie on few levels."""
    for column in np.setdiff1d(np.arange(records.shape[1]), categorical).tolist():
        _, counts = np.unique(records[:, column], return_counts=True)
        if len(counts) > LEVELS or counts[counts < OCCURS].sum() > STRAY * len(records):
            return False
    return True


def _tree(rows: Levels, weight: npt.NDArray[np.float64], count: npt.NDArray[np.uint8]) -> tuple[Any, Floats]:
    """Return the parent of each column and the logarithms of how often levels occur, as `Coarse` holds them.

    `rows` (n, columns) are the levels of records that count `weight` (n,) each.
    """
    columns = rows.shape[1]
    pairs = np.zeros((columns, columns, LEVELS, LEVELS))
    for j in range(columns):
        for other in range(columns):
            np.add.at(pairs[j, other], (rows[:, j], rows[:, other]), weight)
    own = np.stack([pairs[j, j].diagonal() for j in range(columns)]) + 0.5 * (np.arange(LEVELS) < count[:, None])
    own /= own.sum(axis=1, keepdims=True)
    told = np.zeros((columns, columns))
    for j in range(columns):
        for other in range(j):
            told[j, other] = information(pairs[j, other] / weight.sum())
    parent = parents_of(told)
    chance = np.zeros((columns, LEVELS, LEVELS), np.float32)
    for j in range(columns):
        if parent[j] < 0:
            chance[j] = np.log(np.maximum(own[j], 1e-9))[:, None]
            continue
        seen = pairs[j, parent[j]] + SMOOTHED * own[j][:, None]
        depends = (1.0 - ALONE) * seen / seen.sum(axis=0) + ALONE * own[j][:, None]
        chance[j] = np.log(np.maximum(depends, 1e-9))
    return parent, chance


def _draws(rows: Levels, value: npt.NDArray[np.uint8], count: npt.NDArray[np.uint8], measured: int) -> Floats:
    """Return the logarithms of how often uniform draws, normal ones and draws of occurring values have each level."""
    columns = len(count)
    share = np.zeros((3, columns, LEVELS))
    for j in range(columns):
        n = int(count[j])
        places = value[j, :n].astype(np.float64)
        seen = np.bincount(rows[:, j], minlength=n) + 0.5
        share[2, j, :n] = seen / seen.sum()
        share[:2, j, :n] = share[2, j, :n]
        if n < 2 or j >= measured:
            continue
        share[0, j, :n] = 1.0 / n
        middle = float((share[2, j, :n] * places).sum())
        spread = math.sqrt(float((share[2, j, :n] * np.square(places - middle)).sum()))
        bounds = (places[1:] + places[:-1]) / 2.0
        below = np.concatenate([[0.0], norm.cdf((bounds - middle) / max(spread, 1e-9)), [1.0]])
        share[1, j, :n] = (1.0 - REST) * np.diff(below) + REST / n
    return np.log(np.maximum(share, 1e-9)).astype(np.float32)


def _edits(columns: int) -> Floats:
    """Return the logarithms of how often an edit changes so many columns, and just these, (columns + 1,)."""
    changed = np.arange(columns + 1)
    often = np.full(columns + 1, MORE_EDITS)
    often[: len(EDITS)] = EDITS[: columns + 1]
    ways = gammaln(columns + 1) - gammaln(changed + 1) - gammaln(columns - changed + 1)
    return np.asarray(np.log(often) - ways, np.float32)


def _fair(reference: Reference, calibrating: Unheard) -> Reference:
    """Return the reference with draws so unlikely that no client's ratios average more than 1, but for a few odd clients.

    Unchanged for fewer than `LEAST_CLIENTS` clients with `LEAST_LESSONS` different records; then it is judged as if not coarse.
    """
    vectors = reference.complete(calibrating.vectors)
    owner = np.where(np.isnan(vectors).any(axis=1), "", np.asarray(calibrating.clients))
    known = reference.coarse
    found = []
    for client in sorted(set(calibrating.clients)):
        worth = _worths(reference, known, vectors[owner == client])
        if len(worth) >= LEAST_LESSONS:
            found.append(np.clip(worth, -MOST_DRAWN, MOST_DRAWN) + math.log(FAIR))
    if len(found) < LEAST_CLIENTS:
        return replace(reference, **NOT_COARSE)
    drawn = reference.coarse_drawn.copy()
    drawn[:, 0] -= np.float32(max(usual_under(found, 1.0), 0.0))
    return replace(reference, coarse_drawn=drawn)


def _worths(reference: Reference, known: Coarse, vectors: Floats) -> npt.NDArray[np.float64]:
    """Return by how much a draw explains a client's records (n, dimension) better than the population, as logarithms.

    As in the channel, records that differ from an earlier one in one column at most say nothing.
    """
    integers = reference.reduce(np.ascontiguousarray(vectors, np.float32)).c
    levels = np.empty((len(vectors), len(known.count)), np.uint8)
    found = []
    for i, row in enumerate(integers):
        read_levels(row, known, levels[i])
        if (levels[:i] != levels[i]).sum(axis=1).min(initial=len(known.count)) > 1:
            population, drawn = record_chances(levels[i], row, known)
            found.append(drawn - population)
    return np.array(found)
