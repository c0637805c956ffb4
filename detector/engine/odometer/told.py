"""What clients were told: queries with their responses, in a form whose size does not depend on the response."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

LARGEST = 16  # probabilities kept of a response; what the others sum to is known
WIDEST = 65_535  # probabilities; a longer response counts as its label alone


class Told(NamedTuple):
    """Queries `z` and `c` as reduced, and of each response the code `label` (n,), its `width` (n,) and its probabilities.

    The `width` is the number of probabilities: 0 where there are none, or none that can be used. `place` (n, LARGEST) are the
    places of the largest ones in the model's own order of classes, `chance` (n, LARGEST) are these. They sum to 1 at most, and
    0 fills up.
    """

    z: npt.NDArray[np.int16]
    c: npt.NDArray[np.uint8]
    label: npt.NDArray[np.int32]
    width: npt.NDArray[np.uint16]
    place: npt.NDArray[np.uint16]
    chance: npt.NDArray[np.float32]

    def take(self, rows: slice | Sequence[int]) -> "Told":
        """Return the queries at `rows`."""
        z, c, label, width, place, chance = self
        return Told(z[rows], c[rows], label[rows], width[rows], place[rows], chance[rows])


def told_of(
    z: npt.NDArray[np.int16],
    c: npt.NDArray[np.uint8],
    label: npt.NDArray[np.int32],
    chances: Iterable[npt.NDArray[np.floating]] = (),
) -> Told:
    """Return n queries with their responses; `chances` are the probabilities of each, none of them where it is left out."""
    n = len(label)
    width, place = np.zeros(n, np.uint16), np.zeros((n, LARGEST), np.uint16)
    chance = np.zeros((n, LARGEST), np.float32)
    for row, given in enumerate(chances):
        if not 0 < len(given) <= WIDEST or not np.isfinite(given).all():
            continue
        if len(given) == 1:
            if not 0.0 <= given[0] <= 1.0:  # a score or a percentage: nobody knows of what
                continue
            places, values = np.zeros(1, np.intp), given
        else:
            values = np.clip(given, 0.0, None)
            total = float(values.sum(dtype=np.float64))
            if not 0.0 < total < np.inf:
                continue
            places = largest(values)
            values = values[places] / total
        width[row] = len(given)
        place[row, : len(places)] = places
        chance[row, : len(places)] = values
    return Told(z, c, label, width, place, chance)


def largest(values: npt.NDArray[np.floating]) -> npt.NDArray[np.intp]:
    """Return the places of the `LARGEST` largest values in ascending order; of equal ones the first."""
    if len(values) <= LARGEST:
        return np.arange(len(values))
    least = np.partition(values, -LARGEST)[-LARGEST]
    near = np.flatnonzero(values >= least)
    return np.sort(near[np.argsort(-values[near], kind="stable")[:LARGEST]])
