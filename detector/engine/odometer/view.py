"""The view: the reference set as the copies of the service see it, and what one client was told, in the same form.

The copies of the service learn from the queries that the memory retains for its own purposes. Of an answer it keeps the label
and the margin: how much likelier the label is than the second one. A copy may use `WIDTH` values of an input.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.kernels import kernel
from detector.engine.memory.kept import Kept
from detector.engine.memory.reservoir import COORDINATES, LABEL_TOLD, MARGIN_LEVELS, MISLED, NO_MARGIN, OUTDATED
from detector.engine.odometer.reading import Reading, reading
from detector.engine.odometer.reference_set import FARTHEST, ReferenceSet

MOST_INPUTS = 512  # reference inputs: more cost time, and the copy's own error is larger than the luck of these
WIDTH = 48  # values of an input that a copy uses: all coordinates, and the sampled values that vary most

Floats = npt.NDArray[np.float32]


class Retained(NamedTuple):
    """Retained queries, n of them; see `Memory`."""

    z: npt.NDArray[np.int16]
    c: npt.NDArray[np.uint8]
    label: npt.NDArray[np.int32]
    mark: npt.NDArray[np.uint8]
    margin: npt.NDArray[np.int16]

    def take(self, rows: slice | npt.NDArray[np.intp]) -> "Retained":
        """Return the queries at `rows`."""
        return Retained(self.z[rows], self.c[rows], self.label[rows], self.mark[rows], self.margin[rows])


class Lessons(NamedTuple):
    """What a copy learns from: n inputs (n, width), and what was told of them, as probabilities (n, classes)."""

    inputs: Floats
    targets: Floats


@dataclass(frozen=True, eq=False)
class View:
    """The reference set `judge`, as copies see it."""

    judge: ReferenceSet

    @cached_property
    def columns(self) -> npt.NDArray[np.intp]:
        """The places of the values that copies use, of those of `ReferenceSet.scaled`; values that never vary are left out."""
        spread = self.judge.inputs.std(axis=0)
        sampled = COORDINATES + np.argsort(-spread[COORDINATES:], kind="stable")[: WIDTH - COORDINATES]
        chosen = np.concatenate([np.arange(COORDINATES), np.sort(sampled)])
        return np.asarray(chosen[spread[chosen] > 0.0])

    @cached_property
    def inputs(self) -> Floats:
        """The reference inputs (width, m)."""
        return np.ascontiguousarray(self.judge.inputs[:, self.columns].T)

    def lessons(self, retained: Retained) -> Lessons:
        """Return what a copy learns from retained queries; those that another version of the model answered are left out.

        Where the margin was told, the label has the probability that this leaves it among two, and the others share the rest.
        Where the client was told a wrong label, it is no label that is known: nobody is right about it.
        """
        known = np.flatnonzero((retained.mark & OUTDATED) == 0)
        inputs = np.empty((len(known), len(self.columns)), np.float32)
        targets = np.zeros((len(known), self.judge.classes), np.float32)
        learn(retained, known, self.judge.codes, self.columns, *self._scaling, FARTHEST, chances(), inputs, targets)
        return Lessons(inputs, targets)

    @cached_property
    def _scaling(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """The middle and the factor of the values that copies use; see `ReferenceSet.scaling`."""
        middle, factor = self.judge.scaling
        return middle[self.columns], factor[self.columns]

    def right(self, copied: npt.NDArray[np.int64]) -> int:
        """Return about how many reference inputs a copy is right that gives them these classes (m,)."""
        return round(self.judge.agreement(copied) * len(self.judge.answers))

    def reading(self, queries: int, right: int) -> Reading:
        """Return the reading of a copy that is right about so many reference inputs."""
        inputs = len(self.judge.answers)
        return reading(queries, min(right / inputs, 1.0), self.judge.guess, inputs, table=self.judge.table)


@cache
def chances() -> Floats:
    """Return the probability of the more likely one of two labels, by the margin that is retained between them."""
    margins = np.arange(np.iinfo(np.int16).max + 1, dtype=np.int16)
    return np.asarray(1.0 / (1.0 + np.exp(-margins / np.float32(MARGIN_LEVELS))), np.float32)


@kernel
def learn(retained, rows, codes, columns, middle, factor, farthest, chance, inputs, targets):
    """Fill `inputs` (n, columns) and `targets` (n, classes), which is 0, from the retained queries at `rows` (n,).

    `codes` are those of all classes but the last. For `chance` see `chances`, and for the others `ReferenceSet.scaled`.
    """
    known = codes.shape[0]
    for i in range(rows.shape[0]):
        m = rows[i]
        for j in range(columns.shape[0]):
            at = columns[j]
            value = np.float64(retained.z[m, at] if at < COORDINATES else np.int16(retained.c[m, at - COORDINATES]))
            inputs[i, j] = np.float32(min(max((value - middle[j]) * factor[j], -farthest), farthest))
        own = known
        if retained.mark[m] & MISLED == 0:
            for k in range(known):
                if codes[k] == retained.label[m]:
                    own = k
        margin = retained.margin[m]
        if known > 1 and own < known and margin != NO_MARGIN and retained.mark[m] & (LABEL_TOLD | MISLED) == 0:
            sure = chance[max(margin, 0)]
            for k in range(known):
                targets[i, k] = (np.float32(1.0) - sure) / np.float32(known - 1)
            targets[i, own] = sure
        else:
            targets[i, own] = np.float32(1.0)


def view_of(reference_set: ReferenceSet) -> View:
    """Return the view of a reference set: of `MOST_INPUTS` of its inputs at the most, evenly chosen."""
    step = -(-len(reference_set.label) // MOST_INPUTS)
    chosen = slice(None, None, step)
    return View(
        ReferenceSet(reference_set.z[chosen], reference_set.c[chosen], reference_set.label[chosen], reference_set.table)
    )


def retained_at(kept: Kept, row: int) -> Retained:
    """Return what was kept for one reading."""
    held = int(kept.held[row])
    return Retained(
        kept.z[row, :held], kept.c[row, :held], kept.label[row, :held], kept.mark[row, :held], kept.margin[row, :held]
    )
