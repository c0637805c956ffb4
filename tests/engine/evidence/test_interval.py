"""The middle of an interval is found on straight lines and on spheres, and the quick test overlooks none."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.engine.evidence.interval import (
    GLANCE,
    LEAST_BEFORE,
    LEAST_LENGTH,
    MOST_BLUR,
    hidden_depth,
    interval_depth,
    may_halve,
    on_line,
)

Floats = npt.NDArray[np.float32]

DIMENSION = 24
RADIUS = 8000.0
FLAT = np.zeros(0, np.float32)  # no sphere


def on_sphere(points: npt.NDArray[np.float64], origin: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Move points (..., coordinates) to the sphere of `RADIUS` about ``-origin``."""
    out = points + origin
    return np.asarray(RADIUS * out / np.linalg.norm(out, axis=-1, keepdims=True) - origin)


def test_points_off_the_line_are_not_halvings() -> None:
    """A point beside the line by more than the tolerance has no position on it."""
    first, second = np.zeros(3, np.float32), np.array([10, 0, 0], np.float32)
    assert on_line(first, second, np.array([5, 0, 0], np.float32), FLAT, 0.05, 0.0) == 0.5
    assert on_line(first, second, np.array([5, 0.2, 0], np.float32), FLAT, 0.05, 0.0) == pytest.approx(0.5)
    assert np.isnan(on_line(first, second, np.array([5, 0.3, 0], np.float32), FLAT, 0.05, 0.0))
    assert np.isnan(on_line(first, first, second, FLAT, 0.05, 0.0))
    assert on_line(first, second, np.array([-10, 0, 0], np.float32), FLAT, 0.05, 0.0) == -1.0


@pytest.mark.parametrize("seed", range(8))
def test_the_middle_of_an_arc_is_found_by_its_direction(seed: int) -> None:
    """It lies outside the straight line, away from the centre; inside it or beside it lies no middle."""
    rng = np.random.default_rng(seed)
    origin = rng.normal(size=DIMENSION) * RADIUS
    first, second = on_sphere(rng.normal(size=(2, DIMENSION)) * RADIUS - origin, origin)
    out = (first + second) / 2 + origin
    middle = on_sphere(out - origin, origin)
    aside = rng.normal(size=DIMENSION)
    aside -= out * (aside @ out) / (out @ out)

    def position(point: npt.NDArray[np.float64], origin: npt.NDArray[np.float64]) -> float:
        one, other, middle, centre = (end.astype(np.float32) for end in (first, second, point, origin))
        return float(on_line(one, other, middle, centre, 0.12, 0.0))

    assert position(middle, origin) == pytest.approx(0.5, abs=1e-3)
    assert np.isnan(position(middle, np.zeros(0)))
    assert np.isnan(position((first + second) / 2 - 0.3 * out, origin))
    assert np.isnan(position(middle + 0.2 * RADIUS * aside / np.linalg.norm(aside), origin))


@pytest.mark.parametrize("curved", [False, True])
def test_a_search_among_vectors_of_one_length_grows_deeper(*, curved: bool) -> None:
    """Every middle is brought to the sphere; without the sphere's centre the first halvings of wide arcs are missed."""
    rng = np.random.default_rng(1)
    origin = np.zeros(DIMENSION)
    points = list(on_sphere(rng.normal(size=(2, DIMENSION)), origin))
    labels, depths = [0, 1], [0, 0]
    low, high = points
    for _ in range(6):
        middle = on_sphere(low + high, origin)
        n = len(points)
        gathered = np.array(points, np.float32)
        near = np.argsort(np.square(gathered - middle).sum(axis=1), kind="stable")[:8].astype(np.int64)
        centre = origin.astype(np.float32) if curved else FLAT
        depth, *_ = interval_depth(
            middle.astype(np.float32),
            near,
            gathered[near],
            np.array(labels, np.int32),
            np.arange(n).astype(np.uint32),
            np.array(depths, np.uint8),
            centre,
            0.12,
            0.0,
        )
        points.append(middle)
        labels.append(1)
        depths.append(depth)
        high = middle
    assert (depths[2:] == [1, 2, 3, 4, 5, 6]) is curved


