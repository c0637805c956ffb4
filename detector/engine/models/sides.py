"""Sides: in which direction a feature lets a client learn more of the model than usual.

Novelty counts deviations in this direction alone. A client that is concentrated, repetitive or quiet learns less than others,
however unusual it is; it is noted for review (`Novelty.unfamiliar`) and neither alerted on nor throttled.

======================  =====  ==============================================================================
feature                 side   why a client learns more there
======================  =====  ==============================================================================
`rate_*`                above  it learns sooner
`burstiness`            none   the same answers come in another rhythm
`regularity`            none   likewise
`cells_per_query`       above  every query opens another part of the input space
`new_cell_rate`         above  it still opens new parts
`label_entropy`         above  it hears of all classes evenly (Kesarwani et al., 2018)
`label_share`           above  it hears of more classes
`population_share`      below  it asks where the population does not live: made or foreign inputs
`population_covered`    above  it has visited more of the population's inputs
`off_manifold`          above  its inputs have what the population's lack: noise or foreign inputs
`off_manifold_spread`   above  it asks on and off the population's directions
`landmark_distance`     above  its inputs lie far from all of the population
`distance_*`            above  its queries lie far apart, so none repeats what another told
`normality`             above  its queries fill the space evenly, without clumps and gaps
`near_duplicate_rate`   below  its queries are more often new
`repeat_rate`           below  likewise
`step`                  above  it moves further from one query to the next
`structure`             above  its queries differ in values that hardly vary in the population
`confidence`            below  it asks where the model is unsure, that is near its decision boundary
`margin`                below  likewise
`low_margin_rate`       above  likewise
`flip_rate`             above  it finds labels that change between close inputs
======================  =====  ==============================================================================

Unsure answers tell of one place of the boundary each. Many close copies of one ambiguous input tell little more than one of
them: a camera that looks at one ambiguous object does not learn the model. So the features of the outputs weigh by the share of
queries that are no near duplicates.
"""

import numpy as np
import numpy.typing as npt

from detector.engine.features.row import CONTENT, NAMES, OUTPUTS

Floats = npt.NDArray[np.float64]

_SIDE = {
    "rate_10s": 1,
    "rate_5m": 1,
    "rate_1h": 1,
    "burstiness": 0,
    "regularity": 0,
    "cells_per_query": 1,
    "new_cell_rate": 1,
    "label_entropy": 1,
    "label_share": 1,
    "population_share": -1,
    "population_covered": 1,
    "off_manifold": 1,
    "off_manifold_spread": 1,
    "landmark_distance": 1,
    "distance_mean": 1,
    "distance_low": 1,
    "distance_mid": 1,
    "distance_high": 1,
    "normality": 1,
    "near_duplicate_rate": -1,
    "repeat_rate": -1,
    "step": 1,
    "structure": 1,
    "confidence": -1,
    "margin": -1,
    "low_margin_rate": 1,
    "flip_rate": 1,
}
ALL_SIDES = np.array([_SIDE[name] for name in NAMES], np.int64)
SIDES = np.ascontiguousarray(ALL_SIDES[CONTENT])  # +1: only what lies above the usual counts; -1: only what lies below
BOTH = np.zeros_like(SIDES)  # every deviation counts: what is merely unlike known clients
_NEAR = NAMES.index("near_duplicate_rate")
# What the features of the outputs are where the model is sure of every answer; `margin` is the logarithm of a limited ratio.
_SURE = {"confidence": 1.0, "margin": float(np.log(1e6)), "low_margin_rate": 0.0, "flip_rate": 0.0}
_OUTPUTS = slice(OUTPUTS, OUTPUTS + len(_SURE))
_ABOVE, _BELOW = ALL_SIDES > 0, ALL_SIDES < 0
_SURE_VALUES = np.array(list(_SURE.values()))


def weigh_outputs(rows: Floats) -> Floats:
    """Return rows (n, features) whose outputs are as sure as the share of near duplicates makes them; see the module's text."""
    weighed = rows.copy()
    near = rows[:, _NEAR]
    fresh = 1.0 - np.minimum(np.maximum(np.where(np.isnan(near), 0.0, near), 0.0), 1.0)
    weighed[:, _OUTPUTS] = _SURE_VALUES + (rows[:, _OUTPUTS] - _SURE_VALUES) * fresh[:, None]
    return weighed


def usual_or_more(rows: Floats, usual: Floats) -> Floats:
    """Return rows (n, features) in which nothing lies outside the `usual` range (features, 2) on a side that does not count."""
    low, high = usual.T
    counted = np.where(_ABOVE, rows, np.fmin(rows, high))
    counted = np.where(_BELOW, counted, np.fmax(counted, low))
    return np.where(np.isnan(rows), rows, counted)
