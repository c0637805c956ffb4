"""The reference: how raw inputs become the few integers that the engine remembers.

Fitted once per model on benign queries (or, without a baseline, on the first queries of the stream):

1. *Scale.* Where all columns share one range, as pixels do, one scale serves all, or a flat step would look uneven. Columns of
   different units are scaled each by its own range. Categorical columns become indicators.
2. *Project.* Sixteen principal directions and eight random directions of what they leave over (Johnson and Lindenstrauss,
   1984), so that distances survive also for queries that are foreign to the population. Inputs of up to 24 columns are kept
   as they are.
3. *Sample.* A secret seed picks raw columns, among those that vary, whose values are kept beside the projection.
4. *Round* to 16-bit integers with twofold headroom, sampled columns to 8 bits with a tenth; larger values saturate.

The sums run in a fixed order, row by row, so a query gets the same integers in a batch of one and in a batch of a thousand.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from detector.engine.evidence.foreign import APART, PAIRS, spread_of_difference
from detector.engine.evidence.select import FIRST, LAYOUT, RATE_INNOCENT, Selection, apart, judge_selection, weigh
from detector.engine.features.coverage import PLANES, WORDS
from detector.engine.kernels import kernel
from detector.engine.memory.checksums import add_up, weights_of
from detector.engine.memory.reservoir import COORDINATES, SAMPLED
from detector.engine.models import cooccurrence
from detector.engine.models.cooccurrence import Cooccurrence, fit_cooccurrence, nothing_known
from detector.errors import BaselineError

PRINCIPAL = 16
C_LEVELS = 212.0  # of sampled values within the value range; what remains of 256 is headroom on both sides
C_LOWEST = 21.0
C_HIGHEST = C_LOWEST + C_LEVELS
C_UNIT = 1.0 / C_LEVELS
LANDMARKS = 64
LEAST_ROWS = 32
MISSING_BELOW = 0.25
MOST_CATEGORIES = 32
RAREST = 1e-4  # variance of the indicator of a category that is worth keeping
LESSONS_PER_CLIENT = 64
SHUFFLES = 16
LEAST_LESSONS = 4
LEAST_SPREAD = 0.05
MOST_NUMBERS = 16  # of a table, that keep a coordinate each
LEVELLED = 4  # times each value of a column occurs, on average, where it has levels
UNFORESEEN = 0.03  # of the mean variance of a column, which every direction has at least
TOGETHER = "cooccurrence"  # the one field that is no array
LEAST_LEVELLED = 0.05  # share of the values that lie on few levels, where the population has them

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Reference:
    """How one model's inputs are reduced, and the population's yardsticks.

    `offset` and `scale` (dimension,) bring raw columns to value ranges; `missing` (dimension,) stands for missing values,
    which are values of their own in tables; `categories` (columns, MOST_CATEGORIES) are the known codes of the columns
    `categorical`, NaN-padded; `sampled` are the encoded columns whose values are kept, the first `measured` of them numeric
    and the others indicators; `center` and `projection` (encoded, COORDINATES) reduce; `quantum` is the size of one integer
    step, `unit` that of one step in median nearest-neighbour distances. `tolerance` is how far off a line a point may lie
    for the evidence of bisecting; `grain` the size of one level of the values where they have levels, in value ranges, else
    0. `known_cells` marks the cells where the population lives, `landmarks` (COORDINATES, landmarks) are centres of it and
    `variance` (COORDINATES,) its variance, all in integer steps; `c_variance` (SAMPLED,) is that of the sampled values in
    theirs. `kinship` (COORDINATES + SAMPLED, the same) turns the integers of two queries into the product of their encoded
    inputs, as far as it is determined; `neighbour` is the median nearest-neighbour distance, in value ranges, or infinite
    where queries of the population look selected in any order. `usual_structure` and `structure_spread` say what the
    channel `foreign` may expect of benign clients, NaN where it is not known whose the queries are. In tables the first
    `numbers` coordinates are numeric columns, and `level` (COORDINATES,) is how far apart their values lie at least, in
    integer steps, 0 where they are continuous; `cooccurrence` is what the channel `cooccur` knows, nothing where `foreign`
    knows nothing.
    """

    offset: Floats
    scale: Floats
    missing: Floats
    categorical: npt.NDArray[np.int32]
    categories: Floats
    center: Floats
    projection: Floats
    sampled: npt.NDArray[np.int32]
    measured: int
    quantum: float
    unit: float
    tolerance: float
    grain: float
    principal: int
    off_median: float
    planes: Floats
    plane_offset: Floats
    known_cells: npt.NDArray[np.uint64]
    known_count: int
    labels: int
    variance: Floats
    c_variance: Floats
    kinship: Floats
    neighbour: float
    usual_structure: float
    structure_spread: float
    landmarks: Floats
    numbers: int
    level: Floats
    cooccurrence: Cooccurrence

    @property
    def dimension(self) -> int:
        """Number of raw input columns."""
        return len(self.offset)

    @property
    def table(self) -> bool:
        """Whether each column means something of its own, as in a table, rather than a place among others, as a pixel does."""
        return self.numbers > 0 or len(self.categorical) > 0

    @property
    def summed(self) -> bool:
        """Whether queries are remembered with checksums, since not all of their values are sampled."""
        return not self.table and self.dimension > len(self.sampled)

    @property
    def middle(self) -> Floats:
        """The population's mean (SAMPLED,) of the sampled values, in their integer steps."""
        middle = np.zeros(SAMPLED, np.float32)
        middle[: len(self.sampled)] = self.center[self.sampled] * C_LEVELS + C_LOWEST
        return middle

    @property
    def fingerprint(self) -> str:
        """Eight bytes, in hex, that differ when anything that gives the integers their meaning differs."""
        digest = hashlib.sha256()
        for array in to_arrays(self).values():
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def reduce(self, vectors: Floats) -> "Reduced":
        """Reduce raw inputs of shape (n, dimension), in blocks small enough for the processor's cache."""
        n = len(vectors)
        z = np.empty((n, COORDINATES), np.int16)
        c = np.zeros((n, SAMPLED), np.uint8)
        cell = np.empty(n, np.int64)
        off, landmark, energy = np.empty((3, n), np.float32)
        encoded = encode(vectors, self.offset, self.scale, self.categorical, self.categories)
        reduce_rows(
            encoded,
            self.center,
            self.projection,
            self.quantum,
            self.principal,
            self.off_median,
            self.planes,
            self.plane_offset,
            self.sampled,
            self.landmarks,
            self.unit,
            z,
            c,
            cell,
            off,
            landmark,
            energy,
        )
        sums = np.empty((n if self.summed else 0, 2), np.uint32)
        if self.summed:
            add_up(encoded, weights_of(self.dimension)[0], sums)
        return Reduced(z, c, cell, off, landmark, energy, sums)


