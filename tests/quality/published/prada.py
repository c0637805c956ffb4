"""PRADA, which asks whether the distances between a client's queries are normally distributed.

Natural queries scatter, so the distance of each new query to the nearest earlier one of its class is about normal.
Queries derived from one another by fixed steps are not. PRADA keeps, per client and class, a growing set of mutually
distant queries, collects the distance of each new query to the nearest member, and raises the alarm when the
Shapiro-Wilk statistic W of all distances so far falls below delta.

Source: M. Juuti, S. Szyller, S. Marchal, N. Asokan, "PRADA: Protecting Against DNN Model Stealing Attacks", IEEE
EuroS&P 2019 (arXiv 1805.02628). The authors' reference code decides on details, oddities included: the test runs at
every tenth query only, counted from 0; classes with few distances take no part; the minimum of 100 distances is counted
after outliers are gone; a later test may take the alarm back.
"""

import warnings
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats


@dataclass(frozen=True, slots=True)
class Verdict:
    """What PRADA makes of one query.

    `distance` is the L2 distance to the nearest member of the class's growing set, before this query joined it; None
    for the first query of a class. `accepted` tells whether the query joined the set. `tested` tells whether W was
    computed at this query; `w` is the latest W, None before the first test. `flagged` is the alarm, `w < delta`.
    """

    distance: float | None
    accepted: bool
    tested: bool
    w: float | None
    flagged: bool


class Prada:
    """PRADA for one client; the alarm is `Verdict.flagged`.

    When it works: innocent queries are independent draws from natural data, and the attacker's are built from few seeds
    with one step size. When it does not: innocent clients that repeat themselves (retries, the frames of a video) pile
    up distances at and near zero, W collapses and they are flagged; attackers whose distances happen to be normal, such
    as uniform noise or natural data of another kind, are not flagged. There is no window: state and the cost of a query
    grow without bound, and no alarm comes before there are more than `minimum` distances.

    Parameters
    ----------
    delta
        Alarm when W is below it. The authors tune it per model as the least W of benign clients (0.95 for MNIST).
    minimum
        The test needs more than this many distances after the outliers (3 standard deviations and beyond) are gone.
    per_class
        Classes with fewer distances than this take no part in the test.
    period
        Queries from one test to the next. The first query is number 0, so tests come at queries 0, 10, 20, ...

    Examples
    --------
    Sixty queries of one class at integer points: each new one is a distance of 1 from the nearest, and joins the set.

    >>> client = Prada()
    >>> verdicts = [client.observe([float(i), 0.0], "cat") for i in range(60)]
    >>> verdicts[0]
    Verdict(distance=None, accepted=True, tested=False, w=None, flagged=False)
    >>> verdicts[59]
    Verdict(distance=1.0, accepted=True, tested=False, w=None, flagged=False)

    """

    def __init__(self, delta: float = 0.95, *, minimum: int = 100, per_class: int = 10, period: int = 10) -> None:
        """Start with no history; parameters as in the class."""
        if minimum < 2:
            raise ValueError(f"minimum is {minimum}; Shapiro-Wilk needs 3 distances, so it must be 2 or more")
        if period < 1:
            raise ValueError(f"period is {period}; it must be 1 or more")
        self.delta = delta
        self.minimum = minimum
        self.per_class = per_class
        self.period = period
        self._sets: dict[Hashable, _GrowingSet] = {}
        self._distances: dict[Hashable, _Column] = {}
        self._queries = 0
        self._w: float | None = None

    def observe(self, vector: npt.ArrayLike, label: Hashable) -> Verdict:
        """Take the client's next query and the class the model predicted for it.

        `vector` is flattened and taken as float64; its values must be finite and its size the same for all queries of a
        class, else ValueError is raised and the query is not counted.
        """
        query = np.ravel(np.asarray(vector, dtype=np.float64))
        if not np.isfinite(query).all():
            raise ValueError("a query must be finite")
        distance: float | None = None
        accepted = True
        growing = self._sets.get(label)
        if growing is None:
            self._sets[label] = _GrowingSet(query)
        else:
            distance = growing.nearest(query)
            self._distances.setdefault(label, _Column()).append(distance)
            accepted = growing.offer(query, distance)

        w = self._test() if self._queries % self.period == 0 else None
        if w is not None:
            self._w = w
        self._queries += 1
        flagged = self._w is not None and self._w < self.delta
        return Verdict(distance, accepted, w is not None, self._w, flagged)

    @property
    def stored(self) -> int:
        """Queries kept in the growing sets of all classes."""
        return sum(growing.size for growing in self._sets.values())

    def _test(self) -> float | None:
        columns = [column.values for column in self._distances.values() if len(column.values) >= self.per_class]
        if not columns:
            return None
        pooled = np.concatenate(columns)
        kept = pooled[np.abs(pooled - pooled.mean()) < 3 * pooled.std()]
        if len(kept) <= self.minimum:
            return None
        with warnings.catch_warnings():
            # scipy warns of the p-value beyond 5000 values, and of constant values (W is 1 then); only W counts here.
            warnings.filterwarnings("ignore", message=r"scipy\.stats\.shapiro", category=UserWarning)
            return float(stats.shapiro(kept).statistic)


class _Column:
    """Numbers in one growing array: the mean and deviation of a view cost no conversion."""

    def __init__(self) -> None:
        self._array = np.zeros(16)
        self._size = 0

    @property
    def values(self) -> npt.NDArray[np.float64]:
        return self._array[: self._size]

    def append(self, value: float) -> None:
        if self._size == len(self._array):
            self._array = np.concatenate((self._array, np.zeros(self._size)))
        self._array[self._size] = value
        self._size += 1


class _GrowingSet:
    """Mutually distant queries of one class, and the threshold of distance for the next to join."""

    def __init__(self, first: npt.NDArray[np.float64]) -> None:
        self._rows = np.zeros((16, len(first)))
        self._rows[0] = first
        self.size = 1
        self._threshold = 0.0
        self._joined = _Column()
        # The first member counts as inserted at distance 0, which lowers the mean and widens the deviation for good.
        self._joined.append(0.0)

    def nearest(self, query: npt.NDArray[np.float64]) -> float:
        if len(query) != self._rows.shape[1]:
            raise ValueError(f"a query of {len(query)} values, where earlier ones had {self._rows.shape[1]}")
        difference = self._rows[: self.size] - query
        np.square(difference, out=difference)
        return float(np.sqrt(difference.sum(axis=1).min()))

    def offer(self, query: npt.NDArray[np.float64], distance: float) -> bool:
        if not distance > self._threshold:
            return False
        if self.size == len(self._rows):
            self._rows = np.concatenate((self._rows, np.zeros_like(self._rows)))
        self._rows[self.size] = query
        self.size += 1
        self._joined.append(distance)
        joined = self._joined.values
        self._threshold = max(self._threshold, float(joined.mean() - joined.std()))
        return True
