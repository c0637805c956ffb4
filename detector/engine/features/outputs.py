"""Outputs: how sure the model was of its answers to this client.

========================  =====================================================================================
`confidence`              running mean of the largest probability
`margin`                  running mean of the logarithm of largest over second largest probability
`low_margin_rate`         running share of answers with a margin below 0.5 (uncertainty sampling: Tramer et al.,
                          USENIX Security 2016; Pal et al., ActiveThief, AAAI 2020)
`flip_rate`               share of near-duplicate queries whose label differs from that of their near duplicate
                          (dwelling at a boundary; Quiring et al., 2018)
========================  =====================================================================================

What it sees: queries that crowd the decision boundary. What innocent traffic does as well: a poor camera, a static picture of
an ambiguous object, and a cascade that forwards only hard cases. With label-only logs the first three are missing (NaN) and
count neither way.
"""

from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.columns import Column
from detector.engine.kernels import kernel

NAMES = ("confidence", "margin", "low_margin_rate", "flip_rate")
LOW_MARGIN = 0.5
MEMORY = 0.02


class ResponseFeatures(NamedTuple):
    """Per client: running means of confidence and margin, and label flips among near duplicates."""

    answers: Annotated[npt.NDArray[np.uint32], Column()]
    confidence: Annotated[npt.NDArray[np.float32], Column()]
    margin: Annotated[npt.NDArray[np.float32], Column()]
    low_margin: Annotated[npt.NDArray[np.float32], Column()]
    near: Annotated[npt.NDArray[np.uint32], Column()]
    flips: Annotated[npt.NDArray[np.uint32], Column()]


@kernel
def update_outputs(state, slot, confidence, runner_up, near, flip, verdict, repeat, evaluation, out, column):
    for i in range(slot.shape[0]):
        if verdict[i] != 0:
            continue
        s = slot[i]
        if not repeat[i]:
            if not np.isnan(confidence[i]):
                n = state.answers[s] + 1
                state.answers[s] = n
                share = max(MEMORY, 1.0 / n)
                margin = np.log(max(confidence[i], 1e-6)) - np.log(max(runner_up[i], 1e-6))
                state.confidence[s] += share * (confidence[i] - state.confidence[s])
                state.margin[s] += share * (margin - state.margin[s])
                state.low_margin[s] += share * (np.float32(margin < LOW_MARGIN) - state.low_margin[s])
            state.near[s] += near[i]
            state.flips[s] += flip[i]
        row = evaluation[i]
        if row < 0:
            continue
        if state.answers[s] > 0:
            out[row, column] = state.confidence[s]
            out[row, column + 1] = state.margin[s]
            out[row, column + 2] = state.low_margin[s]
        else:
            out[row, column] = np.nan
            out[row, column + 1] = np.nan
            out[row, column + 2] = np.nan
        out[row, column + 3] = state.flips[s] / max(state.near[s], 8)
