"""Acceptance: teaching a baseline about clients that were found novel and that a person found innocent.

The accepted clients become calibration clients. The reference, which gives the stored integers their meaning, does not change,
so a service can continue with its saved state. The old norms are kept and extended by profiles of the new clients: their common
range, feature by feature and stage by stage, around up to `MOST_CENTRES` centres. A profile can only make a client less novel,
so no client that was usual becomes novel. The new clients' evaluations join the lessons of the online trees, repeated until
they are `SHARE` of all lessons.

Their scores join the calibration. With `FOLDED` clients or more, each is scored by norms that know only the other half of them;
that says how novel the next client of their kind would be. With fewer, each is scored by norms that know it itself, which is
optimistic.

The price: a thief who behaves in the same way is no longer novel either. Evidence of the channels `foreign` and `cooccur` grows
with every query of a client, so their thresholds rise, for all clients, above what the accepted clients collected. Thresholds
of construction do not change unless a client is accepted despite such evidence: a channel whose floor an innocent client has
passed may only alert from then on.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans

from detector.baseline.calibrate import Calibration, calibrate
from detector.baseline.fit import LISTED
from detector.baseline.store import Baseline, version_of
from detector.engine.evidence.accumulate import CHANNELS, FLOORS, MAY_STOP
from detector.engine.features.row import CONTENT
from detector.engine.fitting.drift import compared
from detector.engine.models.novelty import LESSONS, Evaluations, Norms, Novelty
from detector.engine.models.profiles import FARTHEST, STAGES, Floats, center_and_scale, stage_of
from detector.engine.models.sides import weigh_outputs
from detector.engine.shard import EngineSettings, ModelBaseline
from detector.errors import BaselineError
from detector.ingest.batch import Batch

MOST_CENTRES = 8
MOST_PROFILES = 64
LESSONS_PER_CLIENT = 8
SHARE = 1 / 8
FOLDED = 8


@dataclass(frozen=True, slots=True)
class Review:
    """Who found the clients innocent, when (RFC 3339), and why."""

    actor: str
    at: str
    reason: str


def accept(
    baseline: Baseline,
    model: str,
    clients: Sequence[str],
    batches: Iterable[Batch],
    settings: EngineSettings,
    review: Review,
    *,
    despite_construction: bool = False,
) -> Baseline:
    """Return the baseline with these clients of `model` among its calibration clients; their queries are in `batches`.

    Clients named together should be of one kind: they share a profile. The notes say who was accepted, and what changed.

    Raises `BaselineError` when the baseline does not know the model, when a client has no scheduled evaluation in
    `batches`, when its evidence of construction passed the floor of a channel (unless `despite_construction`), or when too many
    clients were accepted before.
    """
    if model not in baseline.models:
        raise BaselineError(f"there is no model {model!r} in the baseline; it knows {', '.join(sorted(baseline.models))}")
    known = baseline.models[model]
    calibration = _watched(model, known, frozenset(clients), batches, settings)
    names, evaluations, peaks = calibration.names, calibration.evaluations(), calibration.channel_scores()
    for client in sorted(set(clients) - set(names)):
        asked = calibration.queries.get(client, 0)
        raise BaselineError(
            f"client {client!r} asked model {model!r} {asked} times in this log; at least {STAGES[0]} queries are needed to "
            "learn what is usual of a client"
        )
    if not despite_construction:
        _refuse_construction(names, peaks)
    before = _session_scores(known.norms, evaluations)
    norms = _widened(known.norms, evaluations)
    if norms.means.shape[1] > MOST_PROFILES:
        raise BaselineError(
            f"more than {MOST_PROFILES} profiles: fit the baseline again, from a log that has all these clients"
        )
    after = _session_scores(norms, evaluations)
    scores = np.maximum(after, _held_out(known.norms, evaluations)) if len(names) >= FOLDED else after
    norms = replace(norms, session_scores=np.sort(np.concatenate([norms.session_scores, scores]))[::-1])
    changed = ModelBaseline(
        known.reference,
        norms,
        np.concatenate([known.channel_scores, peaks]),
        _joined(known.evaluations, compared(evaluations)),
        reviewed=known.reviewed + len(names),
        reference_set=known.reference_set,
        link_scores=known.link_scores,
    )
    accepted = [
        {
            "client": name,
            "actor": review.actor,
            "at": review.at,
            "reason": review.reason,
            "queries": calibration.queries[name],
            "novelty_before": round(float(before[i]), 3),
            "novelty": round(float(scores[i]), 3),
            "evidence": {channel: round(float(peaks[i, j]), 3) for j, channel in enumerate(CHANNELS) if peaks[i, j] > 0},
            "despite_construction": despite_construction and bool((peaks[i] > FLOORS)[MAY_STOP].any()),
        }
        for i, name in enumerate(names)
    ]
    models = {**baseline.models, model: changed}
    notes = {**baseline.notes, model: _noted(baseline.notes[model], changed, names, accepted)}
    return Baseline(version_of(models, baseline.schemas), models, notes, baseline.seed, baseline.schemas)


def _watched(
    model: str, known: ModelBaseline, clients: frozenset[str], batches: Iterable[Batch], settings: EngineSettings
) -> Calibration:
    calibration = Calibration()
    table = calibrate(model, known.reference, settings, calibration)
    for batch in map(Batch.unperturbed, batches):
        if batch.model != model or batch.vector.shape[1] != known.reference.dimension:
            continue
        rows = np.array([i for i, client in enumerate(batch.client) if client in clients], np.intp)
        if len(rows):
            table.process(batch.take(rows))
    return calibration


def _refuse_construction(names: Sequence[str], peaks: npt.NDArray[np.float64]) -> None:
    for name, own in zip(names, peaks, strict=True):
        for j in np.flatnonzero((own > FLOORS) & MAY_STOP).tolist():
            raise BaselineError(
                f"client {name!r} has evidence of construction: {CHANNELS[j]} {own[j]:.1f}, above the floor of {FLOORS[j]:.1f};"
                f" if it were accepted, {CHANNELS[j]} could only alert from then on (--despite-construction accepts that)"
            )


def _session_scores(norms: Norms, evaluations: Evaluations) -> Floats:
    """Return the highest novelty score of each client."""
    scores = Novelty(norms).score(evaluations.rows, evaluations.queries)
    return np.array([scores[evaluations.client == client].max() for client in np.unique(evaluations.client)])


def _held_out(norms: Norms, evaluations: Evaluations) -> Floats:
    """Return the highest novelty score of each client under norms that were widened by the other half of them."""
    clients = np.unique(evaluations.client)
    scores = np.zeros(len(clients))
    for fold in (0, 1):
        out = evaluations.client % 2 == fold
        scores[clients % 2 == fold] = _session_scores(_widened(norms, _some(evaluations, ~out)), _some(evaluations, out))
    return scores


def _widened(norms: Norms, evaluations: Evaluations) -> Norms:
    """Return the norms with profiles of these clients, and with their lessons."""
    stage = np.array([stage_of(int(queries)) for queries in evaluations.queries])
    centre = _centres(norms, evaluations, stage)
    count = int(centre.max()) + 1
    f = norms.means.shape[2]
    means = np.zeros((len(STAGES), count, f))
    low, high = np.zeros((2, len(STAGES), f))
    usual = norms.width.mean(axis=1)
    for s in range(len(STAGES)):
        here = _latest(stage, s)
        x = _standardised(norms, evaluations.rows, np.full(len(stage), s))
        for g in range(count):
            means[s, g] = x[_latest(np.where(centre[evaluations.client] == g, stage, -1), s)].mean(axis=0)
        rows = weigh_outputs(evaluations.rows[here])[:, CONTENT]
        # A feature that none of these clients has keeps the range it had.
        low[s] = np.where(np.isnan(rows).all(axis=0), norms.low[s].min(axis=0), np.fmin.reduce(rows))
        high[s] = np.where(np.isnan(rows).all(axis=0), norms.high[s].max(axis=0), np.fmax.reduce(rows))
    return replace(
        norms,
        means=np.concatenate([norms.means, means], axis=1),
        low=np.concatenate([norms.low, np.repeat(low[:, None], count, axis=1)], axis=1),
        high=np.concatenate([norms.high, np.repeat(high[:, None], count, axis=1)], axis=1),
        # A few clients do not show how much their kind varies: at least as much as the known kinds do.
        width=np.concatenate([norms.width, np.repeat(np.maximum(high - low, usual)[:, None], count, axis=1)], axis=1),
        lessons=_lessons(norms.lessons, evaluations),
    )


def _centres(norms: Norms, evaluations: Evaluations, stage: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return for each client the number of its nearest centre."""
    x = _standardised(norms, evaluations.rows, stage)
    clients = np.unique(evaluations.client)
    means = np.array([x[evaluations.client == client].mean(axis=0) for client in clients])
    count = min(MOST_CENTRES, len(np.unique(means, axis=0)))
    found = np.zeros(int(clients.max()) + 1, np.int64)  # a half of the clients keeps the numbers they have among all
    found[clients] = KMeans(count, n_init=4, random_state=0).fit_predict(means)
    return found