@given(
    st.integers(0, 10**6),
    st.sampled_from([1, 2, 3, 24]),
    st.sampled_from([0.01, 0.05, 0.12]),
    st.sampled_from([0.0, 1e5]),
    st.booleans(),
    st.booleans(),
)
def test_the_quick_look_overlooks_nothing(
    seed: int,
    dimension: int,
    tolerance: float,
    blur: float,
    curved: bool,
    uneven: bool,
) -> None:
    """Where the exact test finds a halving, the cheap one must have let it through; lines in all directions, with noise."""
    rng = np.random.default_rng(seed)
    n = 8
    origin = (rng.normal(size=DIMENSION) * RADIUS).astype(np.float32) if curved else FLAT
    for _ in range(30):
        z = np.zeros((DIMENSION, n), np.int16)
        z[:dimension] = rng.integers(-8000, 8000, (dimension, n))
        first, second = z[:, 0].astype(float), z[:, 1].astype(float)
        middle = first + rng.uniform(0.2, 0.8) * (second - first)
        if curved:
            middle += rng.uniform(0.0, 0.3) * (middle + origin)
        middle[:dimension] += (
            rng.normal(size=dimension) * np.linalg.norm(second - first) * tolerance * rng.choice([0.0, 0.3, 1.0])
        )
        query = np.rint(middle).astype(np.float32)
        labels = rng.integers(0, 2, n).astype(np.int32)
        gathered = np.ascontiguousarray(z.T, np.float32)
        sharpness = rng.uniform(0.2, 1.0, DIMENSION).astype(np.float32) if uneven else np.ones(DIMENSION, np.float32)
        squares = np.square(gathered - query).sum(axis=1).astype(np.float32)
        near = np.argsort(squares, kind="stable").astype(np.int64)
        depth, *_ = interval_depth(
            query * sharpness,
            near,
            gathered[near] * sharpness,
            labels,
            np.zeros(n, np.uint32),
            np.zeros(n, np.uint8),
            origin * sharpness if curved else origin,
            tolerance,
            blur,
        )
        if depth > 0:
            toward = np.empty((n, GLANCE), np.float32)
            assert may_halve(query, z, near, squares, labels, sharpness, origin, toward, tolerance, blur)


@pytest.mark.parametrize(
    ("before", "apart", "off", "alike", "deeper"),
    [
        (LEAST_BEFORE, 0.9, 0.9, False, LEAST_BEFORE + 1),
        (LEAST_BEFORE - 1, 0.9, 0.9, False, 0),
        (LEAST_BEFORE, 1.1, 0.9, False, 0),
        (LEAST_BEFORE, 0.9, 1.1, False, 0),
        (LEAST_BEFORE, 0.9, 0.9, True, 0),
    ],
    ids=["goes on", "few halvings before", "long enough to be told", "farther than rounding", "one label"],
)
def test_a_search_goes_on_where_rounding_hides_its_place(
    before: int, apart: float, off: float, *, alike: bool, deeper: int
) -> None:
    """If enough of it was seen, and the query is as near to its two ends as rounding leaves it; shares are of the limits."""
    blur = 100.0
    ends = np.zeros((3, DIMENSION), np.float32)
    ends[1, 0] = apart * np.sqrt(LEAST_LENGTH * blur)
    ends[2, 5] = 1000.0
    query = 0.5 * (ends[0] + ends[1])
    query[1] = off * np.sqrt(MOST_BLUR * blur)
    label = np.array([0, int(not alike), 1], np.int32)
    depth = np.array([before, 0, before], np.uint8)
    found, one, other = hidden_depth(query, np.arange(3), ends, label, depth, blur)
    assert found == deeper
    assert {int(one), int(other)} == ({0, 1} if deeper else {-1})
