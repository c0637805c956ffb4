"""Yardsticks: the figures of a population that channels compare a client with, measured when a reference is fitted."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans

from detector.engine.columns import allocate
from detector.engine.evidence.foreign import APART, PAIRS, spread_of_difference
from detector.engine.evidence.select import FIRST, RATE_INNOCENT, Selection, apart, judge_selection, weigh
from detector.engine.features.coverage import WORDS
from detector.engine.memory.reservoir import COORDINATES, SAMPLED
from detector.engine.models.reference import C_LEVELS, C_LOWEST, LANDMARKS, Floats, Reduced, Reference

LESSONS_PER_CLIENT = 64
SHUFFLES = 16
LEAST_LESSONS = 4
LEAST_SPREAD = 0.05
FAIR = 0.5  # largest mean ratio of a benign client: of two such ratios the larger counts, and that may average 1
LEVELLED = 4  # a column has levels if each of its values occurs at least so many times on average
UNFORESEEN = 0.03  # least variance of every direction, as a share of the mean variance of a column
GRID_ROWS = 4000  # rows that are looked at for a grid
GRID_REPEATS = 3  # a level of a grid occurs at least so many times among them
GRID_SHARE = 0.97  # least share of the values that lie on a grid
GRID_SLIP = 0.05  # largest distance of a value from its grid, in steps
COARSEST = 1 / 64  # largest step of a grid, in value ranges
HALF_PRECISION = 2048.0  # what a 16-bit float is exact to, as a part of itself
SLIPS = 4.0  # deviations of rounding that are allowed
MOST_CODES = 3  # values of an indicator: absent and present, or -1, 0 and 1
ON_SPHERE = 0.99  # least share of the inputs that have the length of the sphere
LEAST_LEVELLED = 0.05  # the population has levels if at least this share of the values lies on few of them


def sampled_variance(values: Floats) -> Floats:
    """Return the variance (SAMPLED,) of sampled values in their integer steps, at least that of rounding; 0 beyond the last."""
    variance = np.zeros(SAMPLED, np.float32)
    levels = np.clip(np.rint(values * C_LEVELS) + C_LOWEST, 0.0, 255.0)
    variance[: values.shape[1]] = np.maximum(levels.var(axis=0), 1.0)
    return variance


def kinship_of(centered: Floats, projection: Floats, sampled: npt.NDArray[np.int32], quantum: float) -> Floats:
    """Return the matrix that turns the integers of two queries into the product of their encoded inputs.

    The part of an input that the integers do not determine is predicted from them with the population's covariance (the best
    linear prediction). A little variance in every direction is added; otherwise predictions for foreign queries would be far
    off.
    """
    rows = centered.astype(np.float64)
    measured = np.zeros((COORDINATES + SAMPLED, rows.shape[1]))
    measured[:COORDINATES] = projection.T / quantum
    measured[COORDINATES + np.arange(len(sampled)), sampled] = C_LEVELS
    spare = UNFORESEEN * np.square(rows).mean()
    across = (measured @ rows.T) @ rows / len(rows) + spare * measured
    among = across @ measured.T + np.eye(len(measured)) / 12.0  # rounding to whole steps has this variance
    predicted = np.linalg.solve(among, across)
    return np.asarray(predicted @ predicted.T, np.float32)


def looks_selected(reference: Reference, rows: Reduced, seed: int) -> bool:
    """Tell whether the population's distances are so even that its queries look selected in any order (channel `select`).

    That is so where inputs spread over many directions alike.
    """
    rng = np.random.default_rng(seed)
    weights, products = np.empty(COORDINATES + SAMPLED, np.float32), np.empty(FIRST, np.float32)
    rounded, gaps = np.empty(SAMPLED, np.int32), np.empty(FIRST)
    found = []
    for _ in range(SHUFFLES):
        own = rng.permutation(len(rows.z))[:FIRST]
        z, c, energy = np.ascontiguousarray(rows.z[own].T[None]), rows.c[own][None], rows.energy[own]
        order = np.arange(len(own), dtype=np.uint32)[None]
        state = allocate(Selection, 1)
        for i, row in enumerate(own):
            told = weigh(rows.z[row], rows.c[row], reference.middle, reference.kinship, weights)
            apart(z, c, order, 0, i, energy[None], energy[i], reference.middle, weights, rounded, products, gaps)
            found.append(judge_selection(*state, 0, i, gaps, energy[i], float(abs(energy[i] - told)), reference.neighbour))
    return found.count(1) > 0.5 * RATE_INNOCENT * (found.count(1) + found.count(-1))


def usual_structure(reference: Reference, rows: Reduced, clients: Sequence[str]) -> dict[str, Any]:
    """Return the usual spread of the differences between a client's own queries, and how much that varies.

    At most `LESSONS_PER_CLIENT` queries per client are compared, each with up to four others that are no neighbours. The usual
    spread is that under which the likelihood ratios of the oddest 2% of the clients average `FAIR`, if they are log-normal.
    """
    found = structures_of(reference, rows, clients)
    if len(found) < LEAST_LESSONS:
        return {}
    spread = max(math.sqrt(float(np.mean([own.var() for own in found]))), LEAST_SPREAD)
    oddest = float(np.quantile([own.mean() for own in found], 0.98))
    return {"usual_structure": oddest + (0.5 - math.log(FAIR)) * spread, "structure_spread": spread}


def structures_of(reference: Reference, rows: Reduced, clients: Sequence[str]) -> list[npt.NDArray[np.float64]]:
    """Return the logarithms of the spread of each client's differences, for clients with at least `LEAST_LESSONS` of them."""
    found = []
    owner = np.asarray(clients)
    total = float(reference.c_variance.sum())
    columns = np.ascontiguousarray(rows.z.T)  # the memory's layout, for which the kernel is compiled
    for client in sorted(set(clients)):
        own = np.flatnonzero(owner == client)[:LESSONS_PER_CLIENT]
        told = []
        for place in range(1, len(own)):
            others = own[[place * k // (PAIRS + 1) for k in range(PAIRS)]]
            apart = rows.z[others].astype(np.float64) - rows.z[own[place]]
            others = others[np.sqrt(np.square(apart).sum(axis=1)) * reference.unit >= APART]
            spreads = [spread_of_difference(rows.c[own[place]], rows.c[m], reference.c_variance, total) for m in others]
            if reference.table and spreads:
                whole = float(reference.variance.sum())
                across = [spread_of_difference(rows.z[own[place]], columns[:, m], reference.variance, whole) for m in others]
                spreads = [float(np.mean(spreads)) * float(np.mean(across))]
            if spreads and total > 0.0:
                told.append(math.log(max(float(np.mean(spreads)), 1e-6)))
        if len(told) >= LEAST_LESSONS:
            found.append(np.array(told))
    return found


def blur_of(numbers: Floats, projection: Floats, *, common: bool) -> float:
    """Return the expected squared distance between the rounded middle of two rounded queries and their middle, projected.

    `numbers` (n, dimension) are encoded values and `projection` (dimension, COORDINATES) is theirs. Each rounding to a grid of
    step q has the variance q^2/12; the query's own counts once, those of the two ends a quarter each. With a `common` scale all
    columns share one grid. 0 where values are continuous.
    """
    sample = numbers[:: max(1, len(numbers) // GRID_ROWS)]
    if common:
        steps = np.full(numbers.shape[1], grid_step(sample.ravel()))
    else:
        steps = np.array([grid_step(column) for column in sample.T])
    return float(1.5 / 12.0 * (np.square(projection).sum(axis=1) * np.square(steps)).sum())


def grid_step(values: npt.NDArray[np.floating]) -> float:
    """Return the step of the grid on which the values of nearly all queries lie, 0 where there is none finer than `COARSEST`.

    A grid so coarse is not one of the wire: clients that look coarser than others would blur the queries of those.

    >>> round(grid_step((np.random.default_rng(0).integers(0, 256, 5000) / 255).astype(np.float32)), 5)
    0.00392
    >>> grid_step(np.random.default_rng(0).random(5000).astype(np.float32))
    0.0
    """
    levels, counts = np.unique(np.round(values, 6), return_counts=True)
    common = levels[counts >= GRID_REPEATS]
    if len(common) < GRID_REPEATS:
        return 0.0
    gaps = np.diff(common)
    for step in np.unique(np.quantile(gaps, [0.0, 0.02, 0.1, 0.5])):
        if not GRID_SLIP * 1e-3 < step <= COARSEST:
            continue
        # The step is known to a millionth; over all levels that adds up, so it is fitted to the widest pair.
        fitted = (common[-1] - common[0]) / max(np.rint((common[-1] - common[0]) / step), 1.0)
        away = np.abs((values - common[0]) / fitted - np.rint((values - common[0]) / fitted))
        if np.mean(away < GRID_SLIP) >= GRID_SHARE:
            return float(fitted)
    return 0.0


def sphere_of(vectors: Floats) -> float:
    """Return the length of all vectors (n, dimension) where they have one length up to rounding, else 0.

    If values are rounded to steps of q, the length deviates by q / sqrt(12), and it grows by dimension * q^2 / 24 over the
    length. Without a grid, values may have 16-bit floats, which are exact to 1 part in 2,048. Indicators of categories make
    rows of one length as well, but are no sphere: no column has more than three values.

    >>> rows = np.random.default_rng(0).normal(size=(500, 64)).astype(np.float32)
    >>> round(sphere_of(3.0 * rows / np.linalg.norm(rows, axis=1, keepdims=True)), 3), sphere_of(rows)
    (3.0, 0.0)
    """
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    length = float(np.median(lengths))
    if length == 0.0 or not math.isfinite(length):
        return 0.0
    step = grid_step(vectors[:: max(1, len(vectors) // GRID_ROWS)].ravel().astype(np.float64) / length) * length
    rounding = step / math.sqrt(12.0) + vectors.shape[1] * step**2 / (24.0 * length) + length / HALF_PRECISION
    away = np.abs(lengths - length)
    if not float(np.quantile(away, ON_SPHERE)) <= SLIPS * rounding:
        return 0.0
    on_sphere = vectors[away <= SLIPS * rounding]
    return length if any(len(np.unique(column)) > MOST_CODES for column in on_sphere.T) else 0.0


def levels_of(numbers: Floats, projection: Floats, kept: npt.NDArray[np.intp], quantum: float) -> Floats:
    """Return the least distance between two values in each coordinate (COORDINATES,), in steps; 0 where hardly any repeats.

    The first coordinates are the columns `kept` of the `numbers` (n, dimension). Each other one is a sum over several columns
    (`projection`, (dimension, COORDINATES)). It has no levels, but the rounding of those columns; nearly all of that lies
    within half of what is returned.
    """
    found = np.zeros(COORDINATES, np.float32)
    for k, column in enumerate(kept.tolist()):
        levels = np.unique(numbers[:, column])
        if 1 < len(levels) < len(numbers) / LEVELLED:
            found[k] = np.diff(levels).min() / quantum
    shared = np.setdiff1d(np.arange(numbers.shape[1]), kept)
    if len(kept) > 0 and len(shared) > 0:
        sample = numbers[:: max(1, len(numbers) // GRID_ROWS)]
        steps = np.array([grid_step(sample[:, column]) for column in shared])
        variance = 1.5 / 12.0 * np.square(projection[shared, len(kept) :]).T @ np.square(steps)
        found[len(kept) :] = 2.0 * SLIPS * np.sqrt(variance) / quantum
    return found


def landmarks_of(points: Floats, seed: int) -> Floats:
    """Return the centres (COORDINATES, LANDMARKS) of the population; fewer different points than centres are repeated."""
    points = np.unique(points, axis=0)
    if len(points) <= LANDMARKS:
        return np.ascontiguousarray(np.resize(points, (LANDMARKS, points.shape[1])).T, np.float32)
    chosen = points[np.random.default_rng(seed).permutation(len(points))[:4000]]
    centres = KMeans(LANDMARKS, n_init=1, random_state=0, max_iter=30).fit(chosen).cluster_centers_
    return np.ascontiguousarray(centres.T, np.float32)


def grain_of(values: Floats) -> float:
    """Return the size of one level of the values, or 0 when they look continuous.

    There are levels when a few values make up at least `LEAST_LEVELLED` of the data. The two ends do not count, since clipping
    accumulates values there. The share is small, since most clients may have continuous values.
    """
    if values.size == 0:
        return 0.0
    inner = np.sort(values[(values > values.min()) & (values < values.max())])
    if len(inner) == 0:
        return 0.0
    levels, counts = np.unique(inner, return_counts=True)
    popular = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts >= max(0.001 * len(inner), 2))]
    covered = np.cumsum(counts[popular])
    if len(popular) < 3 or covered[-1] < LEAST_LEVELLED * len(inner):
        return 0.0
    # The rarest fifth is left out, so that a client that repeats a few values of its own does not make levels.
    common = popular[: max(int(np.searchsorted(covered, 0.8 * covered[-1])), 3)]
    return float(np.median(np.diff(np.sort(levels[common]))))


def median_nearest(reduced: Floats, rng: np.random.Generator) -> float:
    """Return the median distance of a point to its nearest other point, among at most 1,000 of them."""
    points = np.unique(reduced, axis=0)
    points = points[rng.permutation(len(points))[:1000]].astype(np.float64)
    squares = np.square(points).sum(axis=1)
    between = np.maximum(squares[:, None] + squares[None] - 2.0 * points @ points.T, 0.0)
    np.fill_diagonal(between, np.inf)
    return max(float(np.median(np.sqrt(between.min(axis=1)))), 1e-6)


def known_cells(rows: Reduced) -> dict[str, Any]:
    """Return the cells where the population lives and their number, as fields of a reference."""
    cells = np.unique(rows.cell)
    known = np.zeros(WORDS, np.uint64)
    for cell in cells:
        known[cell >> 6] |= np.uint64(1) << np.uint64(cell & 63)
    return {"known_cells": known, "known_count": len(cells)}
