import numpy as np

from detector.redteam.attacks.path_finding import Identify, Leaf, find_leaves
from detector.redteam.columns import TableColumns
from detector.redteam.conversation import Array, found_by
from detector.redteam.space import Space

ROWS = np.array([[0.0, 0.0, 0.0], [10.0, 60.0, 3.0], [3.5, 20.0, 1.0], [1.0, 10.0, 2.0]])
SPACE = Space.of(TableColumns.of(ROWS, categorical=[2]), (0.0, 1.0), 3)


def _tree(X: Array) -> Array:
    """Five leaves: on codes 1 and 2 by age, at 30; elsewhere by amount, at 2.5 and 7, and then by age, at 45."""
    amount, age, code = X.T
    leaf = np.where(
        np.isin(code, [1.0, 2.0]),
        np.where(age <= 30.0, 0, 1),
        np.where(amount <= 2.5, 2, np.where(amount <= 7.0, 3, np.where(age <= 45.0, 3, 4))),
    )
    positive = np.array([0.1, 0.8, 0.3, 0.6, 0.9])[leaf]
    return np.column_stack([1.0 - positive, positive])


def _leaves(identify: Identify) -> dict[float, Leaf]:
    leaves: dict[bytes, Leaf] = {}
    start = np.array([9.0, 12.0, 3.0])
    part = find_leaves(start, SPACE, leaves, tolerance=1e-3, identify=identify)
    found_by(part, _tree)
    return {float(leaf.answer[1]): leaf for leaf in leaves.values()}


def test_every_leaf_of_a_tree_is_found_with_its_conditions() -> None:
    """All five leaves, their thresholds to a thousandth, whole numbers exactly, and their codes."""
    leaves = _leaves("confidences")
    assert sorted(leaves) == [0.1, 0.3, 0.6, 0.8, 0.9]
    young, old = leaves[0.1], leaves[0.8]
    assert young.codes[2] == old.codes[2] == (1.0, 2.0)
    assert (young.low[1], young.high[1], old.low[1], old.high[1]) == (0.0, 30.0, 31.0, 60.0)
    assert leaves[0.3].codes[2] == (0.0, 3.0)
    assert abs(leaves[0.3].high[0] - 2.5) <= 0.01
    assert abs(leaves[0.9].low[0] - 7.0) <= 0.01
    assert leaves[0.9].low[1] == 46.0


def test_labels_alone_hide_most_of_the_tree() -> None:
    """Leaves of one label that touch are one, so fewer are found."""
    assert len(_leaves("labels")) == 2
