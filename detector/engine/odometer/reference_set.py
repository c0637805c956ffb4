"""The reference set: inputs of benign clients with the model's responses, by which every copy is judged.

It is sampled when the baseline is fitted, so that nothing needs the model itself. No client gives more than a bounded share.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import numpy.typing as npt

from detector.engine.memory.reservoir import COORDINATES, SAMPLED
from detector.engine.models.reference import Reference
from detector.errors import BaselineError

SIZE, TABLE_SIZE = 256, 1024  # in tables the guess is good and the range above it narrow, so more inputs are needed
LEAST_SIZE = 64
MOST_CLASSES = 64  # labels that are told apart; rarer ones count as one, which no copy is right about
MOST_OTHER = 0.1  # share of the inputs whose labels may be those rarer ones
FAIR_SHARES = 4  # no client gives more than this many times its equal share,
LARGEST_SHARE, FEW_SHARE, FEW = 1 / 8, 1 / 2, 8  # nor more than an eighth; with fewer than eight clients, half
FARTHEST = 10.0  # scaled values are clipped to this
LEADING_SPREAD = 2.0  # standard deviation of the leading coordinate where all coordinates have one unit

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ReferenceSet:
    """Reduced inputs (see `Reference.reduce`) `z` (n, COORDINATES) and `c` (n, SAMPLED), and the code `label` (n,) of each.

    In a `table` each value is scaled by its own spread, else all by a common one.

    Raises `BaselineError` when the arrays do not fit together.
    """

    z: npt.NDArray[np.int16]
    c: npt.NDArray[np.uint8]
    label: npt.NDArray[np.int32]
    table: bool

    def __post_init__(self) -> None:
        """Check what was read from a file."""
        n = self.label.size
        shapes = self.z.shape, self.c.shape, self.label.shape
        if shapes != ((n, COORDINATES), (n, SAMPLED), (n,)) or not LEAST_SIZE <= n <= TABLE_SIZE:
            raise BaselineError("the reference set of the odometer is damaged")

    @cached_property
    def codes(self) -> npt.NDArray[np.int32]:
        """The codes of the labels that are told apart, in ascending order."""
        counts = Counter(self.label.tolist())
        commonest = sorted(counts, key=lambda code: (-counts[code], code))[:MOST_CLASSES]
        return np.array(sorted(commonest), np.int32)

    @property
    def classes(self) -> int:
        """Number of classes: one for each label that is told apart, and one for all others."""
        return len(self.codes) + 1

    @cached_property
    def answers(self) -> npt.NDArray[np.int64]:
        """The class of each response."""
        return self.class_of(self.label)

    @cached_property
    def guess(self) -> float:
        """The share of the commonest label: what agrees without asking anything."""
        return self.agreement(np.full(len(self.answers), np.bincount(self.answers, minlength=self.classes)[:-1].argmax()))

    def agreement(self, copied: npt.NDArray[np.int64]) -> float:
        """Return the share of the inputs that a copy, which gives them these classes (n,), is right about.

        Nobody is right about a label that is not told apart.
        """
        return int(np.count_nonzero(copied == self._told_apart)) / len(self.answers)

    @cached_property
    def _told_apart(self) -> npt.NDArray[np.int64]:
        """The class of each response, -1 where its label is not told apart."""
        return np.where(self.answers < len(self.codes), self.answers, -1)

    def unknown(self, label: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """Return which labels (n,) are not among those that are told apart."""
        return np.asarray(self.class_of(label) == len(self.codes))

    @cached_property
    def inputs(self) -> Floats:
        """The reference inputs as copies take them."""
        return self.scaled(self.z, self.c)

    @cached_property
    def scaling(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """The middle of each value, and the factor that brings it to a common size; 0 for a value that never varies."""
        values = np.concatenate([self.z, self.c], axis=1).astype(np.float64)
        spread = values.std(axis=0)
        if not self.table:
            spread[:COORDINATES] = spread[:COORDINATES].max() / LEADING_SPREAD
            spread[COORDINATES:] = LEADING_SPREAD * np.sqrt(np.square(spread[COORDINATES:]).mean())
        return values.mean(axis=0), np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)

    def scaled(self, z: npt.NDArray[np.int16], c: npt.NDArray[np.uint8]) -> Floats:
        """Return reduced inputs, n of them, as copies take them: (n, COORDINATES + SAMPLED)."""
        middle, factor = self.scaling
        values = (np.concatenate([z, c], axis=1) - middle) * factor
        return np.asarray(np.clip(values, -FARTHEST, FARTHEST), np.float32)

    def class_of(self, label: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
        """Return the class of each label's code; the last class stands for all that are not told apart."""
        place = np.minimum(np.searchsorted(self.codes, label), len(self.codes) - 1)
        return np.where(self.codes[place] == label, place, len(self.codes))


def sample_reference_set(
    reference: Reference, vectors: Floats, label: npt.NDArray[np.int32], clients: Sequence[str], seed: int
) -> ReferenceSet | None:
    """Return a reference set from n benign queries, or None where copies cannot be judged by them.

    That is where they are too few, where all have one label, or where too many have labels that are not told apart.
    `clients` (n,) says whose each query is. Repeats of an input count once.
    """
    size = TABLE_SIZE if reference.table else SIZE
    share = share_of(size, len(set(clients)))
    given: Counter[str] = Counter()
    met: set[bytes] = set()
    chosen: list[int] = []
    for row in np.random.default_rng(seed).permutation(len(vectors)).tolist():
        content = vectors[row].tobytes()
        if given[clients[row]] < share and content not in met:
            met.add(content)
            given[clients[row]] += 1
            chosen.append(row)
            if len(chosen) == size:
                break
    if len(chosen) < LEAST_SIZE or len(set(label[chosen].tolist())) == 1:
        return None
    vectors = vectors[chosen]
    reduced = reference.reduce(np.where(np.isnan(vectors), reference.missing, vectors))
    found = ReferenceSet(reduced.z, reduced.c, label[chosen], reference.table)
    return None if found.unknown(found.label).mean() > MOST_OTHER else found


def share_of(size: int, clients: int) -> int:
    """Return how many of `size` reference inputs one of so many clients may give.

    >>> share_of(256, 100), share_of(256, 10), share_of(256, 3)
    (10, 32, 128)
    """
    most = size * (LARGEST_SHARE if clients >= FEW else FEW_SHARE)
    return max(1, min(FAIR_SHARES * size // max(clients, 1), int(most)))


def to_arrays(reference_set: ReferenceSet) -> dict[str, npt.NDArray[np.generic]]:
    """Return the reference set as named arrays, for ``numpy.savez``."""
    return {field.name: np.asarray(getattr(reference_set, field.name)) for field in fields(reference_set)}


def from_arrays(arrays: Mapping[str, npt.NDArray[np.generic]]) -> ReferenceSet | None:
    """Rebuild a reference set from `to_arrays`; None where there are no arrays, as in older baselines.

    Raises `BaselineError` when an array is missing or does not fit.
    """
    if not arrays:
        return None
    try:
        return ReferenceSet(
            np.ascontiguousarray(arrays["z"], np.int16),
            np.ascontiguousarray(arrays["c"], np.uint8),
            np.ascontiguousarray(arrays["label"], np.int32),
            bool(arrays["table"]),
        )
    except KeyError as error:
        raise BaselineError(f"the reference set of the odometer lacks {error.args[0]!r}") from error