@dataclass(frozen=True, slots=True)
class Reduced:
    """Reduced queries: `z` and `c` for the memory, `cell`, `off` and `landmark` for coverage; n entries each.

    `energy` is the squared distance from the population's center, before anything was left out; `sums` (n, 2) are the
    checksums, without rows where none are kept.
    """

    z: npt.NDArray[np.int16]
    c: npt.NDArray[np.uint8]
    cell: npt.NDArray[np.int64]
    off: Floats
    landmark: Floats
    energy: Floats
    sums: npt.NDArray[np.uint32]


def encode(vectors: Floats, offset: Floats, scale: Floats, categorical: npt.NDArray[np.int32], categories: Floats) -> Floats:
    """Scale the columns and replace categorical ones by indicators; unknown categories have none set."""
    with np.errstate(over="ignore"):
        scaled = (vectors - offset) * scale
    # Far beyond any range the exact value says nothing, and squares of it would overflow.
    np.clip(scaled, -1e6, 1e6, out=scaled)
    if len(categorical) == 0:
        return scaled
    indicators = vectors[:, categorical, None] == categories[None]
    scaled[:, categorical] = 0.0
    known = indicators.reshape(len(vectors), -1).astype(np.float32)
    return np.concatenate([scaled, known * np.float32(np.sqrt(0.5))], axis=1)


