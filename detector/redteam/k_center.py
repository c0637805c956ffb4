"""Greedy k-center: choose points so that nothing is far from a chosen one."""

import numpy as np

from detector.redteam.conversation import Array, Labels


def greedy_k_center(points: Array, centres: Array, count: int) -> tuple[Labels, Array]:
    """Choose `count` of `points` (n, d), each the farthest from all `centres` (m, d) and all chosen before.

    Returns their indices and the distance of each when it was chosen, which never grows: the covering radius so far
    (Gonzalez 1985: at most twice the best possible). Fewer points than `count` are all chosen. Without centres the
    first point is the first chosen, at infinity.

    >>> line = np.array([[0.0], [1.0], [9.0], [10.0]])
    >>> greedy_k_center(line, line[:1], 2)[0].tolist()
    [3, 1]
    """
    nearest = np.full(len(points), np.inf)
    for centre in centres:
        nearest = np.minimum(nearest, np.linalg.norm(points - centre, axis=1))
    chosen: list[int] = []
    radii: list[float] = []
    for _ in range(min(count, len(points))):
        index = int(nearest.argmax())
        chosen.append(index)
        radii.append(float(nearest[index]))
        nearest = np.minimum(nearest, np.linalg.norm(points - points[index], axis=1))
        nearest[index] = -np.inf
    return np.array(chosen, dtype=np.int64), np.array(radii)