def _standardised(norms: Norms, rows: Floats, stage: npt.NDArray[np.int64]) -> Floats:
    center, scale = center_and_scale(norms.quantiles)
    x: Floats = np.clip(np.nan_to_num((weigh_outputs(rows)[:, CONTENT] - center[stage]) / scale[stage]), -FARTHEST, FARTHEST)
    return x


def _latest(stage: npt.NDArray[np.int64], wanted: int) -> npt.NDArray[np.bool_]:
    """Return the rows of a stage, or of the latest earlier stage with any; every client has rows of the first stage."""
    while wanted > 0 and not (stage == wanted).any():
        wanted -= 1
    rows: npt.NDArray[np.bool_] = stage == wanted
    return rows


def _lessons(lessons: Floats, evaluations: Evaluations) -> Floats:
    """Return the lessons with the new clients' lessons spread evenly among them, repeated until they are `SHARE` of all."""
    chosen = np.flatnonzero(np.isin(evaluations.queries, sorted(LESSONS)))
    turn = np.array(
        [np.count_nonzero(evaluations.client[chosen[:i]] == evaluations.client[row]) for i, row in enumerate(chosen)], np.int64
    )
    own = evaluations.rows[chosen[turn < LESSONS_PER_CLIENT]]
    if len(own) == 0:
        return lessons
    wanted = max(int(np.ceil(len(lessons) * SHARE / (1.0 - SHARE))), len(own))
    return np.insert(lessons, np.arange(wanted) * len(lessons) // wanted, np.resize(own, (wanted, own.shape[1])), axis=0)


def _some(evaluations: Evaluations, chosen: npt.NDArray[np.bool_]) -> Evaluations:
    return Evaluations(evaluations.client[chosen], evaluations.queries[chosen], evaluations.rows[chosen])


def _joined(evaluations: Evaluations, more: Evaluations) -> Evaluations:
    return Evaluations(
        np.concatenate([evaluations.client, more.client + evaluations.client.max(initial=-1) + 1]),
        np.concatenate([evaluations.queries, more.queries]),
        np.concatenate([evaluations.rows, more.rows]),
    )


def _noted(
    notes: Mapping[str, Any], changed: ModelBaseline, names: Sequence[str], accepted: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the notes of a model after an acceptance."""
    scores = changed.channel_scores
    own = {name: round(float(scores[i - len(names)].max()), 3) for i, name in enumerate(names)}
    most = sorted({**notes["clients_with_most_evidence"], **own}.items(), key=lambda entry: -entry[1])
    return {
        **notes,
        "calibration_clients": len(scores),
        "profiles": int(changed.norms.means.shape[1]),
        "novelty_scores": [round(float(score), 3) for score in changed.norms.session_scores[:LISTED]],
        "evidence": {name: round(float(scores[:, j].max()), 3) for j, name in enumerate(CHANNELS)},
        "clients_with_most_evidence": dict(most[:LISTED]),
        "set_aside": [entry for entry in notes.get("set_aside", ()) if entry["client"] not in names],
        "accepted": [*notes.get("accepted", []), *sorted(accepted, key=lambda entry: str(entry["client"]))],
    }
