"""Fitting the reference: ranges, directions and sampled columns of a model's inputs; `models.reference` says what they mean."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA

from detector.engine.evidence.children import NUMBERS
from detector.engine.evidence.drawn import none_drawn
from detector.engine.evidence.tone import NOISE
from detector.engine.features.coverage import PLANES, WORDS
from detector.engine.fitting.cooccurrence import fit_cooccurrence
from detector.engine.fitting.remote import usual_remote
from detector.engine.fitting.rounding import rounding_of_jpeg
from detector.engine.fitting.stray import lessons_of, usual_stray
from detector.engine.fitting.yardsticks import (
    blur_of,
    grain_of,
    kinship_of,
    known_cells,
    landmarks_of,
    levels_of,
    looks_selected,
    median_nearest,
    sampled_variance,
    sphere_of,
    usual_structure,
)
from detector.engine.memory.reservoir import COORDINATES, SAMPLED
from detector.engine.models.cooccurrence import nothing_known
from detector.engine.models.encoding import encode
from detector.engine.models.reference import (
    ALWAYS,
    MOST_CATEGORIES,
    NEVER_REMOTE,
    NO_BLOCKS,
    NO_BLURS,
    NO_LEADING,
    NO_NOISE,
    NO_SIGHTS,
    NOT_COARSE,
    Floats,
    Reference,
    drawn_fields,
)
from detector.errors import BaselineError

PRINCIPAL = 16
LEAST_ROWS = 32
MISSING_BELOW = 0.25
RAREST = 1e-4  # least variance of the indicator of a category that is sampled
LEAST_DIMENSIONS = 6.0  # participation ratio of the spectrum below which points lie on lines by accident
WIDE_TOLERANCE = 0.12


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

    `labels` is how many different labels the population was given; `seed` is the operator's secret. `common_scale` forces one
    scale for all columns (True) or one for each (False); None decides it from the ranges. Columns of different scales make a
    table. Up to 48 columns of one scale make a table, too, unless the scale was forced, since tables are often standardised
    before they reach the model. `clients` (n,) says whose each query is; without it the channels `foreign` and `cooccur` stay
    silent.

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
    sphere = sphere_of(vectors)
    if common_scale is None and dimension > COORDINATES and not len(codes) and sphere > 0.0:
        common_scale = True  # values of vectors of one length have one unit, however few and however unequal their ranges
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
    # In whole steps, as the memory keeps them: equal queries may differ in the last bit of a matrix product.
    steps = np.rint(reduced / quantum)
    nearest = quantum * median_nearest(steps, rng)
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
        tolerance=_tolerance(intrinsic, dimension, codes),
        blurs=NO_BLURS,
        blocks=NO_BLOCKS,
        rounding=NOISE,
        blur=blur_of(encoded[:, :dimension], projection[:dimension], common=bool(np.all(scale == scale[0]))) / quantum**2,
        sphere=0.0 if table else sphere,
        grain=grain_of(encoded[:, measured]),
        principal=principal,
        off_median=float(np.median(outside)) if np.median(outside) > 1e-3 * np.sqrt(variance.sum()) else 0.0,
        planes=planes,
        plane_offset=plane_offset,
        known_cells=np.zeros(WORDS, np.uint64),
        known_count=0,
        labels=labels,
        variance=(reduced.var(axis=0) / quantum**2).astype(np.float32),
        c_variance=sampled_variance(encoded[:, sampled]),
        kinship=kinship_of(centered, projection, sampled, quantum),
        neighbour=nearest,
        usual_structure=math.nan,
        structure_spread=math.nan,
        leading=NO_LEADING,
        usual_stray=math.nan,
        stray_spread=math.nan,
        remote=NEVER_REMOTE.copy(),
        landmarks=landmarks_of(steps, seed),
        numbers=len(kept),
        level=levels_of(encoded[:, :dimension], projection[:dimension], kept, quantum),
        turning=ALWAYS.copy(),
        sights=NO_SIGHTS,
        sight_values=NO_SIGHTS,
        noise=NO_NOISE,
        **drawn_fields(none_drawn()),
        **NOT_COARSE,
        cooccurrence=nothing_known(),
    )
    reference = replace(reference, **rounding_of_jpeg(reference, vectors, seed))
    reduced_rows = reference.reduce(vectors)
    known = known_cells(reduced_rows)
    if looks_selected(reference, reduced_rows, seed):
        known |= {"neighbour": math.inf}
    if clients is not None:
        lessons = lessons_of(reference, reduced_rows, clients)
        known |= usual_structure(reference, reduced_rows, clients) | usual_stray(reference, lessons)
        known |= usual_remote(replace(reference, **known), reduced_rows, lessons)
        if reference.table:
            known["cooccurrence"] = fit_cooccurrence(vectors, codes.tolist(), clients, seed=seed)
    return replace(reference, **known)


def missing_values(vectors: Floats) -> Floats:
    """Return the number for a missing value in each column of (n, dimension): a quarter of the range below the lowest value.

    No other value lies so low, and the number is near enough not to distort distances.

    >>> missing_values(np.array([[0.0, 5.0], [4.0, np.nan], [2.0, 5.0]], np.float32)).tolist()
    [-1.0, 3.75]
    """
    gaps = np.isnan(vectors)
    low = np.where(gaps, np.inf, vectors).min(axis=0, initial=np.inf).astype(np.float64)
    high = np.where(gaps, -np.inf, vectors).max(axis=0, initial=-np.inf).astype(np.float64)
    low, high = np.where(np.isfinite(low), low, 0.0), np.where(np.isfinite(high), high, 0.0)
    away = np.where(high > low, MISSING_BELOW * (high - low), np.maximum(MISSING_BELOW * np.abs(low), 1.0))
    return np.asarray(np.clip(low - away, -1e38, 1e38), np.float32)


def _tolerance(intrinsic: float, dimension: int, codes: npt.NDArray[np.int32]) -> float:
    """Return how far off a line a point may lie, as a share of its distances.

    Dense pictures vary mostly in brightness, so their spectrum looks like that of few dimensions; their many values still leave
    no room for accidents.
    """
    if dimension > SAMPLED and not len(codes):
        return WIDE_TOLERANCE
    return 0.05 if intrinsic >= LEAST_DIMENSIONS else 0.01


def _is_table(offset: Floats, scale: Floats, codes: npt.NDArray[np.int32], common_scale: bool | None) -> bool:
    """Tell whether columns with these ranges make a table; few columns always do, unless one common scale was forced."""
    few = common_scale is None and len(offset) <= SAMPLED
    return few or len(codes) > 0 or bool(np.any(scale != scale[0]))


def _ranges(vectors: Floats, numeric: npt.NDArray[np.intp], common_scale: bool | None) -> tuple[Floats, Floats]:
    """Return the number to subtract from each raw column, and the number to multiply it by then."""
    dimension = vectors.shape[1]
    vectors = np.clip(vectors, -1e38, 1e38)  # so that differences do not overflow
    low, middle, high = np.quantile(vectors, [0.005, 0.5, 0.995], axis=0)
    spread = high - low
    offset = np.zeros(dimension)
    scale = np.ones(dimension)
    varying = numeric[spread[numeric] > 0]
    if len(varying) == 0:
        # The quantiles of a nearly constant column coincide; its rare values still span a range.
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
    return np.sort(varying[np.argsort(-variance[varying], kind="stable")[:NUMBERS]])


def _directions(centered: Floats, kept: npt.NDArray[np.intp], rng: np.random.Generator) -> tuple[Floats, int]:
    """Return the projection (encoded, COORDINATES) and how many of its columns are principal directions.

    Each of the columns `kept` has one of the first coordinates to itself; all other columns share the remaining coordinates.
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
    if principal > 0:  # constant columns have no principal directions
        axes = PCA(n_components=principal, svd_solver=solver, random_state=seed).fit(rest).components_
    sketch = rng.standard_normal((len(shared), room - principal)) / np.sqrt(room - principal)
    projection[shared, own : own + principal] = axes.T
    projection[shared, own + principal :] = sketch - axes.T @ (axes @ sketch)
    return projection.astype(np.float32), own + principal
