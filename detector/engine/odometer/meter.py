"""The meter of one client: its queries in, readings at its scheduled evaluations out."""

import numpy as np

from detector.engine.memory.admission import evaluation_after
from detector.engine.memory.reservoir import mix
from detector.engine.odometer.network import FIRST_STEPS, STEPS, Network, begin, predictions, trained
from detector.engine.odometer.reading import Reading, reading
from detector.engine.odometer.reference_set import ReferenceSet
from detector.engine.odometer.retained import Retained
from detector.engine.odometer.ridge import ridge_predictions
from detector.engine.odometer.targets import targets
from detector.engine.odometer.told import Told

FIRST_READING = 32  # queries


class Meter:
    """Measures one client of one model.

    `seed` is secret and the client's own. Equal queries in an equal order give equal readings, however they are cut into
    pieces, and whatever other clients do. Before its first reading it holds nothing but the retained queries.
    """

    __slots__ = ("_judge", "_network", "_next", "_retained", "_seed", "queries")

    def __init__(self, reference_set: ReferenceSet, seed: int) -> None:
        self._judge = reference_set
        self._seed = seed
        self._retained = Retained(seed)
        self._network: Network | None = None
        self._next = int(evaluation_after(FIRST_READING - 1))
        self.queries = 0

    def add(self, told: Told) -> list[Reading]:
        """Take in new queries, in their order; return the readings of the evaluations that fell due."""
        readings = []
        start, n = 0, len(told.label)
        while start < n:
            end = min(n, start + self._next - self.queries)
            self._retained.add(told.take(slice(start, end)))
            self.queries += end - start
            start = end
            if self.queries == self._next:
                readings.append(self.read())
                self._next = int(evaluation_after(self.queries))
        return readings

    def read(self) -> Reading:
        """Train the copy a little further, and judge it."""
        judge = self._judge
        told = self._retained.told()
        inputs, said = judge.scaled(told.z, told.c), targets(told, judge.class_of(told.label), judge.classes)
        steps = STEPS
        if self._network is None:
            steps = FIRST_STEPS
            self._network = begin(inputs.shape[1], judge.classes, self._seed)
        seed = int(mix(np.uint64(self._seed), self.queries))
        self._network = trained(self._network, inputs, said, seed, steps)
        copies = predictions(self._network, judge.inputs), ridge_predictions(inputs, said, judge.inputs)
        agreement = max(map(judge.agreement, copies))  # a thief keeps the better copy
        return reading(self.queries, agreement, judge.guess, len(judge.answers), table=judge.table)
