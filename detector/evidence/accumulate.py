"""Accumulation: from weights per query to evidence that may be read at any time.

Every fresh query brings, per channel, a likelihood ratio e: high when the query looks constructed, a little under 1 when not.
An attacker may hide among cover traffic, so the share eps of constructed queries is unknown; the log of the mixture
1 - eps + eps e is summed for seven shares from all to one in a hundred, each sum never below zero (CUSUM; Page, 1954; with
e-values, Shin, Ramdas and Rinaldo, 2023). The score is the largest of the seven, and what counts is its running maximum, so
looking often costs nothing. An exact repeat brings e = 1 and takes no time.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.evidence import bisect, offset
from detector.kernels import kernel

CHANNELS = (offset.NAME, bisect.NAME)
RATES_INNOCENT = np.array([offset.RATE_INNOCENT, bisect.RATE_INNOCENT])
RATES_ATTACK = np.array([offset.RATE_ATTACK, bisect.RATE_ATTACK])
FLOORS = np.array([offset.FLOOR, bisect.FLOOR])
SHARES = np.array([1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01])

LAYOUT = {
    "score": ("f4", (len(CHANNELS), len(SHARES))),
    "peak": ("f4", (len(CHANNELS),)),
    "hits": ("u4", (len(CHANNELS),)),
}


class Evidence(NamedTuple):
    """Per client and channel: the running sums, their highest value so far, and how many queries carried weight."""

    score: npt.NDArray[np.float32]
    peak: npt.NDArray[np.float32]
    hits: npt.NDArray[np.uint32]


@kernel
def accumulate(state, slot, weight, verdict, repeat, innocent, attack, peak):
    """Add each event's evidence in stream order; `peak[i]` (channels,) becomes the client's peaks after event i.

    `weight` (events, channels) is 0 for an ordinary query and up to 1 for a constructed one; `innocent` and `attack` are the
    channels' rates of such queries in either traffic.
    """
    channels = weight.shape[1]
    ordinary = np.empty((channels, SHARES.shape[0]))
    for j in range(channels):
        ratio = (1.0 - attack[j]) / (1.0 - innocent[j])
        for k in range(SHARES.shape[0]):
            ordinary[j, k] = np.log(1.0 - SHARES[k] + SHARES[k] * ratio)
    for i in range(slot.shape[0]):
        s = slot[i]
        if verdict[i] == 0 and not repeat[i]:
            for j in range(channels):
                constructed = weight[i, j] > 0.0
                if not constructed and state.hits[s, j] == 0:
                    continue  # all sums are zero and stay so
                ratio = 1.0 + weight[i, j] * (attack[j] / innocent[j] - 1.0)
                state.hits[s, j] += constructed
                for k in range(SHARES.shape[0]):
                    gain = np.log(1.0 - SHARES[k] + SHARES[k] * ratio) if constructed else ordinary[j, k]
                    state.score[s, j, k] = max(state.score[s, j, k] + gain, 0.0)
                    state.peak[s, j] = max(state.peak[s, j], state.score[s, j, k])
        for j in range(channels):
            peak[i, j] = state.peak[s, j]
