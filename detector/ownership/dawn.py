"""The test of wrong labels: how many of those that a key chose does the suspect repeat.

For a suspect that is independent of the key, the inputs that were misled are a random draw among all that were asked about,
and the wrong labels are random among the others. So the number of them where the suspect differs from the model is
hypergeometric, and each such answer is the wrong label by chance only: 1 in classes - 1 (Szyller et al. 2021, section 5,
with both draws counted).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import binom, hypergeom

__all__ = ["Dawn", "dawn_test"]

_Labels = npt.NDArray[np.int64]


class Dawn(NamedTuple):
    """Of `misled` inputs, `matches` got the same wrong label from the suspect; `p` is the chance of that many or more."""

    misled: int
    matches: int
    p: float


def dawn_test(own: _Labels, told: _Labels, suspect: _Labels, classes: int) -> Dawn:
    """Test the labels of a suspect (n,) against the model's `own` and those that the client was `told`.

    The inputs must be those misled and a fair sample of the others.

    >>> own, told = np.zeros(10, np.int64), np.array([1] * 2 + [0] * 8)
    >>> round(dawn_test(own, told, told, 2).p * 45, 9), dawn_test(own, told, own, 2).p
    (1.0, 1.0)
    """
    at = told != own
    misled, differing = int(at.sum()), int((suspect != own).sum())
    matches = int((suspect[at] == told[at]).sum())
    if not misled or not matches:
        return Dawn(misled, matches, 1.0)
    hit = np.arange(matches, min(misled, differing) + 1)
    chance = hypergeom.pmf(hit, len(own), differing, misled) * binom.sf(matches - 1, hit, 1.0 / (classes - 1))
    return Dawn(misled, matches, float(min(chance.sum(), 1.0)))
