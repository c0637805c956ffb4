"""Checks on a model's saved state: arrays of plain numbers, each of the kind and shape that the kernels expect.

It is the counterpart of `bounds`, which checks the clients' rows. Kernels index with some of these numbers, too: the sampled
columns of a reference, and the pairs of columns of the co-occurrence.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detector.contracts.dead_letter import REASONS
from detector.contracts.moment import LAST_MS
from detector.engine.evidence.children import NUMBERS
from detector.engine.evidence.cooccur import BINS, COLUMNS, COUNTS
from detector.engine.evidence.drawn import MOST_COLUMNS, SCALING
from detector.engine.evidence.drawn import VIEWS as RECORD_VIEWS
from detector.engine.evidence.noise import MOST_SIGHTS, TERMS
from detector.engine.evidence.remote import LEAST_SAMPLES, VIEWS
from detector.engine.evidence.turns import DISTANCES, MARGINS
from detector.engine.features.coverage import PLANES, WORDS
from detector.engine.features.row import NAMES
from detector.engine.memory.reservoir import COORDINATES, SAMPLED
from detector.engine.models.cooccurrence import Cooccurrence
from detector.engine.models.reference import LANDMARKS, MOST_CATEGORIES, Reference
from detector.engine.models.trees import NODES, TREES, WINDOW
from detector.errors import SnapshotError
from detector.ingest.batch import Batch

KINDS: Final = frozenset(
    ["|b1", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f4", "<f8"]
)  # kinds of plain numbers; objects and structures are refused
_ANY = -1  # any length of an axis

Shape = tuple[int, ...]
Arrays = dict[str, npt.NDArray[Any]]


def arrays_from(packed: Mapping[str, Any]) -> Arrays:
    """Return named arrays from the (kind, shape, bytes) of each.

    Raises `SnapshotError` for kinds other than plain numbers, and where the bytes do not fill the shape.
    """
    found: Arrays = {}
    for name, (kind, shape, content) in packed.items():
        if kind not in KINDS:
            raise SnapshotError(f"the saved state is damaged: {name!r} is of kind {str(kind)[:20]!r}")
        sizes = [int(length) for length in shape]
        dtype = np.dtype(kind)
        if min(sizes, default=0) < 0 or len(sizes) > 4 or math.prod(sizes) * dtype.itemsize != len(content):
            raise SnapshotError(f"the saved state is damaged: {name!r} has {len(content)} bytes, which is not its shape")
        found[name] = np.frombuffer(content, dtype).reshape(sizes).copy()
    return found


def check_reference(reference: Reference) -> Reference:
    """Return the reference; raises `SnapshotError` when the kernels cannot work with it."""
    dimension = len(reference.offset)
    coded = len(reference.categorical)
    encoded = dimension + coded * MOST_CATEGORIES
    sampled = len(reference.sampled)
    _look(
        "reference",
        {name: getattr(reference, name) for name in Reference.__dataclass_fields__},
        {
            "offset": ("<f4", (dimension,)),
            "scale": ("<f4", (dimension,)),
            "missing": ("<f4", (dimension,)),
            "categorical": ("<i4", (coded,)),
            "categories": ("<f4", (coded, MOST_CATEGORIES)),
            "center": ("<f4", (encoded,)),
            "projection": ("<f4", (encoded, COORDINATES)),
            "sampled": ("<i4", (sampled,)),
            "planes": ("<f4", (PLANES, COORDINATES)),
            "plane_offset": ("<f4", (PLANES,)),
            "known_cells": ("<u8", (WORDS,)),
            "variance": ("<f4", (COORDINATES,)),
            "c_variance": ("<f4", (SAMPLED,)),
            "kinship": ("<f4", (COORDINATES + SAMPLED, COORDINATES + SAMPLED)),
            "landmarks": ("<f4", (COORDINATES, LANDMARKS)),
            "level": ("<f4", (COORDINATES,)),
            "leading": ("<f4", (SAMPLED, _ANY)),
            "turning": ("<f4", (DISTANCES, MARGINS)),
            "remote": ("<f4", (VIEWS, 2)),
            "blurs": ("<f4", (COORDINATES if len(reference.blurs) else 0,)),
        },
    )
    _within("reference.categorical", reference.categorical, dimension)
    _within("reference.sampled", reference.sampled, encoded)
    finite = (
        "offset",
        "scale",
        "missing",
        "center",
        "projection",
        "planes",
        "variance",
        "c_variance",
        "kinship",
        "landmarks",
        "level",
        "leading",
        "turning",
    )
    for name in finite:
        if not np.isfinite(getattr(reference, name)).all():
            raise SnapshotError(f"the saved state is damaged: reference.{name} holds what is no number")
    counts = {
        "sampled": (sampled, SAMPLED),
        "measured": (reference.measured, sampled),
        "numbers": (reference.numbers, NUMBERS),
        "principal": (reference.principal, min(encoded, COORDINATES)),
        "known_count": (reference.known_count, WORDS * 64),
        "leading": (reference.leading.shape[1], SAMPLED),
    }
    for name, (value, most) in counts.items():
        if not 0 <= value <= most:
            raise SnapshotError(f"the saved state is damaged: reference.{name} is outside of 0 to {most}")
    if dimension == 0 or not (reference.quantum > 0 and reference.unit > 0 and reference.labels >= 0):
        raise SnapshotError("the saved state is damaged: the reference has no input space")
    # Ratios are divided by the spread; one that is not known is NaN.
    if not 0 < reference.turning.min() <= reference.turning.max() <= 1 or reference.stray_spread <= 0:
        raise SnapshotError("the saved state is damaged: the reference holds a rate or a spread that cannot be")
    # Coordinates are divided by what rounds them.
    if not (np.all(reference.blurs > 0) and np.isfinite(reference.blurs).all() and 0 < reference.rounding < math.inf):
        raise SnapshotError("the saved state is damaged: the reference holds a rounding that cannot be")
    _check_remote(reference)
    _check_noise(reference)
    _check_together(reference.cooccurrence, dimension)
    return reference


def _check_remote(reference: Reference) -> None:
    """Raise `SnapshotError` where what is usual of remoteness is half known, or known of inputs too small to have it."""
    remote = reference.remote
    if np.isnan(remote).all():
        return
    known = bool(np.isfinite(remote).all() and (remote[:, 1] > 0).all())
    if not known or reference.leading.shape[1] == 0 or reference.measured < LEAST_SAMPLES:
        raise SnapshotError("the saved state is damaged: reference.remote holds what cannot be usual")


def _check_noise(reference: Reference) -> None:
    """Raise `SnapshotError` where what tells noise is not whole; it has no values where noise is not told."""
    drawn = reference.drawn
    width, kinds = len(drawn.columns), len(reference.noise)
    dimension = reference.dimension if kinds and not width else 0
    tied = width if len(drawn.parent) else 0  # older baselines know no pairs of columns
    arrays = {name: getattr(reference, name) for name in ("sights", "sight_values", "noise")}
    _look(
        "reference",
        arrays,
        {
            "sights": ("<f4", (dimension, _ANY)),
            "sight_values": ("<f4", (2 if dimension else 0, dimension)),
            "noise": ("<f8", (kinds, TERMS if tied == 0 else 1 + 2 * RECORD_VIEWS)),
        },
    )
    _look(
        "reference.drawn",
        drawn._asdict(),
        {
            "columns": ("<i4", (width,)),
            "coded": ("|b1", (width,)),
            "edges": ("<f4", (width, BINS - 1)),
            "odds": ("<f4", (2, width, BINS)),
            "whiten": ("<f4", (width, _ANY)),
            "parent": ("<i4", (tied,)),
            "belong": ("<f4", (tied, BINS, BINS)),
        },
    )
    _within("reference.drawn_columns", drawn.columns, reference.dimension)
    _within("reference.drawn_parent", drawn.parent + 1, tied + 1)
    if not (SCALING <= drawn.whiten.shape[1] <= SCALING + MOST_COLUMNS and np.isfinite(drawn.whiten).all()):
        raise SnapshotError("the saved state is damaged: the reference holds what tells no drawn records")
    arrays |= {"odds": drawn.odds, "belong": drawn.belong}
    finite = all(np.isfinite(array).all() for array in arrays.values())
    if not finite or (dimension and not (reference.sight_values[1].min() > 0 and 0 < reference.sights.shape[1] <= MOST_SIGHTS)):
        raise SnapshotError("the saved state is damaged: the reference holds what tells no noise")


def _check_together(together: Cooccurrence, dimension: int) -> None:
    columns, pairs = len(together.columns), len(together.pairs)
    _look(
        "cooccurrence",
        {name: getattr(together, name) for name in Cooccurrence.__dataclass_fields__},
        {
            "columns": ("<i4", (columns,)),
            "coded": ("|b1", (columns,)),
            "edges": ("<f4", (columns, BINS - 1)),
            "share": ("<f4", (columns, BINS)),
            "pairs": ("<i4", (pairs, 2)),
            "table": ("<f4", (pairs, BINS, BINS)),
            "worth": ("<f4", (COUNTS,)),
        },
    )
    _within("cooccurrence.columns", together.columns, dimension)
    _within("cooccurrence.pairs", together.pairs, min(columns, COLUMNS))
    if columns > COLUMNS:
        raise SnapshotError(f"the saved state is damaged: co-occurrence of {columns} columns, more than {COLUMNS}")


def check_trees(arrays: Arrays) -> Arrays:
    """Return the arrays of a model's trees; raises `SnapshotError` when they are not valid trees."""
    features = len(NAMES)
    _look(
        "trees",
        arrays,
        {
            "low": ("<f8", (features,)),
            "high": ("<f8", (features,)),
            "mass": ("<f8", (TREES, NODES)),
            "learning": ("<f8", (TREES, NODES)),
            "counts": ("<f8", (2,)),
            "recent": ("<f8", (_ANY,)),
            "usual": ("<f8", (2,)),
        },
    )
    if any(np.isnan(arrays[name]).any() for name in arrays):
        raise SnapshotError("the saved state is damaged: the trees hold a NaN")
    if len(arrays["recent"]) > 2 * WINDOW or any(arrays[name].min() < 0 for name in ("mass", "learning", "counts")):
        raise SnapshotError("the saved state is damaged: the trees have learned what cannot be")
    return arrays


