"""The reference: how raw inputs become the few integers that the engine remembers.

Fitted once per model on benign queries (or, without a baseline, on the first queries of the stream), by `fitting.reference`:

1. *Scale.* Where all columns share one range, as pixels do, they share one scale, so that a flat step stays flat. Columns of
   different units are scaled each by its own range. Categorical columns become indicators.
2. *Project* to sixteen principal directions and to eight random directions of the remainder (Johnson and Lindenstrauss, 1984).
   The random ones keep distances also for queries that are foreign to the population. Inputs of up to 24 columns are not
   projected.
3. *Sample.* A secret seed picks raw columns, among those that vary, whose values are kept beside the projection.
4. *Round* the projection to 16-bit integers with twofold headroom, and sampled columns to 8 bits with a headroom of a tenth.
   Larger values saturate.

Sums run in a fixed order, row by row, so a query gets the same integers in a batch of 1 and in a batch of 1,000.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.engine.evidence.coarse import LEVELS, Coarse
from detector.engine.evidence.drawn import Drawn, none_drawn
from detector.engine.evidence.look import Look
from detector.engine.evidence.noise import TERMS
from detector.engine.evidence.remote import VIEWS
from detector.engine.evidence.tone import NOISE
from detector.engine.evidence.turns import DISTANCES, MARGINS
from detector.engine.kernels import kernel
from detector.engine.memory.checksums import add_up, weights_of
from detector.engine.memory.reservoir import COORDINATES, SAMPLED
from detector.engine.models import cooccurrence
from detector.engine.models.cooccurrence import Cooccurrence
from detector.engine.models.encoding import encode
from detector.errors import BaselineError

C_LEVELS = 212.0  # levels of a sampled value within the value range; the rest of the 256 is headroom on both sides
C_LOWEST = 21.0
C_HIGHEST = C_LOWEST + C_LEVELS
C_UNIT = 1.0 / C_LEVELS
LANDMARKS = 64
MOST_CATEGORIES = 32
NO_LEADING = np.zeros((SAMPLED, 0), np.float32)
NO_BLURS = np.zeros(0, np.float32)
NO_BLOCKS = np.zeros(0, np.int16)
NEVER_REMOTE = np.full((VIEWS, 2), np.nan, np.float32)
NO_SIGHTS = np.zeros((0, 0), np.float32)
NO_NOISE = np.zeros((0, TERMS))
NO_LOOK: Mapping[str, Any] = MappingProxyType(
    {"look_shape": np.zeros(0, np.int32), "look_norm": np.zeros((2, 0)), "look_form": np.zeros(0)}
)
NOT_COARSE: Mapping[str, Any] = MappingProxyType(
    {
        "coarse_value": np.zeros((0, LEVELS), np.uint8),
        "coarse_count": np.zeros(0, np.uint8),
        "coarse_parent": np.zeros(0, np.int32),
        "coarse_chance": np.zeros((0, LEVELS, LEVELS), np.float32),
        "coarse_drawn": np.zeros((0, 0, LEVELS), np.float32),
        "coarse_edited": np.zeros(1, np.float32),
        "coarse_inner": np.zeros((0, 256), np.float32),
        "coarse_gap": np.zeros(0, np.float32),
    }
)
ALWAYS = np.ones((DISTANCES, MARGINS), np.float32)  # rates of turns that are not known: the channel `turns` is silent


def nearest_levels(value: npt.NDArray[np.uint8], integers: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return which of some levels, in ascending order, is nearest to each of n sampled integers, the lower of two.

    >>> nearest_levels(np.array([10, 20], np.uint8), np.array([0, 15, 16])).tolist()
    [0, 0, 1]
    """
    away = np.abs(np.asarray(integers, np.int64)[:, None] - value.astype(np.int64))
    return np.asarray(away.argmin(axis=1), np.uint8)


def drawn_fields(drawn: Drawn) -> dict[str, Any]:
    """Return the fields of a `Reference` that hold what tells drawn records."""
    return {f"drawn_{name}": part for name, part in drawn._asdict().items()}


