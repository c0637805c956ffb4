"""Drawn: whether a record looks as if its columns were drawn one by one, in six views. The channel `foreign` uses it.

Who has none of the population's records draws them: each column uniformly from its range, or with its mean and spread, or from
the values that occur in it. The six views are these:

* how much better the columns fit uniform draws than the population, as a mean logarithm of a likelihood ratio per column;
* the same for normal draws with each column's mean and spread;
* the energy in the minor principal directions of the numeric columns, in which the population hardly varies;
* that in the major ones;
* the distance to the nearest landmark of the population;
* how much better the values fit together than if they were drawn one by one, as a logarithm of a likelihood ratio under a tree
  of pairs of columns (Chow and Liu, IEEE Trans. Information Theory 14, 1968). What fits worst in one column does not count.

No column counts for more than `MOST_A_COLUMN` in the first two views, and no pair in the last. A record that is odd in one
column, as when somebody moves a slider, looks drawn in none of the three. Each kind of draw has a quadratic form of the views,
as noise has (see `evidence.noise`).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.evidence.cooccur import BINS, bin_of
from detector.engine.kernels import kernel

VIEWS = 6
MOST_A_COLUMN = 2.0  # largest logarithm of a likelihood ratio of one column, or of a pair of columns
FARTHEST = 4.0  # deviations beyond which a value is no farther away
SMALL = 1e-3
MOST_COLUMNS = 64
SCALING = 2  # columns of `Drawn.whiten` before the directions

Floats = npt.NDArray[np.float32]


class Drawn(NamedTuple):
    """What records are compared with: k columns, and m principal directions of the numeric ones.

    `columns` (k,) are raw columns. `coded` (k,) tells which hold codes. `edges` (k, BINS - 1) are their codes or the bounds of
    their bins. `odds` (2, k, BINS) are the logarithms of how much more often a bin occurs in uniform and in normal draws than
    in the population. `whiten` (k, 2 + m) holds each column's mean, the inverse of its spread (0 for codes), and the
    directions, each of unit variance in the population; the first half of them are the minor ones. `parent` (k,) is the place
    of the column on which each depends, -1 for none, and `belong` (k, BINS, BINS) the logarithm of how much more often a bin
    occurs at each bin of the parent than everywhere. Both have no rows in older baselines, which know no pairs.
    """

    columns: npt.NDArray[np.int32]
    coded: npt.NDArray[np.bool_]
    edges: Floats
    odds: Floats
    whiten: Floats
    parent: npt.NDArray[np.int32]
    belong: Floats


def none_drawn() -> Drawn:
    """Return what tells nothing: no columns."""
    return Drawn(
        np.zeros(0, np.int32),
        np.zeros(0, np.bool_),
        np.zeros((0, BINS - 1), np.float32),
        np.zeros((2, 0, BINS), np.float32),
        np.zeros((0, SCALING), np.float32),
        np.zeros(0, np.int32),
        np.zeros((0, BINS, BINS), np.float32),
    )


@kernel
def fit_together(bins, parent, belong, apart):
    """Return how well the `bins` (columns,) of a record fit together, less the pairs of the column that fits worst.

    For `parent` and `belong` see `Drawn`. `apart` (columns,) is scratch.
    """
    whole = 0.0
    apart[:] = 0.0
    for j in range(parent.shape[0]):
        if parent[j] >= 0:
            fit = np.float64(belong[j, bins[parent[j]], bins[j]])
            whole += fit
            against = min(fit, 0.0)
            apart[j] += against
            apart[parent[j]] += against
    worst = 0.0
    for j in range(parent.shape[0]):
        worst = min(worst, apart[j])
    return whole - worst


@kernel
def record_views(vectors, landmark, known, views):
    """Write the six views of each of `vectors` (n, dimension) into `views` (n, VIEWS).

    `landmark` (n,) are the logarithms of the distances to the nearest landmark.
    """
    width = known.columns.shape[0]
    count = known.whiten.shape[1] - SCALING
    minor = count // 2
    along = np.empty(count)
    bins = np.empty(width, np.int64)
    apart = np.empty(width)
    for i in range(vectors.shape[0]):
        along[:] = 0.0
        uniform = normal = 0.0
        for j in range(width):
            value = np.float64(vectors[i, known.columns[j]])
            place = bin_of(value, known.coded[j], known.edges[j])
            bins[j] = place
            uniform += known.odds[0, j, place]
            normal += known.odds[1, j, place]
            if known.whiten[j, 1] > 0.0:
                away = min(max((value - known.whiten[j, 0]) * known.whiten[j, 1], -FARTHEST), FARTHEST)
                for k in range(count):
                    along[k] += away * known.whiten[j, SCALING + k]
        low = high = 0.0
        for k in range(count):
            if k < minor:
                low += along[k] * along[k]
            else:
                high += along[k] * along[k]
        views[i, 0] = uniform / max(width, 1)
        views[i, 1] = normal / max(width, 1)
        views[i, 2] = np.log(low / max(minor, 1) + SMALL)
        views[i, 3] = np.log(high / max(count - minor, 1) + SMALL)
        views[i, 4] = landmark[i]
        views[i, 5] = fit_together(bins, known.parent, known.belong, apart)