def check_batch(batch: Batch) -> Batch:
    """Return a batch that waits for its model; raises `SnapshotError` when its columns are not those of a batch."""
    n = len(batch.event_id)
    _look(
        "waiting",
        {name: getattr(batch, name) for name in Batch.__dataclass_fields__},
        {
            "sequence": ("<i8", (n,)),
            "time": ("<i8", (n,)),
            "vector": ("<f4", (n, _ANY)),
            "label": ("<i4", (n,)),
            "confidence": ("<f4", (n,)),
            "runner_up": ("<f4", (n,)),
            "weight": ("<f4", (n,)),
            "refused": ("|u1", (n,)),
            "digest": ("<u8", (n,)),
            "perturbed": ("|u1", (n,)),
        },
    )
    if (
        n == 0
        or not len(batch.client) == len(batch.sender) == len(batch.version) == n
        or bool((batch.refused == 0).any()) > bool(batch.vector.shape[1])
    ):
        raise SnapshotError("the saved state is damaged: the columns of events that wait differ in length")
    if not all(isinstance(text, str) for column in (batch.client, batch.event_id) for text in column):
        raise SnapshotError("the saved state is damaged: an id of an event that waits is no text")
    if batch.refused.max() > len(REASONS):
        raise SnapshotError("the saved state is damaged: an event that waits was refused for no known reason")
    if batch.time.min() < 0 or batch.time.max() > LAST_MS or not batch.weight.min() >= 1 or np.isinf(batch.vector).any():
        raise SnapshotError("the saved state is damaged: an event that waits is out of range")
    return batch


def _look(what: str, found: Mapping[str, Any], expected: Mapping[str, tuple[str, Shape]]) -> None:
    for name, (kind, shape) in expected.items():
        array = found.get(name)
        fits = (
            isinstance(array, np.ndarray)
            and array.dtype == np.dtype(kind)
            and array.ndim == len(shape)
            and all(want in (_ANY, length) for want, length in zip(shape, array.shape, strict=True))
        )
        if not fits:
            raise SnapshotError(f"the saved state is damaged: {what}.{name} is not of kind {kind} and shape {shape}")


def _within(name: str, places: npt.NDArray[Any], most: int) -> None:
    if places.size and not (places.min() >= 0 and places.max() < most):
        raise SnapshotError(f"the saved state is damaged: {name} names a place outside of 0 to {most - 1}")