@kernel
def reduce_rows(
    encoded,
    center,
    projection,
    quantum,
    principal,
    off_median,
    planes,
    plane_offset,
    sampled,
    landmarks,
    unit,
    z,
    c,
    cell,
    off,
    landmark,
    energy,
):
    width = z.shape[1]
    row = np.empty(width, np.float32)
    squares = np.empty(landmarks.shape[1], np.float32)
    for i in range(encoded.shape[0]):
        row[:] = 0.0
        total = 0.0
        for d in range(encoded.shape[1]):
            x = encoded[i, d] - center[d]
            total += np.float64(x) * x
            for k in range(width):
                row[k] += x * projection[d, k]
        energy[i] = total
        inside = 0.0
        for k in range(width):
            if k < principal:
                inside += np.float64(row[k]) * row[k]
            z[i, k] = np.int16(min(max(np.rint(row[k] / quantum), -32767.0), 32767.0))
        outside = np.sqrt(max(total - inside, 0.0))
        off[i] = np.log((outside + 0.01 * off_median) / (1.01 * off_median)) if off_median > 0.0 else 0.0
        where = 0
        for p in range(planes.shape[0]):
            side = np.float32(0.0)
            for k in range(width):
                side += row[k] * planes[p, k]
            where = 2 * where + (side > plane_offset[p])
        cell[i] = where
        squares[:] = 0.0
        for k in range(width):
            for m in range(squares.shape[0]):
                d = landmarks[k, m] - np.float32(z[i, k])
                squares[m] += d * d
        nearest = squares[0]
        for m in range(1, squares.shape[0]):
            nearest = min(nearest, squares[m])
        landmark[i] = np.log(max(np.sqrt(nearest) * unit, 1e-3))
        for j in range(sampled.shape[0]):
            c[i, j] = np.uint8(min(max(np.rint(encoded[i, sampled[j]] * C_LEVELS) + C_LOWEST, 0.0), 255.0))


