"""Fitting by clients that taught nothing: what is usual of them, and by what noise and drawn records are told from them.

Teachers and the clients that calibrate ask about different things. An expectation that was learned from the teachers alone may
be too low for the others: they would gather evidence with every query, and calibration would answer with a threshold that
thieves reach late.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from detector.engine.evidence.remote import ALONE, LEAST_OF_ALL, remoteness
from detector.engine.fitting.coarse import fit_coarse
from detector.engine.fitting.cooccurrence import fair_to
from detector.engine.fitting.drawn import fit_drawn
from detector.engine.fitting.look import fit_look
from detector.engine.fitting.noise import Matrix, Taught, Unheard, fit_noise
from detector.engine.fitting.stray import LEAST_CLIENTS, LEAST_LESSONS, lessons_of, strays_of, usual_under
from detector.engine.fitting.yardsticks import FAIR, structures_of
from detector.engine.models.reference import Reduced, Reference


def fit_unheard(reference: Reference, taught: Taught, unheard: Unheard, seed: int) -> Reference:
    """Return the reference with all that is learned from clients that did not teach it.

    `taught` are the inputs of those that did. Noise and drawn records are told by expectations that are fair
    already, so these come first.
    """
    learned = fair_to_unheard(reference, unheard)
    learned = fit_noise(learned, taught.vectors, unheard, seed)
    learned = fit_look(learned, taught, unheard, seed)
    learned = fit_drawn(learned, taught, unheard, seed)
    learned = fit_coarse(learned, taught.vectors, unheard)
    return replace(learned, cooccurrence=fair_to(learned.cooccurrence, *unheard))


def fair_to_unheard(reference: Reference, unheard: Unheard) -> Reference:
    """Return the reference with the usual structure, stray and remoteness raised, where they are known.

    Under each of them no calibrating client's ratios average more than 1, but for a few odd clients, so nobody gathers evidence
    by asking on. Unchanged for fewer than `LEAST_CLIENTS` clients with unrelated queries.
    """
    vectors = reference.complete(unheard.vectors)
    whole = np.flatnonzero(~np.isnan(vectors).any(axis=1))
    if len(whole) == 0:
        return reference
    rows = reference.reduce(np.ascontiguousarray(vectors[whole], np.float32))
    clients = [unheard.clients[place] for place in whole.tolist()]
    raised: dict[str, Any] = {}
    structures = structures_of(reference, rows, clients)
    if len(structures) >= LEAST_CLIENTS and not np.isnan(reference.usual_structure):
        usual = _even(structures, reference.structure_spread)
        raised["usual_structure"] = max(reference.usual_structure, usual)
    lessons = lessons_of(reference, rows, clients)
    if len(lessons) >= LEAST_CLIENTS and not np.isnan(reference.usual_stray):
        leading = reference.leading[: len(reference.sampled)].astype(np.float64)
        usual = _even([strays_of(lesson, leading) for lesson in lessons], reference.stray_spread)
        raised["usual_stray"] = max(reference.usual_stray, usual)
    alone = [lesson.places[lesson.reach >= ALONE * np.exp(rows.landmark[lesson.places])] for lesson in lessons]
    places = [own for own in alone if len(own) >= LEAST_LESSONS]
    if len(places) >= LEAST_CLIENTS and not np.isnan(reference.remote[LEAST_OF_ALL, 0]):
        found = [np.array([_remoteness(reference, rows, i) for i in own.tolist()]) for own in places]
        remote = reference.remote.copy()
        remote[LEAST_OF_ALL, 0] = max(remote[LEAST_OF_ALL, 0], _even(found, float(remote[LEAST_OF_ALL, 1])))
        raised["remote"] = remote
    return replace(reference, **raised)


def _even(found: Sequence[Matrix], spread: float) -> float:
    """Return the least usual value under which no client's ratios average more than 1, but for a few odd clients.

    Ratios are `FAIR` on average where values are lower by a step; the largest and the smallest ratio are cut off before that.
    """
    return usual_under([own + spread * math.log(FAIR) for own in found], spread)


def _remoteness(reference: Reference, rows: Reduced, i: int) -> float:
    ratios, weights = np.empty((2, reference.measured), np.float32)
    return float(
        remoteness(
            rows.z[i],
            rows.c[i],
            rows.landmark[i],
            reference.variance,
            reference.principal,
            reference.middle,
            reference.leading,
            reference.remote,
            ratios,
            weights,
        )
    )
