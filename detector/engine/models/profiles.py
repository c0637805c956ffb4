"""Profiles: what kinds of benign clients look like, and how far from them an evaluation is, in which directions.

A client is compared with each profile at the same number of queries (a stage): feature by feature with the profile's range, and
as a whole by its Mahalanobis distance. `sides` say which deviations count (see `sides`).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detector.engine.features.distances import WINDOW
from detector.engine.features.row import CONTENT
from detector.engine.kernels import kernel
from detector.engine.models.sides import weigh_outputs

STAGES = np.array([8, 16, 24, 32, 48, 64, 96, 160, 256, 512, 1024, 4096])
FARTHEST = 3.0  # standard deviations beyond which a feature adds no more to the combination
MOST = 1.25  # most that one feature adds to the ranges, and that the combination adds, and the stream
SETTLED = 1e-4  # standard deviations; a search that moves less has ended
SWEEPS = 16  # over the features, until the nearest client in directions that do not count is found

Floats = npt.NDArray[np.float64]
# The standard error of a share at each stage: shares count queries, running figures see about the last `WINDOW` of them.
ALL_STAGES = slice(None)
RESOLUTION = 0.5 / np.sqrt(np.minimum(STAGES, WINDOW))


def stage_of(queries: int) -> int:
    """Return the stage of a scheduled evaluation: the last of `STAGES` not above its number of queries.

    >>> stage_of(8), stage_of(40), stage_of(10**6)
    (0, 3, 11)
    """
    return max(int(np.searchsorted(STAGES, queries, side="right")) - 1, 0)


def stages_of(queries: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the stage of each evaluation, as `stage_of` does."""
    return np.maximum(np.searchsorted(STAGES, queries, side="right") - 1, 0)


@dataclass(frozen=True, slots=True)
class Profiles:
    """What profiles of benign clients look like, stage by stage; f counts the content features.

    `quantiles` (stages, features, 3) are the 5%, 50% and 95% of each feature. `low` and `high` (stages, profiles, f) are the
    range of each profile, and `width` (stages, profiles, f) is what a deviation from it is measured in. `means` (stages,
    profiles, f) and `whiten` (stages, f, f) give the Mahalanobis distance.
    """

    quantiles: Floats
    low: Floats
    high: Floats
    width: Floats
    means: Floats
    whiten: Floats


def center_and_scale(quantiles: Floats, stage: int | slice = ALL_STAGES) -> tuple[Floats, Floats]:
    """Return the median and a robust standard deviation of the content features, from the quantiles (..., features, 3) there.

    A feature that hardly varies among benign clients has the resolution of its stage for a standard deviation.
    """
    spread = (quantiles[..., 2] - quantiles[..., 0]) / 3.29
    return quantiles[..., CONTENT, 1], np.maximum(spread, RESOLUTION[stage, None])[..., CONTENT]


@kernel
def compare(rows, stage, sides, low, high, width, center, scale, means, precision, excess, distance, nearest):
    """Compare each row with the profiles of its stage; features that are missing (NaN) count as usual.

    `sides` (f,) say which deviations count: +1 those above, -1 those below, 0 both. `excess[i]` becomes the sum of squared
    excesses over the ranges of the best fitting profile, whose number becomes `nearest[i]`, and `distance[i]` the Mahalanobis
    distance to the nearest profile; `precision` (stages, f, f) is the inverse of the covariance.
    """
    n, f = rows.shape
    x = np.empty(f)
    for i in range(n):
        s = stage[i]
        excess[i] = np.inf
        distance[i] = np.inf
        for p in range(means.shape[1]):
            outside = 0.0
            for j in range(f):
                value = rows[i, j]
                if np.isnan(value):
                    x[j] = 0.0
                    continue
                below = 0.0 if sides[j] > 0 else low[s, p, j] - value
                above = 0.0 if sides[j] < 0 else value - high[s, p, j]
                over = min(max(below, above, 0.0) / width[s, p, j], MOST)
                outside += over * over
                x[j] = min(max((value - center[s, j]) / scale[s, j], -FARTHEST), FARTHEST) - means[s, p, j]
            if outside < excess[i]:
                excess[i] = outside
                nearest[i] = p
            distance[i] = min(distance[i], counted_distance(x, precision[s], sides))


@kernel
def counted_distance(x, precision, sides):
    """Return the least Mahalanobis distance of `x` (f,) to a deviation that does not count.

    Such a deviation is 0 or on the other side in every feature that has a side, and 0 in the others. The nearest one is found
    feature by feature (coordinate descent on a convex function, which is never above its start).
    """
    f = x.shape[0]
    rest = np.empty(f)  # the part of `x` that counts
    for j in range(f):
        rest[j] = 0.0 if sides[j] * x[j] < 0.0 else x[j]
    pull = np.zeros(f)
    for j in range(f):
        for k in range(f):
            pull[j] += precision[j, k] * rest[k]
    for _ in range(SWEEPS):
        moved = 0.0
        for j in range(f):
            if sides[j] == 0:
                continue
            # What is taken away lies on the side that does not count, so what is left is not less than `x` on the other.
            wanted = rest[j] - pull[j] / precision[j, j]
            wanted = max(wanted, x[j]) if sides[j] > 0 else min(wanted, x[j])
            step = wanted - rest[j]
            if step != 0.0:
                rest[j] = wanted
                moved = max(moved, abs(step))
                for k in range(f):
                    pull[k] += precision[k, j] * step
        if moved < SETTLED:
            break
    total = 0.0
    for j in range(f):
        total += rest[j] * pull[j]
    return np.sqrt(max(total, 0.0))


class Comparison:
    """Compares evaluations with the profiles of norms, in the directions that are asked for."""

    def __init__(self, norms: Profiles) -> None:
        self._norms = norms
        self.center, self.scale = center_and_scale(norms.quantiles)
        self._precision = np.ascontiguousarray(np.swapaxes(norms.whiten, 1, 2) @ norms.whiten)

    def over(
        self, rows: Floats, stage: npt.NDArray[np.int64], sides: npt.NDArray[np.int64]
    ) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
        """Return of each evaluation the excess, the distance, and the number of the nearest profile; see `compare`."""
        excess, distance = np.empty((2, len(rows)))
        nearest = np.zeros(len(rows), np.int64)
        norms = self._norms
        compare(
            np.ascontiguousarray(weigh_outputs(rows)[:, CONTENT]),
            stage,
            sides,
            norms.low,
            norms.high,
            norms.width,
            self.center,
            self.scale,
            norms.means,
            self._precision,
            excess,
            distance,
            nearest,
        )
        return excess, distance, nearest

    def away(self, row: Floats, stage: int, profile: int) -> Floats:
        """Return how far each content feature of a row (features,) is outside the range of a profile, in widths; 0 inside."""
        norms = self._norms
        value = weigh_outputs(row[None])[0, CONTENT]
        low, high = norms.low[stage, profile], norms.high[stage, profile]
        outside = np.where(value > high, value - high, np.where(value < low, value - low, 0.0))
        found: Floats = np.nan_to_num(outside / norms.width[stage, profile])
        return found
