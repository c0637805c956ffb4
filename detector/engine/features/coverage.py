"""Input-space coverage: how much of the space a client visits, and whether the population lives there.

========================  =====================================================================================
`cells_per_query`         occupied cells over fresh queries; cells are the sides of ten random hyperplanes through
                          the middle of the population (Charikar, STOC 2002)
`new_cell_rate`           running share of queries that opened a new cell, about the last 32
`label_entropy`           entropy of the predicted labels over its maximum
`label_share`             labels seen over the labels of the population
`population_share`        share of fresh queries in cells where the population lives
`population_covered`      share of the population's cells that the client has visited
`off_manifold`            log ratio of the part of a query outside the population's principal directions to the
                          population's own median, averaged
`off_manifold_spread`     standard deviation of the same
`landmark_distance`       ln of the distance to the nearest of 64 landmarks (k-means centres) of the population, in
                          median nearest-neighbour distances, averaged
========================  =====================================================================================

What it sees: sweeps over the space, foreign data, balanced labels (Kesarwani et al., 2018, and Mei et al., AAAI 2025, use
coverage of the input and class space). What innocent traffic does as well: a new device, a mirrored or filtered camera and an
explainer look as foreign as a thief's own pictures. So coverage may alert and throttle but never stops a client.
"""

from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.columns import Column
from detector.engine.kernels import kernel

NAMES = (
    "cells_per_query",
    "new_cell_rate",
    "label_entropy",
    "label_share",
    "population_share",
    "population_covered",
    "off_manifold",
    "off_manifold_spread",
    "landmark_distance",
)
PLANES = 10
CELLS = 1 << PLANES
WORDS = CELLS // 64
LABELS = 13  # places of a client's table of labels: twelve labels, and one place for all others


class Coverage(NamedTuple):
    """Per client: the cells and labels visited, and running distances from the population's directions and landmarks."""

    cells: Annotated[npt.NDArray[np.uint64], Column(WORDS)]
    occupied: Annotated[npt.NDArray[np.uint16], Column()]
    occupied_known: Annotated[npt.NDArray[np.uint16], Column()]
    cell_queries: Annotated[npt.NDArray[np.uint32], Column()]
    new_cells: Annotated[npt.NDArray[np.float32], Column()]
    in_population: Annotated[npt.NDArray[np.uint32], Column()]
    off_mean: Annotated[npt.NDArray[np.float32], Column()]
    off_square: Annotated[npt.NDArray[np.float32], Column()]
    landmark_mean: Annotated[npt.NDArray[np.float32], Column()]
    label_code: Annotated[npt.NDArray[np.int32], Column(LABELS)]
    label_places: Annotated[npt.NDArray[np.uint8], Column(within=(0, LABELS - 1))]
    label_count: Annotated[npt.NDArray[np.uint32], Column(LABELS)]
    label_bits: Annotated[npt.NDArray[np.uint64], Column()]


@kernel
def place_labels(state, slot, label, verdict, place):
    """Give each event's label its place in the client's table; labels that no longer fit share the last place."""
    for i in range(slot.shape[0]):
        if verdict[i] != 0:
            continue
        s = slot[i]
        j = 0
        while j < state.label_places[s] and state.label_code[s, j] != label[i]:
            j += 1
        if j == state.label_places[s] and j < LABELS - 1:
            state.label_code[s, j] = label[i]
            state.label_places[s] += 1
        place[i] = min(j, LABELS - 1)


@kernel
def update_coverage(
    state,
    slot,
    label,
    place,
    cell,
    off,
    landmark,
    verdict,
    repeat,
    known_cells,
    known_count,
    labels,
    evaluation,
    out,
    column,
):
    for i in range(slot.shape[0]):
        if verdict[i] != 0:
            continue
        s = slot[i]
        state.label_count[s, place[i]] += 1
        state.label_bits[s] |= np.uint64(1) << np.uint64((label[i] * 0x9E3779B1 >> 16) & 63)
        if not repeat[i]:
            word = cell[i] >> 6
            bit = np.uint64(1) << np.uint64(cell[i] & 63)
            known = (known_cells[word] & bit) != 0
            fresh = (state.cells[s, word] & bit) == 0
            n = state.cell_queries[s] + 1
            state.cell_queries[s] = n
            if fresh:
                state.cells[s, word] |= bit
                state.occupied[s] += 1
                state.occupied_known[s] += known
            state.in_population[s] += known
            state.new_cells[s] += max(1.0 / 32.0, 1.0 / n) * (np.float32(fresh) - state.new_cells[s])
            share = max(0.02, 1.0 / n)
            state.off_mean[s] += share * (off[i] - state.off_mean[s])
            state.landmark_mean[s] += share * (landmark[i] - state.landmark_mean[s])
            state.off_square[s] += share * (off[i] * off[i] - state.off_square[s])
        row = evaluation[i]
        if row < 0:
            continue
        n = max(state.cell_queries[s], 1)
        out[row, column] = state.occupied[s] / n
        out[row, column + 1] = state.new_cells[s]
        total = 0.0
        kinds = 0
        for j in range(LABELS):
            total += state.label_count[s, j]
            kinds += state.label_count[s, j] > 0
        entropy = 0.0
        for j in range(LABELS):
            if state.label_count[s, j] > 0:
                p = state.label_count[s, j] / total
                entropy -= p * np.log(p)
        if state.label_count[s, LABELS - 1] > 0:
            # There are more labels than places: estimate their number from the share of 64 bits still unset (linear counting).
            unset = 64
            bits = state.label_bits[s]
            while bits != 0:
                bits &= bits - np.uint64(1)
                unset -= 1
            kinds = max(kinds, int(-64.0 * np.log(max(unset, 1) / 64.0)))
        out[row, column + 2] = entropy / np.log(max(min(labels, LABELS), kinds, 2))
        out[row, column + 3] = min(kinds / max(labels, 1), 2.0)
        out[row, column + 4] = state.in_population[s] / n
        out[row, column + 5] = state.occupied_known[s] / max(known_count, 1)
        out[row, column + 6] = state.off_mean[s]
        out[row, column + 7] = np.sqrt(max(state.off_square[s] - state.off_mean[s] * state.off_mean[s], 0.0))
        out[row, column + 8] = state.landmark_mean[s]