def fit_reference(
    vectors: Floats,
    labels: int,
    *,
    seed: int,
    categorical: Sequence[int] = (),
    clients: Sequence[str] | None = None,
    common_scale: bool | None = None,
) -> Reference:
    """Fit a reference on benign queries of shape (n, dimension).

    `labels` is how many different labels the population was given; `seed` is the operator's secret; `common_scale` forces
    one scale for all columns (True) or one for each (False), and by default is judged from the ranges. Columns of different
    scales make a table, and so do up to 48 of one scale, unless it was forced: tables are often standardised before they reach
    the model. `clients` (n,) says whose each query is; without it the channels `foreign` and `cooccur` stay silent.

    Raises `BaselineError` for fewer than 32 queries, or when no column varies.
    """
    dimension = vectors.shape[1]
    rng = np.random.default_rng(seed)
    codes = np.asarray(sorted(categorical), np.int32)
    if len(codes) and (codes[0] < 0 or codes[-1] >= dimension):
        raise BaselineError(f"categorical column {codes[-1]} does not exist: inputs have {dimension} columns")
    numeric = np.setdiff1d(np.arange(dimension), codes)
    missing = missing_values(vectors)
    gaps = np.isnan(vectors)
    if gaps.any():
        if _is_table(*_ranges(np.where(gaps, missing, vectors), numeric, common_scale), codes, common_scale):
            vectors = np.where(gaps, missing, vectors)
        else:
            whole = np.asarray(~gaps.any(axis=1))
            vectors = vectors[whole]
            clients = None if clients is None else [client for client, kept in zip(clients, whole, strict=True) if kept]
    n = len(vectors)
    if n < LEAST_ROWS:
        raise BaselineError(f"{n} queries are too few to learn the input space from; at least {LEAST_ROWS} are needed")
    offset, scale = _ranges(vectors, numeric, common_scale)
    categories = np.full((len(codes), MOST_CATEGORIES), np.nan, np.float32)
    for q, column in enumerate(codes):
        values, counts = np.unique(vectors[:, column], return_counts=True)
        commonest = values[np.argsort(-counts, kind="stable")[:MOST_CATEGORIES]]
        categories[q, : len(commonest)] = commonest
    encoded = encode(vectors, offset, scale, codes, categories)
    center = np.clip(encoded, -8, 8).mean(axis=0, dtype=np.float64).astype(np.float32)
    centered = np.clip(encoded, -8, 8) - center
    variance = centered.var(axis=0, dtype=np.float64)
    if not np.any(variance > 0):
        raise BaselineError("all queries are the same: there is no input space to learn")
    table = _is_table(offset, scale, codes, common_scale)
    kept = _kept_numbers(variance[:dimension], numeric) if table else np.zeros(0, np.intp)
    projection, principal = _directions(centered, kept, rng)
    reduced = centered @ projection
    quantum = float(2.0 * max(np.abs(reduced).max(), 1e-6) / 32767.0)
    # In whole steps, as they are remembered: equal queries may differ in the last bit of a product of matrices.
    steps = np.rint(reduced / quantum)
    nearest = quantum * _median_nearest(steps, rng)
    spectrum = np.sort(reduced.var(axis=0))[::-1]
    intrinsic = float(spectrum.sum() ** 2 / np.square(spectrum).sum())
    outside = np.sqrt(np.maximum(np.square(centered).sum(axis=1) - np.square(reduced[:, :principal]).sum(axis=1), 0.0))
    planes = rng.standard_normal((PLANES, COORDINATES)).astype(np.float32)
    sides = reduced @ planes.T
    plane_offset = np.median(sides, axis=0).astype(np.float32)
    varying = numeric[variance[numeric] > 0.05 * variance[numeric].max(initial=0.0)] if len(numeric) else numeric
    measured = np.sort(rng.permutation(varying)[:SAMPLED]).astype(np.int32)
    indicators = dimension + np.flatnonzero(variance[dimension:] > RAREST)
    sampled = np.concatenate([measured, np.sort(rng.permutation(indicators)[: SAMPLED - len(measured)])]).astype(np.int32)
    reference = Reference(
        offset=offset,
        scale=scale,
        missing=missing,
        categorical=codes,
        categories=categories,
        center=center,
        projection=projection,
        sampled=sampled,
        measured=len(measured),
        quantum=quantum,
        unit=quantum / nearest,
        tolerance=0.05 if intrinsic >= 6 else 0.01,
        grain=_grain(encoded[:, measured]),
        principal=principal,
        off_median=float(np.median(outside)) if np.median(outside) > 1e-3 * np.sqrt(variance.sum()) else 0.0,
        planes=planes,
        plane_offset=plane_offset,
        known_cells=np.zeros(WORDS, np.uint64),
        known_count=0,
        labels=labels,
        variance=(reduced.var(axis=0) / quantum**2).astype(np.float32),
        c_variance=_sampled_variance(encoded[:, sampled]),
        kinship=_kinship(centered, projection, sampled, quantum),
        neighbour=nearest,
        usual_structure=math.nan,
        structure_spread=math.nan,
        landmarks=_landmarks(steps, seed),
        numbers=len(kept),
        level=_levels(encoded[:, kept], quantum),
        cooccurrence=nothing_known(),
    )
    reduced_rows = reference.reduce(vectors)
    known = _known_cells(reduced_rows)
    if _looks_selected(reference, reduced_rows, seed):
        known |= {"neighbour": math.inf}
    if clients is not None:
        known |= _usual_structure(reference, reduced_rows, clients)
        if reference.table:
            known["cooccurrence"] = fit_cooccurrence(vectors, codes.tolist(), clients, seed=seed)
    return replace(reference, **known)


