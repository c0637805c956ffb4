"""Query rate: how fast, how bursty, how regular.

========================  =====================================================================================
`rate_10s` `rate_5m`      log10 of queries a second over the last 10 s, 5 min, 1 h: exponentially decayed counts
`rate_1h`                 (Cormode et al., Forward Decay, ICDE 2009), each query weighted by `sampled_rate`
`burstiness`              (s - m) / (s + m) of the gaps, -1 clockwork, 0 Poisson, 1 bursts (Goh and Barabasi, 2008)
`regularity`              1 - entropy of the gaps in powers of two, over its maximum: 1 means one gap for ever
========================  =====================================================================================

What it sees: scripts that run flat out, timers, slow drips. What innocent traffic does as well: every nightly batch, every
load test and every cron job. Timing says much about software and little about intent, so these features are reported and
learned online but never enter the score that compares a client with the baseline.
"""

from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.contracts.moment import LAST_MS
from detector.engine.columns import Column
from detector.engine.kernels import kernel

NAMES = ("rate_10s", "rate_5m", "rate_1h", "burstiness", "regularity")
SCALES_MS = np.array([10_000.0, 300_000.0, 3_600_000.0])
GAP_BINS = 16
MEMORY = 0.02  # weight of a new gap in the running moments, which so cover about the last 50 gaps


class Rate(NamedTuple):
    """Per client: decayed counts at three scales, moments and histogram of the gaps."""

    decayed: Annotated[npt.NDArray[np.float64], Column(3)]
    rate_ms: Annotated[npt.NDArray[np.int64], Column(within=(0, LAST_MS))]
    gap_mean: Annotated[npt.NDArray[np.float32], Column()]
    gap_square: Annotated[npt.NDArray[np.float32], Column()]
    gap_count: Annotated[npt.NDArray[np.uint32], Column()]
    gap_bins: Annotated[npt.NDArray[np.float32], Column(GAP_BINS)]


@kernel
def update_rate(state, slot, time_ms, weight, verdict, position, first_ms, evaluation, out, column):
    for i in range(slot.shape[0]):
        if verdict[i] != 0:
            continue
        s = slot[i]
        t = time_ms[i]
        if position[i] == 1:
            state.rate_ms[s] = t
        gap = max(t - state.rate_ms[s], 0)
        if gap > 0:
            for j in range(3):
                state.decayed[s, j] *= np.exp(-gap / SCALES_MS[j])
        for j in range(3):
            state.decayed[s, j] += weight[i]
        if position[i] > 1 and t >= state.rate_ms[s]:
            spacing = np.float32(gap / weight[i])
            count = state.gap_count[s]
            share = max(MEMORY, 1.0 / (count + 1.0))
            state.gap_mean[s] += share * (spacing - state.gap_mean[s])
            state.gap_square[s] += share * (spacing * spacing - state.gap_square[s])
            state.gap_count[s] = count + 1
            b = min(max(int(np.log2(np.float64(spacing) + 1.0)), 0), GAP_BINS - 1)
            for j in range(GAP_BINS):
                state.gap_bins[s, j] *= 1.0 - share
            state.gap_bins[s, b] += share
        state.rate_ms[s] = max(state.rate_ms[s], t)
        row = evaluation[i]
        if row < 0:
            continue
        age = max(state.rate_ms[s] - first_ms[s], 1000)
        for j in range(3):
            # A new client has not been there for the whole time scale: divide by the time that it has.
            span = SCALES_MS[j] * (1.0 - np.exp(-age / SCALES_MS[j]))
            out[row, column + j] = np.log10(state.decayed[s, j] / span * 1000.0 + 1e-6)
        mean = state.gap_mean[s]
        spread = np.sqrt(max(state.gap_square[s] - mean * mean, 0.0))
        out[row, column + 3] = (spread - mean) / (spread + mean) if spread + mean > 0.0 else 0.0
        entropy = 0.0
        for j in range(GAP_BINS):
            p = state.gap_bins[s, j]
            if p > 1e-6:
                entropy -= p * np.log2(np.float64(p))
        out[row, column + 4] = 1.0 - entropy / np.log2(GAP_BINS)
