"""Aim: which steps point at an earlier query with another answer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.engine.evidence.aim import APART, FAR_OFF, MOST_ON_LINE, aims_at_other

DIMENSION = 24


def aims(query: np.ndarray, earlier: np.ndarray, labels: list[int], *, stored: int | None = None) -> bool:
    """Ask about a query whose nearest retained query is the first."""
    squares = np.square(earlier - query).sum(axis=1).astype(np.float32)
    order = np.arange(len(earlier), dtype=np.uint32)
    place = int(squares.argmin())
    z = np.ascontiguousarray(earlier.T.astype(np.int16))
    count = len(earlier) + APART if stored is None else stored
    return bool(aims_at_other(query.astype(np.float32), z, squares, len(earlier), place, np.array(labels), order, count))


@given(seed=st.integers(0, 10_000), share=st.floats(0.02, 0.39))
def test_a_step_along_the_line_aims_and_one_across_does_not(seed: int, share: float) -> None:
    """Whatever the two points and the length of the step."""
    rng = np.random.default_rng(seed)
    earlier = rng.integers(-3000, 3000, (2, DIMENSION))
    way = earlier[1] - earlier[0]
    assert aims(np.rint(earlier[0] + share * way), earlier, [0, 1])
    across = rng.normal(size=DIMENSION)
    across -= way * (across @ way) / (way @ way)
    across *= share * np.linalg.norm(way) / np.linalg.norm(across)
    assert not aims(np.rint(earlier[0] + across), earlier, [0, 1])


@pytest.mark.parametrize(("labels", "stored", "why"), [([0, 0], None, "the same answer"), ([0, 1], 2, "asked just before")])
def test_what_it_must_point_at(labels: list[int], stored: int | None, why: str) -> None:
    """An earlier query with another answer, not one from a moment ago."""
    rng = np.random.default_rng(1)
    earlier = rng.integers(-3000, 3000, (2, DIMENSION))
    assert not aims(np.rint(earlier[0] + 0.1 * (earlier[1] - earlier[0])), earlier, labels, stored=stored), why


def test_a_slider_set_at_random_does_not_aim() -> None:
    """The nearest place asked about on its way is another setting of the same slider, not an example with another answer."""
    rng = np.random.default_rng(2)
    first, last = rng.integers(-3000, 3000, (2, DIMENSION))
    shares = np.linspace(0.1, 0.9, 9)
    earlier = np.rint(first + np.outer(shares, last - first))
    for share in (0.12, 0.22, 0.32):
        assert not aims(np.rint(first + share * (last - first)), np.vstack([earlier, last]), [0] * 8 + [1, 1])


def test_what_is_near_or_on_a_line_with_others_is_no_aim() -> None:
    """Two settings of a slider next to each other, and a line on which a good many places were asked about."""
    rng = np.random.default_rng(4)
    first, last = rng.integers(-3000, 3000, (2, DIMENSION))
    earlier = np.vstack([first, last])
    assert aims(np.rint(first + (last - first) / (FAR_OFF + 0.1)), earlier, [0, 1])
    assert not aims(np.rint(first + (last - first) / (FAR_OFF - 0.1)), earlier, [0, 1])
    behind = [np.rint(first - share * (last - first)) for share in np.linspace(0.5, 0.9, MOST_ON_LINE)]
    few, many = np.vstack([earlier, *behind[1:]]), np.vstack([earlier, *behind])
    query = np.rint(first + 0.1 * (last - first))
    assert aims(query, few, [0, 1, *[0] * (len(few) - 2)])
    assert not aims(query, many, [0, 1, *[0] * (len(many) - 2)])


def test_natural_neighbours_hardly_ever_aim() -> None:
    """Fewer than the innocent rate among random steps, with sixty things to point at."""
    rng = np.random.default_rng(3)
    fired = 0
    for _ in range(500):
        earlier = rng.integers(-3000, 3000, (60, DIMENSION))
        fired += aims(earlier[0] + rng.integers(-100, 100, DIMENSION), earlier, [0] + [1] * 59)
    assert fired == 0
