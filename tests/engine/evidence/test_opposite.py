"""The two ends of an interval are found wherever they lie, but only where the query is their very middle."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.engine.evidence.interval import LEAST_LENGTH, MOST_BLUR
from detector.engine.evidence.opposite import FEW, ROUNDED, opposite_depth

DIMENSION = 24
HELD = 40
PLACES = 48
BLUR = 300.0
TOLERANCE = 0.12
SHARPNESS = np.linspace(1.0, 0.3, DIMENSION).astype(np.float32)


class Memory:
    """Retained queries: many about a place, and two far ends with different labels on opposite sides of it."""

    def __init__(self, seed: int, reach: float = 12000.0) -> None:
        rng = np.random.default_rng(seed)
        self.z = np.zeros((DIMENSION, PLACES), np.int16)
        self.z[:, :HELD] = np.rint(rng.normal(size=(DIMENSION, HELD)) * 900)
        way = rng.normal(size=DIMENSION)
        way *= reach / np.linalg.norm(way * SHARPNESS)
        self.one, self.other = 7, 30
        self.z[:, self.one] = np.rint(way + 40)
        self.z[:, self.other] = np.rint(40 - way)
        self.label = np.full(PLACES, 5, np.int32)
        self.label[self.other] = 6
        self.order = np.arange(PLACES).astype(np.uint32)
        self.depth = np.zeros(PLACES, np.uint8)
        self.depth[self.one] = 2

    @property
    def middle(self) -> npt.NDArray[np.float64]:
        """The query half way between the two ends."""
        return np.asarray(0.5 * (self.z[:, self.one] + self.z[:, self.other].astype(float)), np.float64)

    def search(self, query: npt.NDArray[np.float64]) -> tuple[int, int, int, float]:
        """What is found for a query."""
        rounded = np.rint(query).astype(np.float32)
        squares = np.square(self.z[:, :HELD] - rounded[:, None]).sum(axis=0)
        near = np.argsort(squares, kind="stable")[:8].astype(np.int64)
        across = np.empty((FEW, PLACES), np.float32)
        sums = np.empty(PLACES, np.float32)
        depth, one, other, position = opposite_depth(
            rounded,
            self.z,
            np.int64(HELD),
            near,
            self.label,
            self.order,
            self.depth,
            SHARPNESS,
            TOLERANCE,
            BLUR,
            across,
            sums,
        )
        return int(depth), int(one), int(other), float(position)


@pytest.mark.parametrize("seed", range(8))
def test_far_ends_are_found_though_many_queries_are_nearer(seed: int) -> None:
    """The eight nearest hold neither end. The query is one deeper than the deeper end."""
    memory = Memory(seed)
    depth, one, other, position = memory.search(memory.middle)
    assert (depth, {one, other}) == (3, {memory.one, memory.other})
    assert position == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(("roundings", "found"), [(0.9, True), (1.1, False)])
def test_the_query_is_the_middle_as_nearly_as_rounding_allows(roundings: float, *, found: bool) -> None:
    """A point beside the middle, or before it, is none: among so many pairs one comes near anything."""
    memory = Memory(1)
    most = np.sqrt(MOST_BLUR * (BLUR + ROUNDED * DIMENSION / 4))
    way = memory.z[:, memory.one] - memory.middle
    for direction in (way, np.roll(way, 5)):
        off = direction / np.linalg.norm(direction * SHARPNESS)
        assert (memory.search(memory.middle + roundings * most * off)[0] > 0) == found


def test_ends_with_one_label_are_no_interval() -> None:
    """Whatever lies between two equal answers tells nothing of a boundary."""
    memory = Memory(2)
    memory.label[:] = 5
    assert memory.search(memory.middle) == (0, -1, -1, 0.5)


@pytest.mark.parametrize(("share", "found"), [(1.1, True), (0.9, False)])
def test_ends_that_rounding_parts_are_no_interval(share: float, *, found: bool) -> None:
    """The interval must be longer than that; the other queries lie beside it, nearer than its ends."""
    reach = 0.5 * share * np.sqrt(LEAST_LENGTH * BLUR)
    memory = Memory(3, reach)
    others = [m for m in range(HELD) if m not in (memory.one, memory.other)]
    way = (memory.z[:, memory.one] - memory.middle) * SHARPNESS
    aside = np.random.default_rng(3).normal(size=(DIMENSION, len(others)))
    aside -= np.outer(way, way @ aside) / (way @ way)
    aside *= 0.8 * reach / np.linalg.norm(aside, axis=0)
    memory.z[:, others] = np.rint(memory.middle[:, None] + aside / SHARPNESS[:, None])
    assert (memory.search(memory.middle)[0] > 0) == found


def test_a_query_on_the_line_that_is_newer_than_both_ends_rules_them_out() -> None:
    """A slider moves on from its newest place, and a search halves the interval of its newest point."""
    memory = Memory(4)
    memory.z[:, 12] = np.rint(0.95 * memory.middle + 0.05 * memory.z[:, memory.one])
    assert memory.search(memory.middle)[0] == 3
    memory.order[12] = 1000
    assert memory.search(memory.middle)[0] == 0


@given(seed=st.integers(0, 2**32 - 1))
def test_every_pair_is_looked_at(seed: int) -> None:
    """The quick test overlooks no pair of places whose middle the query is."""
    rng = np.random.default_rng(seed)
    memory = Memory(seed % 1000)
    at, to = (int(place) for place in rng.choice(HELD, 2, replace=False))
    if {at, to} & {memory.one, memory.other}:
        return
    for column in (memory.z, memory.label[None], memory.order[None], memory.depth[None]):
        ends = column[:, [memory.one, memory.other]].copy()
        column[:, [memory.one, memory.other]] = column[:, [at, to]]
        column[:, [at, to]] = ends
    memory.one, memory.other = at, to
    depth, one, other, _ = memory.search(memory.middle)
    assert (depth, {one, other}) == (3, {at, to})