def missing_values(vectors: Floats) -> Floats:
    """Return what stands for a missing value in each column of (n, dimension): a quarter of the range below the lowest value.

    So far away that no other value is taken for it, and near enough to leave distances what they are.

    >>> missing_values(np.array([[0.0, 5.0], [4.0, np.nan], [2.0, 5.0]], np.float32)).tolist()
    [-1.0, 3.75]
    """
    gaps = np.isnan(vectors)
    low = np.where(gaps, np.inf, vectors).min(axis=0, initial=np.inf).astype(np.float64)
    high = np.where(gaps, -np.inf, vectors).max(axis=0, initial=-np.inf).astype(np.float64)
    low, high = np.where(np.isfinite(low), low, 0.0), np.where(np.isfinite(high), high, 0.0)
    away = np.where(high > low, MISSING_BELOW * (high - low), np.maximum(MISSING_BELOW * np.abs(low), 1.0))
    return np.asarray(np.clip(low - away, -1e38, 1e38), np.float32)


def _is_table(offset: Floats, scale: Floats, codes: npt.NDArray[np.int32], common_scale: bool | None) -> bool:
    """Tell whether columns with these ranges make a table; few columns do, whatever their ranges, unless one was forced."""
    few = common_scale is None and len(offset) <= SAMPLED
    return few or len(codes) > 0 or bool(np.any(scale != scale[0]))


def _sampled_variance(values: Floats) -> Floats:
    """Return the variance (SAMPLED,) of sampled values in their integer steps, at least that of rounding; 0 beyond the last."""
    variance = np.zeros(SAMPLED, np.float32)
    levels = np.clip(np.rint(values * C_LEVELS) + C_LOWEST, 0.0, 255.0)
    variance[: values.shape[1]] = np.maximum(levels.var(axis=0), 1.0)
    return variance


