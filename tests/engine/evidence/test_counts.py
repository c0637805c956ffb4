"""Counts: five to a retained query, and none disturbs another."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from detector.engine.evidence.counts import COMPARED, DWELT, FEW, MOST, SHOWN, STEEP, TURNED, all_counts, count_of, set_count

ALL = (DWELT, SHOWN, STEEP, COMPARED, TURNED)


class Counted(NamedTuple):
    """The column that the functions read."""

    counts: npt.NDArray[np.uint16]


@given(st.lists(st.tuples(st.sampled_from(ALL), st.integers(0, 300)), max_size=20))
def test_a_count_is_what_was_set_last_up_to_the_most(changes: list[tuple[int, int]]) -> None:
    """They behave as so many numbers; beyond the largest they stay there."""
    past = Counted(np.zeros(2, np.uint16))
    told = dict.fromkeys(ALL, 0)
    for which, value in changes:
        set_count(past, 1, which, value)
        told[which] = min(value, FEW if which in {SHOWN, STEEP} else MOST)
    assert {which: count_of(past, 1, which) for which in told} == told
    assert past.counts[0] == 0


def test_a_new_query_has_the_counts_of_its_cluster() -> None:
    """It was not compared yet."""
    past = Counted(np.array([all_counts(1, 2, 3, 99)], np.uint16))
    assert [count_of(past, 0, which) for which in ALL] == [1, 2, 3, 0, MOST]
