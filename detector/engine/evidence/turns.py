"""Turns: the label turns near retained queries more often than it does for benign clients at that distance.

A thief who looks for the boundary goes where the label turns: half of the queries of a search do. Benign clients come near an
earlier query, too, with video, retries and forms; then the label stays. So each query is compared with the nearest retained
one: did the label turn, and how often does it turn between two queries of a benign client that are as far apart, the earlier
answer being as confident? The baseline holds these rates (`fitting.turns`). The channel needs no geometry: jitter, rounding and
shifted steps do not hide a search from it.

Only pairs where benign labels seldom turn are judged, since a search cannot turn more often than every other time. A retained
query is compared twice at most, and a cluster of near queries counts few turns, so a client that asks much about one ambiguous
place gathers little. In tables a query with a single value changed is not judged: a person who tries a field does just so.
"""

import numpy as np

from detector.engine.evidence.channel import Channel, Weighed
from detector.engine.evidence.counts import COMPARED, TURNED, count_of, most_counted, set_count
from detector.engine.evidence.sens import CONFIDENT
from detector.engine.kernels import kernel, part

MOST = 3.26  # logarithm of the likelihood ratio of a turn where benign labels turn at the least rate
LEAST = -0.47  # the same of no turn, where that tells most
CHANNEL = Channel(
    name="turns",
    kind="novelty",
    floor=14.0,
    ratio=Weighed(most=MOST, least=LEAST, carriers="turns of the label"),
    company=("offset", "bisect", "aim", "probe", "sens", "dwell"),
    title="Labels that turn too often",
    description="The label turns near earlier queries far more often than for benign clients.",
    meaning="the label turns near earlier queries more often than for benign clients, as in a search for the boundary",
    lookalike="a robustness tester looks for the places where the label turns as well",
    innocent=(
        "A robustness tester and a person who seeks the point where an answer changes look for turns as well, so this is "
        "novelty. A camera before an ambiguous scene stays in one place, whose turns are counted six times at most."
    ),
    blind_to=(
        "Searches in a single column of a table, searches that stop before the interval is short, queries that keep away from "
        "the boundary, and models whose labels turn everywhere. Silent without a baseline."
    ),
)

DISTANCES = 8  # classes of distance
NEAREST = 0.05  # end of the nearest class, in median nearest-neighbour distances; each further class ends twice as far
UNDECIDED, SURE, UNKNOWN = range(3)  # classes of the earlier answer's margin; UNKNOWN where the log has no probabilities
MARGINS = 3
SELDOM = 0.25  # most frequent benign turns where a pair is judged: half as often as in a search
OFTEN = 0.5  # rate of turns in a search for the boundary, which halves what it knows with each query
STEEPER = 2.5  # rate of turns of a thief who looks for them, as a multiple of the benign rate
ADDED = 0.25  # the least that the thief's rate is above the benign one
MOST_COMPARED = 2
CROWD = 1.0  # queries closer than this form one cluster, in median nearest-neighbour distances
MOST_TURNS = 6  # most turns of one cluster that are judged


@kernel
def distance_class(distance):
    """Return the class of a distance, which is `DISTANCES` beyond the last class.

    >>> [distance_class(distance) for distance in (0.01, 0.05, 0.3, 3.0, 7.0)]
    [0, 1, 3, 6, 8]
    """
    found = 0
    end = NEAREST
    while found < DISTANCES and distance >= end:
        end *= 2.0
        found += 1
    return found


@kernel
def margin_class(margin):
    """Return the class of the earlier answer's margin, a difference of logarithms that is NaN where it is not known."""
    if np.isnan(margin):
        return UNKNOWN
    return SURE if margin >= CONFIDENT else UNDECIDED


@kernel
def turn_ratio(usual, turned):
    """Return the likelihood ratio of a pair whose benign rate of turns is `usual`; 1 where that is above `SELDOM`."""
    if usual > SELDOM:
        return np.float32(1.0)
    sought = min(max(STEEPER * usual, usual + ADDED), OFTEN)
    return np.float32(sought / usual if turned else (1.0 - sought) / (1.0 - usual))


@part
def moves_one(asked, past, place):
    """Tell whether at most one sampled value differs from that of the retained query at `place`."""
    moved = 0
    for j in range(asked.c.shape[0]):
        moved += asked.c[j] != past.c[place, j]
    return moved <= 1


@part
def note_comparison(past, place):
    """Count a comparison with the retained query at `place`; tell whether it may be judged."""
    compared = count_of(past, place, COMPARED)
    set_count(past, place, COMPARED, min(compared + 1, MOST_COMPARED))
    return compared < MOST_COMPARED


@part
def note_turn(past, step, unit):
    """Count a turn from the nearest retained query; return how many turns the new query's cluster has with it."""
    counted = min(most_counted(past, TURNED, CROWD, unit) + 1, MOST_TURNS + 1)
    if step.distance < CROWD:
        set_count(past, step.place, TURNED, counted)
    return counted
