"""Usual: what innocent accounts of a calibration log show across accounts, and what follows for the evidence on their model.

A kind of event is worth the logarithm of a likelihood ratio: how often a thief's queries show it over how often benign ones of
the log do. A kind that many innocents show is worth nothing, joins nobody and lifts no bar. What is left has a bar of its own,
above the largest group of the log with such events, so that one noisy kind does not silence the others. Where that bar is far
above its floor, groups of this kind are for review only: no bar that is above such groups would be crossed by a theft alone.

Kept as an array (KINDS, 2) with the baseline: by kind, how many events there were and the evidence of the largest group; in
the first row how many queries. Older baselines keep fewer kinds, of which the others are worth nothing; or the evidence of
groups alone, (groups,), or nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detector.engine.links.evidence import BESIDE, STRONG, WEIGHTS, Worth
from detector.engine.links.seeking.search import KINDS, NOTHING

EVENTS, LARGEST = 0, 1  # columns
LOW_BAR = 26.0  # least evidence for a review; 1.2 times the largest innocent group of one day of 2,000 known clients
HIGH_BAR = 234.0  # least evidence for a stop; the same of 18 days of clients, most of them of unknown kinds
MARGIN = 1.2  # by which a bar exceeds the largest group of the calibration log
LIFTED = 2.0  # how many times its floor the high bar may be for stops
MADE = 0.5  # share of a thief's queries that are events
BEFORE = 6000  # queries without an event that a log is thought to begin with; on other models there was about one in so many
COUNTED = 8  # events of one account that count, so that one busy account does not decide for all

Scores = Sequence[float] | npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bars:
    """The evidence above which a group is reviewed, and above which it is stopped where groups of its kind are at all."""

    low: float = LOW_BAR
    high: float = HIGH_BAR
    stops: bool = True


def worth_of(scores: Scores) -> Worth:
    """Return what events are worth where innocents show as many as in `scores`.

    >>> usual = np.zeros((KINDS, 2))
    >>> usual[NOTHING, EVENTS], usual[1, EVENTS], usual[2, EVENTS] = 24_000, 2, 700
    >>> worth_of(usual).weights[1:3]
    (8.0, 0.0)
    """
    known = np.asarray(scores, np.float64)
    if known.ndim < 2:
        return Worth()
    queries = known[NOTHING, EVENTS] + BEFORE
    weights = list(WEIGHTS)
    for kind in STRONG:
        if kind >= len(known):
            weights[kind] = 0.0
            continue
        weight = math.log(MADE * queries / (known[kind, EVENTS] + 1.0))
        weights[kind] = min(weight, weights[kind]) if weight >= BESIDE else 0.0
    return Worth(weights)


def bars_of(scores: Scores) -> tuple[Bars, ...]:
    """Return the bars (KINDS,) of groups by the kind of most of their events.

    >>> bars_of([10.0, 30.0])[1].low, bars_of([])[1].high, bars_of([4000.0])[1].stops
    (36.0, 234.0, False)
    """
    known = np.asarray(scores, np.float64)
    if known.ndim < 2:
        return (_bars(max(known.tolist(), default=0.0)),) * KINDS
    worth = worth_of(known).weights
    return tuple(_bars(known[kind, LARGEST] if worth[kind] and kind < len(known) else 0.0) for kind in range(KINDS))


def with_group(scores: Scores, kind: int, evidence: float) -> npt.NDArray[np.float64]:
    """Return the scores with one more innocent group, most of whose events are of this kind.

    >>> bars_of(with_group(np.zeros((KINDS, 2)), 1, 30.0))[1].low, bars_of(with_group([10.0], 1, 30.0))[2].low
    (36.0, 36.0)
    """
    known = np.asarray(scores, np.float64)
    if known.ndim < 2:
        return np.sort(np.append(known, evidence))[::-1]
    raised = known.copy()
    raised[kind, LARGEST] = max(raised[kind, LARGEST], evidence)
    return raised


def _bars(largest: float) -> Bars:
    lifted = MARGIN * float(largest)
    return Bars(max(LOW_BAR, lifted), max(HIGH_BAR, lifted), lifted <= LIFTED * HIGH_BAR)