def _kinship(centered: Floats, projection: Floats, sampled: npt.NDArray[np.int32], quantum: float) -> Floats:
    """Return the matrix that turns the integers of two queries into the product of their encoded inputs.

    What the integers leave open of an input is guessed from them by the population's covariance (the best linear prediction),
    to which a little of every direction is added, or a foreign query would be guessed wildly.
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


def _looks_selected(reference: Reference, rows: Reduced, seed: int) -> bool:
    """Tell whether the population's distances are so even that the channel `select` would see selections in any order.

    So they are where inputs are spread over many directions alike.
    """
    rng = np.random.default_rng(seed)
    weights, products = np.empty(COORDINATES + SAMPLED, np.float32), np.empty(FIRST, np.float32)
    rounded, gaps = np.empty(SAMPLED, np.int32), np.empty(FIRST)
    found = []
    for _ in range(SHUFFLES):
        own = rng.permutation(len(rows.z))[:FIRST]
        z, c, energy = np.ascontiguousarray(rows.z[own].T[None]), rows.c[own][None], rows.energy[own]
        order = np.arange(len(own), dtype=np.uint32)[None]
        state = Selection(**{name: np.zeros((1, *shape), kind) for name, (kind, shape) in LAYOUT.items()})
        for i, row in enumerate(own):
            told = weigh(rows.z[row], rows.c[row], reference.middle, reference.kinship, weights)
            apart(z, c, order, 0, i, energy[None], energy[i], reference.middle, weights, rounded, products, gaps)
            found.append(judge_selection(*state, 0, i, gaps, energy[i], abs(energy[i] - told), reference.neighbour))
    return found.count(1) > 0.5 * RATE_INNOCENT * (found.count(1) + found.count(-1))


def _usual_structure(reference: Reference, rows: Reduced, clients: Sequence[str]) -> dict[str, Any]:
    """Return what the differences between a client's own queries are like: for nearly all clients, and how much that varies.

    Of each client at most `LESSONS_PER_CLIENT` queries are compared, each with up to four others that are no neighbours.
    """
    means = []
    variances = []
    owner = np.asarray(clients)
    total = float(reference.c_variance.sum())
    for client in sorted(set(clients)):
        own = np.flatnonzero(owner == client)[:LESSONS_PER_CLIENT]
        found = []
        for place in range(1, len(own)):
            others = own[[place * k // (PAIRS + 1) for k in range(PAIRS)]]
            apart = rows.z[others].astype(np.float64) - rows.z[own[place]]
            others = others[np.sqrt(np.square(apart).sum(axis=1)) * reference.unit >= APART]
            spreads = [spread_of_difference(rows.c[own[place]], rows.c[m], reference.c_variance, total) for m in others]
            if reference.table and spreads:
                whole = float(reference.variance.sum())
                across = [spread_of_difference(rows.z[own[place]], rows.z[m], reference.variance, whole) for m in others]
                spreads = [float(np.mean(spreads)) * float(np.mean(across))]
            if spreads and total > 0.0:
                found.append(math.log(max(float(np.mean(spreads)), 1e-6)))
        if len(found) >= LEAST_LESSONS:
            means.append(float(np.mean(found)))
            variances.append(float(np.var(found)))
    if len(means) < LEAST_LESSONS:
        return {}
    spread = max(math.sqrt(float(np.mean(variances))), LEAST_SPREAD)
    return {"usual_structure": float(np.quantile(means, 0.98)) + 0.5 * spread, "structure_spread": spread}


def _ranges(vectors: Floats, numeric: npt.NDArray[np.intp], common_scale: bool | None) -> tuple[Floats, Floats]:
    """Return what to subtract from and multiply each raw column by."""
    dimension = vectors.shape[1]
    vectors = np.clip(vectors, -1e38, 1e38)  # or differences would overflow
    low, middle, high = np.quantile(vectors, [0.005, 0.5, 0.995], axis=0)
    spread = high - low
    offset = np.zeros(dimension)
    scale = np.ones(dimension)
    varying = numeric[spread[numeric] > 0]
    if len(varying) == 0:
        # Quantiles of a nearly constant column coincide; its rare values still span a range.
        spread = np.ptp(vectors, axis=0)
        varying = numeric[spread[numeric] > 0]
    if len(varying) == 0:
        return offset.astype(np.float32), scale.astype(np.float32)
    whole = max(high[varying].max() - low[varying].min(), spread[varying].max())
    common = np.median(spread[varying]) > 0.25 * whole if common_scale is None else common_scale
    if common:
        offset[numeric] = low[varying].min()
        scale[numeric] = 1.0 / whole
    else:
        offset[numeric] = middle[numeric]
        scale[varying] = 1.0 / spread[varying]
        rest = np.setdiff1d(numeric, varying)
        scale[rest] = 1.0 / max(float(np.median(spread[varying])), 1e-30)
    return offset.astype(np.float32), np.minimum(scale, 3e38).astype(np.float32)


def _kept_numbers(variance: npt.NDArray[np.float64], numeric: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Return the numeric columns of a table that keep a coordinate of their own: those that vary most, in their order."""
    varying = numeric[variance[numeric] > 0]
    return np.sort(varying[np.argsort(-variance[varying], kind="stable")[:MOST_NUMBERS]])


