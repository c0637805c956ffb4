"""Fitting the rates of turns: how often a benign client's label turns, by distance and margin of the earlier answer.

Openings of benign sessions pass through a memory like the engine's, and each query is compared with the nearest retained
one, as in the channel `turns`. A class of distance and margin gets the rate that nine of ten clients stay below, because
clients differ: a camera that drifts turns the label more often than one that stands still. Each client counts for at most
`MOST_PAIRS` pairs of a class.

Few clients come very near an earlier query. There the rate is not taken for zero: it is shrunk towards half the rate of
the next class, whose pairs are twice as far apart. Near a boundary the share of steps that cross it falls with their length.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.evidence.turns import (
    DISTANCES,
    MARGINS,
    MOST_COMPARED,
    SURE,
    UNDECIDED,
    UNKNOWN,
    distance_class,
    margin_class,
)
from detector.engine.memory.reservoir import CAPACITY, RING, TABLE_CAPACITY, choose_place
from detector.engine.models.reference import ALWAYS, Floats, Reference

LEAST_CLIENTS = 8
MOST_PAIRS = 16  # of a client in one class
SHRINK = 4.0  # pairs that the prior rate of a class is worth
UPPER = 0.9  # quantile of the clients' rates that counts as benign
LEAST_RATE = 0.01  # a rarer turn proves no more


class Opening(NamedTuple):
    """The first queries of a benign client in their order: raw inputs (n, dimension), labels (n,), and margins (n,).

    Margins are NaN where the log has no probabilities.
    """

    vectors: Floats
    label: npt.NDArray[np.int32]
    margin: Floats


def fit_turning(reference: Reference, openings: Sequence[Opening]) -> Floats:
    """Return the rates of turns (DISTANCES, MARGINS); 1, which is silent, where less than eight clients tell."""
    counts = [count_turns(reference, opening) for opening in openings]
    if len(counts) < LEAST_CLIENTS:
        return ALWAYS.copy()
    pairs, turns = np.array([pair for pair, _ in counts]), np.array([turn for _, turn in counts])
    rates = ALWAYS.copy()
    for margin in range(MARGINS):
        if np.count_nonzero(pairs[:, :, margin].any(axis=1)) >= LEAST_CLIENTS:
            rates[:, margin] = _upper_rates(pairs[:, :, margin], turns[:, :, margin])
    rates[:, UNDECIDED] = np.maximum(rates[:, UNDECIDED], rates[:, SURE])
    return np.clip(rates, LEAST_RATE, 1.0)


def count_turns(reference: Reference, opening: Opening) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return how many pairs of a client are in each class (DISTANCES, MARGINS), and how many of those turn."""
    reduced = reference.reduce(np.where(np.isnan(opening.vectors), reference.missing, opening.vectors))
    points = reduced.z.astype(np.float64)
    pairs, turns = np.zeros((2, DISTANCES, MARGINS))
    capacity = TABLE_CAPACITY if reference.table else CAPACITY
    retained = np.full(capacity, -1, np.intp)
    unused = np.zeros(capacity, np.uint8)
    compared = np.zeros(len(points), np.int64)
    held = stored = 0
    for i in range(len(points)):
        squares = np.square(points[retained[:held]] - points[i]).sum(axis=1)
        nearest = int(retained[squares.argmin()]) if held else i
        turned = bool(opening.label[nearest] != opening.label[i])
        if held and squares.min() == 0.0:
            if not turned:
                continue  # a repeat, which the memory does not retain
        elif held:
            near = distance_class(float(np.sqrt(squares.min())) * reference.unit)
            single = reference.table and np.count_nonzero(reduced.c[i] != reduced.c[nearest]) <= 1
            if near < DISTANCES and compared[nearest] < MOST_COMPARED and not single:
                # A client whose log has no probabilities is judged by distance alone, so all clients teach that.
                for margin in {margin_class(opening.margin[nearest]), UNKNOWN}:
                    pairs[near, margin] += 1
                    turns[near, margin] += turned
        compared[nearest] += held > 0
        at, to = choose_place(unused, stored, np.uint64(0), RING)
        if to >= 0:
            retained[to] = retained[at]
        retained[at] = i
        stored += 1
        held = max(held, at + 1, to + 1)
    return pairs, turns


def _upper_rates(pairs: npt.NDArray[np.float64], turns: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the rate of each class of distance from the counts (clients, DISTANCES) of one class of margin."""
    weight = np.minimum(pairs, MOST_PAIRS) / np.maximum(pairs, 1.0)
    all_pairs, all_turns = (pairs * weight).sum(axis=0), (turns * weight).sum(axis=0)
    prior = (all_turns.sum() + 0.5) / (all_pairs.sum() + 1.0)
    rates = np.zeros(DISTANCES)
    for near in reversed(range(DISTANCES)):
        rate = (all_turns[near] + SHRINK * prior) / (all_pairs[near] + SHRINK)
        some = pairs[:, near] > 0
        if some.any():
            own = (turns[some, near] + SHRINK * rate) / (pairs[some, near] + SHRINK)
            rate = max(rate, float(np.quantile(own, UPPER)))
        rates[near] = rate
        prior = 0.5 * rate
    return np.maximum.accumulate(rates)
