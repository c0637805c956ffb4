"""Reports compare a client with others as they were at its latest evaluation."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detector.engine.memory.admission import evaluation_after
from detector.engine.reports import EVALUATIONS, evaluated_at


@given(st.integers(int(EVALUATIONS[0]), 2**32 - 1))
def test_the_latest_evaluation_is_the_last_one_that_was_due(queries: int) -> None:
    """It is not above the number of queries, and the next one is."""
    (latest,) = evaluated_at(np.array([queries])).tolist()
    assert latest in EVALUATIONS
    assert latest <= queries < evaluation_after(latest)


def test_a_row_is_not_compared_with_a_later_stage() -> None:
    """With 165 queries the features are those after 157, so they belong to the stage before 160."""
    assert evaluated_at(np.array([0, 7, 8, 165])).tolist() == [0, 0, 8, 157]
