"""What the odometer retains of one client: the latest queries, and a uniform sample of all."""

import numpy as np

from detector.engine.memory.reservoir import COORDINATES, SAMPLED, mix
from detector.engine.odometer.told import LARGEST, Told

SAMPLE = 80  # queries of the uniform sample (reservoir sampling)
LATEST = 64
_HEAD = np.dtype([("z", np.int16, COORDINATES), ("c", np.uint8, SAMPLED), ("label", np.int32), ("width", np.uint16)])
_PLACE, _CHANCE = np.dtype(np.uint16), np.dtype(np.float32)


class Retained:
    """One client's retained queries; which these are depends on the seed and on the client's own queries alone.

    A query that is retained already, with the same response, is not retained twice: repeats teach nothing. Each takes 110 to
    260 bytes, and there are `SAMPLE` and `LATEST` at most.
    """

    __slots__ = ("_count", "_latest", "_sample", "_seed")

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._sample: list[bytes] = []
        self._latest: list[bytes] = []
        self._count = 0

    def add(self, told: Told) -> None:
        """Retain new queries, in their order."""
        heads = np.empty(len(told.label), _HEAD)
        heads["z"], heads["c"], heads["label"], heads["width"] = told.z, told.c, told.label, told.width
        for row, head in enumerate(heads):
            kept = min(int(told.width[row]), LARGEST)
            query = head.tobytes() + told.place[row, :kept].tobytes() + told.chance[row, :kept].tobytes()
            if query in self._latest or query in self._sample:
                continue
            self._latest.append(query)
            del self._latest[:-LATEST]
            self._count += 1
            place = int(mix(np.uint64(self._seed), self._count) % np.uint64(self._count))
            if len(self._sample) < SAMPLE:
                self._sample.append(query)
            elif place < SAMPLE:
                self._sample[place] = query

    def told(self) -> Told:
        """Return the retained queries, each once."""
        queries = list(dict.fromkeys([*self._sample, *self._latest]))
        heads = np.frombuffer(b"".join(query[: _HEAD.itemsize] for query in queries), _HEAD)
        place = np.zeros((len(queries), LARGEST), _PLACE)
        chance = np.zeros((len(queries), LARGEST), _CHANCE)
        for row, query in enumerate(queries):
            kept = min(int(heads["width"][row]), LARGEST)
            place[row, :kept] = np.frombuffer(query, _PLACE, kept, _HEAD.itemsize)
            chance[row, :kept] = np.frombuffer(query, _CHANCE, kept, _HEAD.itemsize + kept * _PLACE.itemsize)
        return Told(heads["z"], heads["c"], heads["label"], heads["width"], place, chance)
