"""Accumulation: from likelihood ratios per query to evidence that may be read at any time.

Every fresh query has, per channel, a likelihood ratio e: high when the query looks constructed, a little under 1 when it does
not, and 1 where the channel has nothing to compare. An attacker may hide among cover traffic, so the share eps of constructed
queries is unknown. So log(1 - eps + eps e) is summed for seven values of eps, from 1 to 1 in 100, and no sum falls below zero
(CUSUM; Page, 1954; with e-values, Shin, Ramdas and Rinaldo, 2023). The score is the largest of the seven sums, and its running
maximum counts. It may therefore be read often without more false alarms. An exact repeat has e = 1 and is skipped.
"""

from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.columns import Column
from detector.engine.evidence.registry import REGISTRY
from detector.engine.kernels import kernel

CHANNELS = tuple(channel.name for channel in REGISTRY)
MAY_STOP = np.array([channel.may_stop for channel in REGISTRY])  # channels of novelty alert and throttle at most
FLOORS = np.array([channel.floor for channel in REGISTRY])
OPENING_FLOORS = np.array([channel.floor if channel.opening_floor is None else channel.opening_floor for channel in REGISTRY])
# A client with more evidence than this is not forgotten and does not teach. It is above 0 since innocent clients have a little.
OPEN = np.where(MAY_STOP, FLOORS / 4, FLOORS / 2)
WORTH_NOTING = FLOORS / 4  # above the few hits that innocent clients collect in some channels
CONSTRUCTED = np.array([channel.ratio.constructed for channel in REGISTRY], np.float32)
ORDINARY = np.array([channel.ratio.ordinary for channel in REGISTRY], np.float32)
NOTHING = np.float32(1.0)
SHARES = np.array([1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01])
FINITE = (0.0, float(np.finfo(np.float32).max))  # a saved NaN or infinity would pass every threshold or none


class AccumulatedEvidence(NamedTuple):
    """Per client and channel: the running sums, their highest value so far, and how many queries looked constructed."""

    score: Annotated[npt.NDArray[np.float32], Column(len(CHANNELS), len(SHARES), within=FINITE)]
    peak: Annotated[npt.NDArray[np.float32], Column(len(CHANNELS), within=FINITE)]
    hits: Annotated[npt.NDArray[np.uint32], Column(len(CHANNELS))]


def counts(ratio: npt.NDArray[np.float32], peak: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Tell which queries looked constructed and brought the evidence above `WORTH_NOTING`; all arrays are (n, channels)."""
    found: npt.NDArray[np.bool_] = (ratio > NOTHING) & (peak >= WORTH_NOTING)
    return found


@kernel
def weighted(channel, weight):
    """Return the likelihood ratio of a query that looks constructed, with a weight above 0, or above 1 where it is rarer."""
    return np.float32(1.0 + weight * (CONSTRUCTED[channel] - 1.0))


@kernel
def accumulate(state, slot, ratio, verdict, repeat, peak):
    """Add each event's evidence in stream order; `peak[i]` (channels,) becomes the client's peaks after event i.

    `ratio` (events, channels) are the likelihood ratios.
    """
    channels = ratio.shape[1]
    ordinary = np.empty((channels, SHARES.shape[0]))
    for j in range(channels):
        for k in range(SHARES.shape[0]):
            ordinary[j, k] = np.log(1.0 - SHARES[k] + SHARES[k] * np.float64(ORDINARY[j]))
    for i in range(slot.shape[0]):
        s = slot[i]
        if verdict[i] == 0 and not repeat[i]:
            for j in range(channels):
                e = ratio[i, j]
                if e == NOTHING or (e < NOTHING and state.hits[s, j] == 0):
                    continue  # there is nothing to add, or all sums are zero and stay zero
                state.hits[s, j] += e > NOTHING
                for k in range(SHARES.shape[0]):
                    gain = ordinary[j, k] if e == ORDINARY[j] else np.log(1.0 - SHARES[k] + SHARES[k] * np.float64(e))
                    state.score[s, j, k] = max(state.score[s, j, k] + gain, 0.0)
                    state.peak[s, j] = max(state.peak[s, j], state.score[s, j, k])
        for j in range(channels):
            peak[i, j] = state.peak[s, j]
