"""Halving between answers is seen, sliders and fades are not."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.evidence.bisect import BISECT_WEIGHTS, DEEP, GLANCE, bisection_depth, may_halve, on_line
from detector.features.memory import SAMPLED

Vector = npt.NDArray[np.float64]

DIMENSION = 24


class Search:
    """What a client asked so far, with the depth that each query was given; everything asked is near."""

    def __init__(self, *, smooth: bool = False, table: bool = False) -> None:
        self.points: list[Vector] = []
        self.labels: list[int] = []
        self.depths: list[int] = []
        self.smooth = smooth
        self.table = table

    def ask(self, point: Vector, label: int) -> int:
        """Return the depth of the query, and note it."""
        n = len(self.points)
        depth = 0
        if n > 0:
            query = point.astype(np.float32)
            away = [float(np.linalg.norm(point - other)) for other in self.points]
            nearest = np.argsort(away, kind="stable")[:8]
            gathered = np.array([self.points[i] for i in nearest], np.float32)
            anchor = np.arange(SAMPLED, dtype=np.float64)
            step = anchor if self.smooth else np.random.default_rng(n).normal(size=SAMPLED)
            depth, one, other = bisection_depth(
                query,
                nearest.astype(np.int64),
                gathered,
                np.array(self.labels, np.int32),
                np.arange(n).astype(np.uint32),
                np.array(self.depths, np.uint8),
                step,
                anchor,
                0.05,
                self.table,
            )
            assert (depth == 0) == (one < 0) == (other < 0)
        self.points.append(point)
        self.labels.append(label)
        self.depths.append(depth)
        return int(depth)


def ends(seed: int) -> tuple[Vector, Vector]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=DIMENSION) * 100, rng.normal(size=DIMENSION) * 100


@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("boundary", [0.03, 0.37, 0.5001, 0.9])
def test_a_search_for_the_boundary_grows_deeper_with_every_halving(seed: int, boundary: float, *, table: bool) -> None:
    """Each halving is one deeper than the last, wherever the boundary lies, so the sixth carries full weight."""
    search = Search(table=table)
    first, second = ends(seed)
    search.ask(first, 0)
    search.ask(second, 1)
    low, high = 0.0, 1.0
    depths = []
    for _ in range(7):
        middle = (low + high) / 2
        label = int(middle > boundary)
        depths.append(search.ask(first + middle * (second - first), label))
        low, high = (low, middle) if label else (middle, high)
    assert depths == [1, 2, 3, 4, 5, 6, 7]
    assert BISECT_WEIGHTS[min(depths[-1], len(BISECT_WEIGHTS) - 1)] == 1.0


def test_the_first_two_halvings_weigh_nothing() -> None:
    """A point between two others happens by accident; only a chain counts."""
    assert BISECT_WEIGHTS[:3].tolist() == [0.0, 0.0, 0.0]
    assert (np.diff(BISECT_WEIGHTS) >= 0).all()


@pytest.mark.parametrize("steps", [5, 20, 60])
def test_a_slider_in_order_never_gets_deep(steps: int) -> None:
    """Moving from one end to the other in equal steps leaves the newest point at the end of the way, not in the middle."""
    search = Search()
    first, second = ends(1)
    depths = [search.ask(first + t * (second - first), int(t > 0.5)) for t in np.linspace(0, 1, steps)]
    assert max(depths) == 0


def test_a_slider_between_known_ends_never_gets_deep() -> None:
    """Both ends first, then everything between in order: at most single accidental halvings."""
    search = Search()
    first, second = ends(2)
    search.ask(first, 0)
    search.ask(second, 1)
    depths = [search.ask(first + t * (second - first), int(t > 0.5)) for t in np.linspace(0.05, 0.95, 19)]
    assert max(depths) <= 2


def test_a_field_tried_in_any_order_rarely_gets_deep() -> None:
    """In a table the middle has to be met closely: of a hundred random orders of twenty values, hardly any chains five."""
    rng = np.random.default_rng(8)
    first, second = ends(7)
    deep = 0
    for _ in range(100):
        search = Search(table=True)
        depths = [search.ask(first + t * (second - first), int(t > 0.5)) for t in rng.permutation(np.linspace(0, 1, 20))]
        deep += max(depths) >= 5
    assert deep <= 3


def test_answers_that_agree_are_no_search() -> None:
    """Halving between queries with one label teaches nothing about the boundary."""
    search = Search()
    first, second = ends(3)
    for point in (first, second, (first + second) / 2, 0.75 * first + 0.25 * second):
        assert search.ask(point, 4) == 0


def test_independent_queries_are_not() -> None:
    """Of 300 independent points none lies on a line between two others."""
    rng = np.random.default_rng(5)
    search = Search()
    assert {search.ask(rng.normal(size=DIMENSION) * 100, int(rng.integers(2))) for _ in range(300)} == {0}


def test_a_change_of_intensity_is_forgiven_until_it_is_deep() -> None:
    """Steps that are a smooth function of brightness count only from the sixth halving on, and so never begin a chain."""
    search = Search(smooth=True)
    first, second = ends(6)
    search.ask(first, 0)
    search.ask(second, 1)
    low, high = 0.0, 1.0
    for _ in range(DEEP):
        middle = (low + high) / 2
        assert search.ask(first + middle * (second - first), int(middle > 0.3)) == 0
        low, high = (low, middle) if middle > 0.3 else (middle, high)


def test_points_off_the_line_are_not_halvings() -> None:
    """A point beside the line by more than the tolerance has no position on it."""
    first, second = np.zeros(3, np.float32), np.array([10, 0, 0], np.float32)
    assert on_line(first, second, np.array([5, 0, 0], np.float32), 0.05) == 0.5
    assert on_line(first, second, np.array([5, 0.2, 0], np.float32), 0.05) == pytest.approx(0.5)
    assert np.isnan(on_line(first, second, np.array([5, 0.3, 0], np.float32), 0.05))
    assert np.isnan(on_line(first, first, second, 0.05))
    assert on_line(first, second, np.array([-10, 0, 0], np.float32), 0.05) == -1.0


@given(st.integers(0, 10**6), st.sampled_from([1, 2, 3, 24]), st.sampled_from([0.01, 0.05]))
def test_the_quick_look_overlooks_nothing(seed: int, dimension: int, tolerance: float) -> None:
    """Where the exact test finds a halving, the cheap one must have let it through; lines in all directions, with noise."""
    rng = np.random.default_rng(seed)
    n = 8
    for _ in range(30):
        z = np.zeros((DIMENSION, n), np.int16)
        z[:dimension] = rng.integers(-8000, 8000, (dimension, n))
        first, second = z[:, 0].astype(float), z[:, 1].astype(float)
        middle = first + rng.uniform(0.2, 0.8) * (second - first)
        middle[:dimension] += (
            rng.normal(size=dimension) * np.linalg.norm(second - first) * tolerance * rng.choice([0.0, 0.3, 1.0])
        )
        query = np.rint(middle).astype(np.float32)
        labels = rng.integers(0, 2, n).astype(np.int32)
        gathered = np.ascontiguousarray(z.T, np.float32)
        squares = np.square(gathered - query).sum(axis=1).astype(np.float32)
        near = np.argsort(squares, kind="stable").astype(np.int64)
        depth, *_ = bisection_depth(
            query,
            near,
            gathered[near],
            labels,
            np.zeros(n, np.uint32),
            np.zeros(n, np.uint8),
            rng.normal(size=SAMPLED),
            np.arange(SAMPLED, dtype=np.float64),
            tolerance,
            bool(rng.integers(2)),
        )
        if depth > 0:
            assert may_halve(query, z, near, squares, labels, np.empty((n, GLANCE), np.float32), tolerance)