def _directions(centered: Floats, kept: npt.NDArray[np.intp], rng: np.random.Generator) -> tuple[Floats, int]:
    """Return the projection (encoded, COORDINATES) and how many of its columns are principal directions.

    The columns `kept` have the first coordinates to themselves; the others share what remains.
    """
    width = centered.shape[1]
    projection = np.zeros((width, COORDINATES))
    own = len(kept)
    projection[kept, np.arange(own)] = 1.0
    shared = np.setdiff1d(np.arange(width), kept)
    room = COORDINATES - own
    if len(shared) <= room:
        projection[shared, own + np.arange(len(shared))] = 1.0
        return projection.astype(np.float32), width
    rest = centered[:, shared]
    principal = min(PRINCIPAL * room // COORDINATES, len(centered) - 1) if rest.any() else 0
    solver = "full" if len(shared) <= 512 else "randomized"
    seed = int(rng.integers(2**31))
    axes = np.zeros((0, len(shared)))
    if principal > 0:  # what never varied has no directions of its own
        axes = PCA(n_components=principal, svd_solver=solver, random_state=seed).fit(rest).components_
    sketch = rng.standard_normal((len(shared), room - principal)) / np.sqrt(room - principal)
    projection[shared, own : own + principal] = axes.T
    projection[shared, own + principal :] = sketch - axes.T @ (axes @ sketch)
    return projection.astype(np.float32), own + principal


def _levels(values: Floats, quantum: float) -> Floats:
    """Return how far apart the values of each column (n, columns) lie at least, in steps, 0 where nearly each is another."""
    found = np.zeros(COORDINATES, np.float32)
    for k in range(values.shape[1]):
        levels = np.unique(values[:, k])
        if 1 < len(levels) < len(values) / LEVELLED:
            found[k] = np.diff(levels).min() / quantum
    return found


def _landmarks(points: Floats, seed: int) -> Floats:
    """Return the centres (COORDINATES, LANDMARKS) of the population; fewer different points are repeated."""
    points = np.unique(points, axis=0)
    if len(points) <= LANDMARKS:
        return np.ascontiguousarray(np.resize(points, (LANDMARKS, points.shape[1])).T, np.float32)
    chosen = points[np.random.default_rng(seed).permutation(len(points))[:4000]]
    centres = KMeans(LANDMARKS, n_init=1, random_state=0, max_iter=30).fit(chosen).cluster_centers_
    return np.ascontiguousarray(centres.T, np.float32)


def _grain(values: Floats) -> float:
    """Return the size of one level of the values, or 0 when they look continuous.

    Values are levels when, leaving aside the two ends where clipping piles them up, a few of them make up a good part of the
    data; clients whose values have no levels are often more.
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
    # A client that repeats a few values of its own must not pass for levels, so the rarest fifth is left out.
    common = popular[: max(int(np.searchsorted(covered, 0.8 * covered[-1])), 3)]
    return float(np.median(np.diff(np.sort(levels[common]))))


def _median_nearest(reduced: Floats, rng: np.random.Generator) -> float:
    """Return the median distance of a point to its nearest other point, among at most 1,000 of them."""
    points = np.unique(reduced, axis=0)
    points = points[rng.permutation(len(points))[:1000]].astype(np.float64)
    squares = np.square(points).sum(axis=1)
    between = np.maximum(squares[:, None] + squares[None] - 2.0 * points @ points.T, 0.0)
    np.fill_diagonal(between, np.inf)
    return max(float(np.median(np.sqrt(between.min(axis=1)))), 1e-6)


def _known_cells(rows: Reduced) -> dict[str, Any]:
    cells = np.unique(rows.cell)
    known = np.zeros(WORDS, np.uint64)
    for cell in cells:
        known[cell >> 6] |= np.uint64(1) << np.uint64(cell & 63)
    return {"known_cells": known, "known_count": len(cells)}


def to_arrays(reference: Reference) -> dict[str, npt.NDArray[np.generic]]:
    """Return the reference as named arrays, for ``numpy.savez``."""
    own = {field.name: np.asarray(getattr(reference, field.name)) for field in fields(reference) if field.name != TOGETHER}
    together = cooccurrence.to_arrays(reference.cooccurrence)
    return own | {f"{TOGETHER}.{name}": array for name, array in together.items()}


def from_arrays(arrays: Mapping[str, npt.NDArray[np.generic]]) -> Reference:
    """Rebuild a reference from `to_arrays`.

    Raises `BaselineError` when an array is missing.
    """
    parts: dict[str, Any] = {}
    for field in fields(Reference):
        if field.name == TOGETHER:
            continue
        if field.name not in arrays:
            raise BaselineError(f"the reference lacks {field.name!r}")
        value = arrays[field.name]
        parts[field.name] = value.item() if value.ndim == 0 else np.ascontiguousarray(value)
    try:
        parts[TOGETHER] = cooccurrence.from_arrays(
            {name.removeprefix(f"{TOGETHER}."): array for name, array in arrays.items() if name.startswith(f"{TOGETHER}.")}
        )
    except KeyError as error:
        raise BaselineError(f"the reference lacks {f'{TOGETHER}.{error.args[0]}'!r}") from error
    return Reference(**parts)
