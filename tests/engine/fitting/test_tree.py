"""Trees of pairs of columns."""

import numpy as np

from detector.engine.fitting.tree import parents_of


def test_each_column_depends_on_the_one_that_tells_most_of_it() -> None:
    """A chain is found, in whatever order its columns come."""
    told = np.zeros((4, 4))
    for one, other in ((0, 3), (3, 1), (1, 2)):
        told[max(one, other), min(one, other)] = 1.0
    told[2, 0] = 0.2
    assert parents_of(told).tolist() == [-1, 3, 1, 0]


def test_columns_that_tell_nothing_have_a_tree_too() -> None:
    """One column has no parent; no columns have no tree."""
    assert parents_of(np.zeros((1, 1))).tolist() == [-1]
    assert sorted(parents_of(np.zeros((3, 3))).tolist()) == [-1, 0, 0]