SINCE_KNOWN: Mapping[str, Any] = MappingProxyType(  # fields that older baselines lack, and what those mean
    {
        "blur": 0.0,
        "blurs": NO_BLURS,
        "blocks": NO_BLOCKS,
        "rounding": NOISE,
        "sphere": 0.0,
        "leading": NO_LEADING,
        "usual_stray": math.nan,
        "stray_spread": math.nan,
        "remote": NEVER_REMOTE,
        "turning": ALWAYS,
        "sights": NO_SIGHTS,
        "sight_values": NO_SIGHTS,
        "noise": NO_NOISE,
        **drawn_fields(none_drawn()),
        **NOT_COARSE,
        **NO_LOOK,
    }
)
# Fields that are saved where they are known only, so that older baselines keep their version.
LEFT_OUT = frozenset({"blocks", *NO_LOOK})
TOGETHER = "cooccurrence"  # the only field that is not an array

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Reference:
    """How one model's inputs are reduced, and the population's yardsticks.

    `offset` and `scale` (dimension,) bring raw columns to value ranges. `missing` (dimension,) stands for missing values, which
    tables treat as values of their own. `categories` (columns, MOST_CATEGORIES) are the known codes of the columns
    `categorical`, NaN-padded. `sampled` are the encoded columns whose values are kept: the first `measured` are numeric, the
    others indicators.

    `center` and `projection` (encoded, COORDINATES) project. `quantum` is the size of one integer step in value ranges, `unit`
    the size in median nearest-neighbour distances. `kinship` (COORDINATES + SAMPLED, the same) turns the integers of two
    queries into the product of their encoded inputs, as far as the integers determine it.

    `tolerance` is how far off a line a point may lie for the channel `bisect`, and `blur` what rounding of the clients' values
    adds to it, as an expected square in integer steps. Where pictures went through a JPEG, `blurs` (COORDINATES,) say how much
    of that falls to each coordinate, since the JPEG rounds some directions more than others; else it is empty. `blocks`
    (SAMPLED,) are the numbers of the JPEG's blocks that the sampled values lie in; it is empty where few lie in each.
    `rounding` is what that of two values adds to their difference, as an expected square in steps of the sampled values.
    `sphere` is the length of all inputs where they have one length, as embeddings do, else 0. `grain` is the size of one
    level of the values, in value ranges, 0 where they have none. `known_cells` marks the cells where the population lives.
    `landmarks` (COORDINATES, landmarks) are centres of the population and `variance` (COORDINATES,) is its variance, both
    in integer steps; `c_variance` (SAMPLED,) is the variance of the sampled values in their steps. `neighbour` is the
    median nearest-neighbour distance in value ranges, infinite where queries of the population look selected in any order.
    `usual_structure` and `structure_spread`
    are what the channel `foreign` expects of benign clients, NaN where it is not known whose the queries are. So are
    `usual_stray` and `stray_spread`, for the directions `leading` (SAMPLED, directions) of the sampled values, and `remote`
    (VIEWS, 2), for how far queries lie from the population (see `evidence.remote`). `turning` (distances, margins) are how
    often labels of benign clients turn (see the channel `turns`), 1 where that is not known. `sights` (dimension, count),
    `sight_values` (2, dimension) and `noise` (kinds, TERMS) tell noise on a sphere (see `evidence.noise`); they are empty where
    it is not told. In tables `noise` tells drawn records instead, with the fields of `evidence.drawn.Drawn`, which are named
    ``drawn_`` and so on. Those of `evidence.look.Look`, named ``look_`` and so on, are empty where pictures of another kind are
    not told. Those of `evidence.coarse.Coarse`, named ``coarse_`` and so on, are empty where a table is not coarse.

    In tables the first `numbers` coordinates are numeric columns. `level` (COORDINATES,) is the least distance between two of
    their values, in integer steps, 0 where they are continuous. `cooccurrence` is the model of the channel `cooccur`; it is
    empty where the expectations of `foreign` are not known.
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
    blur: float
    blurs: Floats
    blocks: npt.NDArray[np.int16]
    rounding: float
    sphere: float
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
    leading: Floats
    usual_stray: float
    stray_spread: float
    remote: Floats
    landmarks: Floats
    numbers: int
    level: Floats
    turning: Floats
    sights: Floats
    sight_values: Floats
    noise: npt.NDArray[np.float64]
    drawn_columns: npt.NDArray[np.int32]
    drawn_coded: npt.NDArray[np.bool_]
    drawn_edges: Floats
    drawn_odds: Floats
    drawn_whiten: Floats
    drawn_parent: npt.NDArray[np.int32]
    drawn_belong: Floats
    coarse_value: npt.NDArray[np.uint8]
    coarse_count: npt.NDArray[np.uint8]
    coarse_parent: npt.NDArray[np.int32]
    coarse_chance: Floats
    coarse_drawn: Floats
    coarse_edited: Floats
    coarse_inner: Floats
    coarse_gap: Floats
    look_shape: npt.NDArray[np.int32]
    look_norm: npt.NDArray[np.float64]
    look_form: npt.NDArray[np.float64]
    cooccurrence: Cooccurrence

    @property
    def dimension(self) -> int:
        """Number of raw input columns."""
        return len(self.offset)

    @property
    def table(self) -> bool:
        """Whether each column has its own meaning, as in a table, and is not one of many like values, as a pixel is."""
        return self.numbers > 0 or len(self.categorical) > 0

    @property
    def drawn(self) -> Drawn:
        """What records are compared with, to tell drawn ones; without columns where they are not told."""
        return Drawn(
            self.drawn_columns,
            self.drawn_coded,
            self.drawn_edges,
            self.drawn_odds,
            self.drawn_whiten,
            self.drawn_parent,
            self.drawn_belong,
        )

    @property
    def coarse(self) -> Coarse:
        """What records of a coarse table are compared with; without columns in other tables."""
        columns, integers = len(self.coarse_count), np.arange(256)
        level = np.zeros((columns, 256), np.uint8)
        for j, count in enumerate(self.coarse_count.tolist()):
            level[j] = nearest_levels(self.coarse_value[j, :count], integers)
        return Coarse(
            level,
            self.coarse_value,
            self.coarse_count,
            np.full(1, self.measured, np.int32),
            self.coarse_parent,
            self.coarse_chance,
            self.coarse_drawn,
            self.coarse_edited,
            np.log(np.maximum(self.coarse_count.astype(np.float32) - 1.0, 1.0)).astype(np.float32),
            self.coarse_inner if len(self.coarse_gap) else np.zeros((columns, 256), np.float32),
            self.coarse_gap if len(self.coarse_gap) else np.zeros(columns, np.float32),
        )

    @property
    def look(self) -> Look | None:
        """What pictures are compared with, to tell those of another kind; None where they are not told."""
        if len(self.look_shape) == 0:
            return None
        side, channels, planar = self.look_shape.tolist()
        low, scale = float(self.offset[0]), float(self.scale[0])
        return Look((side, channels, planar), low, scale, self.look_norm, self.look_form)

    @property
    def summed(self) -> bool:
        """Whether queries are retained with checksums, because not all of their values are sampled."""
        return not self.table and self.dimension > len(self.sampled)

    @property
    def middle(self) -> Floats:
        """The population's mean (SAMPLED,) of the sampled values, in their integer steps."""
        middle = np.zeros(SAMPLED, np.float32)
        middle[: len(self.sampled)] = self.center[self.sampled] * C_LEVELS + C_LOWEST
        return middle

    @property
    def sharpness(self) -> Floats:
        """Factors (COORDINATES,) that bring the clients' rounding to one size in all coordinates, 1 where there is none.

        A coordinate adds up the rounding of the values that it depends on. A principal direction has that of one value and
        keeps its unit.
        """
        if self.blur == 0.0:
            return np.ones(COORDINATES, np.float32)
        if len(self.blurs):
            return np.asarray(np.sqrt(self.blurs.min() / self.blurs), np.float32)
        spread = np.sqrt(np.square(self.projection[: self.dimension], dtype=np.float64).sum(axis=0))
        return np.asarray(1.0 / np.maximum(spread, 1.0), np.float32)

    @property
    def blur_sharpened(self) -> float:
        """`blur` in coordinates that are multiplied by `sharpness`."""
        if len(self.blurs):
            return float(self.blurs.min()) * COORDINATES
        shares = np.square(self.projection[: self.dimension], dtype=np.float64).sum(axis=0)
        return float(self.blur * (shares * np.square(self.sharpness)).sum() / max(shares.sum(), 1e-30))

    @property
    def zero(self) -> float:
        """The raw value 0 in integer steps of the sampled values, which have one scale on a sphere; NaN without a sphere."""
        if self.sphere == 0.0:
            return math.nan
        return float(C_LOWEST - self.offset[0] * self.scale[0] * C_LEVELS)

    @property
    def origin(self) -> Floats:
        """What the integers (COORDINATES,) lack to those from the centre of the sphere; empty without a sphere."""
        if self.sphere == 0.0:
            return np.zeros(0, np.float32)
        center = self.center[: self.dimension] + self.offset * self.scale
        return np.asarray(center @ self.projection[: self.dimension] / self.quantum, np.float32)

    @property
    def moved(self) -> float:
        """How far apart a JPEG moves two nearly equal pictures, in median nearest-neighbour distances; 0 without one.

        `blurs` hold one and a half times what it moves a picture by.
        """
        return float(math.sqrt(2.0 / 1.5 * float(self.blurs.sum())) * self.unit)

    @property
    def plain(self) -> Floats:
        """Where plain pictures lie in sharpened coordinates, (2, COORDINATES), if pictures went through a JPEG; else no rows.

        That is the black picture, with the sign changed, and the direction from it to brighter plain ones, of length 1.
        """
        if not len(self.blurs):
            return np.zeros((0, COORDINATES), np.float32)
        projection = self.projection[: self.dimension] * self.sharpness
        black = (self.center[: self.dimension] + self.offset * self.scale) @ projection / self.quantum
        brighter = projection.sum(axis=0)
        return np.stack([black, brighter / max(float(np.linalg.norm(brighter)), 1e-30)]).astype(np.float32)

    @property
    def fingerprint(self) -> str:
        """Eight bytes, in hex, that change with anything that the meaning of the integers depends on.

        What older baselines lack and this one does not know is left out: they keep the fingerprint that they had.
        """
        digest = hashlib.sha256()
        for name, array in to_arrays(self).items():
            if name in SINCE_KNOWN and np.array_equal(array, SINCE_KNOWN[name], equal_nan=True):
                continue
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def complete(self, vectors: Floats) -> Floats:
        """Return inputs (n, dimension) with the number for missing values in their place; only in tables may any be missing."""
        return np.where(np.isnan(vectors), self.missing, vectors) if self.table else vectors

    def reduce(self, vectors: Floats) -> "Reduced":
        """Reduce raw inputs of shape (n, dimension), in blocks small enough for the processor's cache."""
        n = len(vectors)
        off, landmark, energy = np.empty((3, n), np.float32)
        sums = np.empty((n if self.summed else 0, 2), np.uint32)
        z, c = np.empty((n, COORDINATES), np.int16), np.zeros((n, SAMPLED), np.uint8)
        reduced = Reduced(z, c, np.empty(n, np.int64), off, landmark, energy, sums)
        encoded = encode(vectors, self.offset, self.scale, self.categorical, self.categories)
        reduce_rows(*self.reduction(encoded, reduced))
        if self.summed:
            add_up(encoded, weights_of(self.dimension)[0], sums)
        return reduced

    def reduction(self, encoded: Floats, reduced: "Reduced") -> tuple[Any, ...]:
        """Return the arguments of `reduce_rows` for `encoded` inputs (n, encoded); it fills `reduced`, all but the sums."""
        return (
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
            reduced.z,
            reduced.c,
            reduced.cell,
            reduced.off,
            reduced.landmark,
            reduced.energy,
        )


@dataclass(frozen=True, slots=True)
class Reduced:
    """Reduced queries: `z` and `c` for the memory, `cell`, `off` and `landmark` for coverage; n entries each.

    `energy` is the squared distance of the whole input from the population's center. `sums` (n, 2) are the checksums, without
    rows where none are kept.
    """

    z: npt.NDArray[np.int16]
    c: npt.NDArray[np.uint8]
    cell: npt.NDArray[np.int64]
    off: Floats
    landmark: Floats
    energy: Floats
    sums: npt.NDArray[np.uint32]


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


def to_arrays(reference: Reference) -> dict[str, npt.NDArray[np.generic]]:
    """Return the reference as named arrays, for ``numpy.savez``."""
    own = {field.name: np.asarray(getattr(reference, field.name)) for field in fields(reference) if field.name != TOGETHER}
    own = {name: array for name, array in own.items() if name not in LEFT_OUT or array.size}
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
        if field.name in SINCE_KNOWN and field.name not in arrays:
            parts[field.name] = SINCE_KNOWN[field.name]
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
