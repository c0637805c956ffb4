"""Trees of pairs of columns: on which other column each one depends.

Of all trees the one is taken whose columns and parents have the largest sum of mutual information (Chow and Liu, IEEE Trans.
Information Theory 14, 1968).
"""

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

Matrix = npt.NDArray[np.float64]


def information(joint: Matrix) -> float:
    """Return the mutual information, in nats, of two columns whose levels occur together so often.

    >>> information(np.array([[0.25, 0.25], [0.25, 0.25]])), round(information(np.array([[0.5, 0.0], [0.0, 0.5]])), 3)
    (0.0, 0.693)
    """
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    seen = joint > 0.0
    return float((joint[seen] * np.log(joint[seen] / apart[seen])).sum())


def parents_of(told: Matrix) -> npt.NDArray[np.int32]:
    """Return the parent of each column, -1 for the first.

    `told` (columns, columns) holds below its diagonal what two columns tell of each other.
    """
    columns = len(told)
    # The tree of the largest sum is that of the smallest one of what is lacking; zero would mean that there is no edge.
    lacking = np.where(np.tri(columns, k=-1) > 0, told.max(initial=0.0) + 1.0 - told, 0.0)
    edges = minimum_spanning_tree(csr_array(lacking))
    _, above = breadth_first_order(edges, 0, directed=False)
    return np.where(above < 0, -1, above).astype(np.int32)
