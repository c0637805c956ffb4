"""A store of queries that tests ask in, and inputs of two kinds."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from detector.engine.constants import population_of, scales_of
from detector.engine.features.distances import WINDOW
from detector.engine.links.seeking.pairs import RECORDS_PAIRED
from detector.engine.links.seeking.records import no_chains
from detector.engine.links.seeking.search import Links, links_for, room_for, seek
from detector.engine.links.seeking.steps import no_steps
from detector.engine.links.seeking.store import NEAREST, Asking, Entries, coordinates_of, empty, near_for
from detector.engine.links.seeking.values import no_values
from detector.engine.memory.reservoir import COORDINATES, RING
from detector.engine.models.reference import Reference

Floats = npt.NDArray[np.float32]
PIXELS = 100


class Searching:
    """A store of one model, and what is asked of it."""

    def __init__(self, reference: Reference, entries: int = 4096, width: int | None = None) -> None:
        self.reference = reference
        self._width = width or (coordinates_of(reference.projection) if reference.table else COORDINATES)
        self.entries: Entries = empty(reference.landmarks.shape[1], entries, self._width, table=reference.table)
        self.chains = no_chains(reference.table)
        self.steps = no_steps(reference.table)
        self.values = no_values(reference.table)
        self._scales = scales_of(reference, RING)
        self._population = population_of(reference, WINDOW)
        self._content = 0

    def ask(self, vectors: Floats, accounts: Sequence[int], labels: Sequence[int] | None = None) -> Links:
        n = len(vectors)
        found = self.reference.reduce(np.asarray(vectors, np.float32))
        sums = found.sums if len(found.sums) else np.zeros((n, 2), np.uint32)
        contents = np.array([hash(row.tobytes()) & (2**64 - 1) for row in np.asarray(vectors, np.float32)], np.uint64)
        asked = Asking(
            np.ascontiguousarray(found.z[:, : self._width]),
            found.c,
            np.ascontiguousarray(sums[:, 0]),
            np.ascontiguousarray(sums[:, 1]),
            contents,
            np.array(labels if labels is not None else [0] * n, np.int32),
            np.array(accounts, np.uint64),
        )
        links = links_for(n)
        seek(
            self.entries,
            self.chains,
            self.steps,
            self.values,
            asked,
            np.ascontiguousarray(self.reference.landmarks[: self._width], np.float32),
            self._scales,
            self._population,
            near_for(self.entries, RECORDS_PAIRED if self.reference.table else NEAREST),
            room_for(int(self.reference.measured), self._width),
            np.uint64(7),
            links,
        )
        return links


def smooth(rng: np.random.Generator, n: int) -> Floats:
    """Return pictures of ten by ten pixels with soft contents."""
    coarse = rng.random((n, 5, 5))
    return np.asarray(np.kron(coarse, np.ones((2, 2))).reshape(n, PIXELS) * 0.8 + 0.1, np.float32)


def records(rng: np.random.Generator, n: int) -> Floats:
    return np.asarray(rng.normal(0.0, [1.0, 50.0, 1000.0, 3.0], (n, 4)), np.float32)
