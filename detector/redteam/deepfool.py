"""DeepFool: how far a picture is from the boundary of a network whose weights are known."""

import numpy as np

from detector.redteam.conversation import Array
from detector.redteam.network import Network


def deepfool_distances(network: Network, X: Array, *, iterations: int = 5) -> Array:
    """Euclidean length of a change that makes the network say another class (Moosavi-Dezfooli et al., CVPR 2016).

    Algorithm 2 for all rows of X (n, dimension) at once: step to the nearest of the boundaries to all other classes as
    if the network were linear, until the class changes. It is an estimate from above, (n,); rows that do not get across
    within `iterations` count with the way made so far. Values are not clipped. No two classes, no boundary: infinity.
    """
    if network.outer.shape[1] < 2:
        return np.full(len(X), np.inf)
    moved = X.copy()
    rows = np.arange(len(X))
    own = network.logits(X).argmax(axis=1)
    for _ in range(iterations):
        logits = network.logits(moved)
        active = logits.argmax(axis=1) == own
        if not active.any():
            break
        slopes = network.jacobians(moved)
        slopes = slopes - slopes[rows, :, own][:, :, None]
        behind = logits - logits[rows, own][:, None]
        squared = np.maximum((slopes**2).sum(axis=1), 1e-12)
        lengths = np.abs(behind) / np.sqrt(squared)
        lengths[rows, own] = np.inf
        nearest = lengths.argmin(axis=1)
        share = (np.abs(behind[rows, nearest]) + 1e-4) / squared[rows, nearest]
        step = share[:, None] * slopes[rows, :, nearest]
        moved += np.where(active[:, None], 1.02 * step, 0.0)
    return np.asarray(np.linalg.norm(moved - X, axis=1))
