"""Borrowed arrays are the caller's own: what a kernel writes through them is there, and they live on."""

import sys
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.kernels import kernel
from detector.engine.memory.borrowed import borrowed


class Group(NamedTuple):
    """Arrays of two kinds, and a number."""

    first: npt.NDArray[np.float64]
    second: npt.NDArray[np.int32]
    number: int


def test_writes_through_views_reach_the_caller_and_references_stay() -> None:
    """No count goes up or down, so the arrays are neither leaked nor freed."""

    @kernel
    def fill(group: Group) -> int:
        group = borrowed(group)
        for i in range(group.first.shape[0]):
            row = group.first[i]
            row[:] = group.second[i] + group.number
        return group.number

    group = Group(np.zeros((3, 2)), np.arange(3, dtype=np.int32), 10)
    before = sys.getrefcount(group.first)
    assert [fill(group) for _ in range(5)] == [10] * 5
    after = sys.getrefcount(group.first)
    assert after == before
    assert group.first.tolist() == [[10.0, 10.0], [11.0, 11.0], [12.0, 12.0]]
