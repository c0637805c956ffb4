"""Intervals for what was counted: a rate without one is an anecdote.

Detection rates here are near 0 or 1 and come from a few dozen to a few thousand clients, where the textbook interval, plus or
minus two standard errors, claims certainty it has not got: no false stop in 40 sessions is not a rate of zero.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the interval that covers the truth with the confidence asked for; `low` <= `estimate` <= `high`."""

    estimate: float
    low: float
    high: float


def wilson(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """A share, by the score interval of Wilson (Journal of the American Statistical Association 22, 1927).

    Trials have to be independent: sessions of clients, not queries of one. Raises ValueError without any trial.

    >>> wilson(40, 40)
    Interval(estimate=1.0, low=0.9123..., high=1.0)
    """
    if trials < 1:
        raise ValueError("there is no share of no trials")
    found = stats.binomtest(successes, trials).proportion_ci(confidence_level=confidence, method="wilson")
    share = successes / trials
    return Interval(share, min(float(found.low), share), max(float(found.high), share))


def median(values: "np.typing.ArrayLike", confidence: float = 0.95) -> Interval:
    """A median, by order statistics, whatever the distribution (Conover, Practical Nonparametric Statistics, section 3.2).

    Clients that were never found count as infinitely late, so the upper end, or all of it, may be infinite. With few values
    the interval is all of them and covers less than was asked for: 6 are the least for 95%. Raises ValueError for none, or
    for NaN.

    >>> median([4.0, 9.0, 5.0, 7.0, 5.0, np.inf, 6.0])
    Interval(estimate=6.0, low=4.0, high=inf)
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64).ravel())
    if not len(ordered) or np.isnan(ordered).any():
        raise ValueError("a median needs values that are numbers or infinite")
    count = len(ordered)
    rank = max(0, int(stats.binom.ppf((1.0 - confidence) / 2.0, count, 0.5)) - 1)
    upper, lower = ordered[count // 2], ordered[(count - 1) // 2]
    middle = float(upper) if upper == lower else float((lower + upper) / 2.0)
    return Interval(middle, float(ordered[rank]), float(ordered[count - 1 - rank]))
