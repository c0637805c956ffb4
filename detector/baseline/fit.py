"""Fitting a baseline on a log of benign traffic.

Clients are split by the time they first appear. The first third teaches the *reference* (how inputs are reduced, and where the
population lives). The others, which have not shaped it, are *calibration clients*. Their features become the norms. The highest
score of each, under norms that have not seen it, shows how often an innocent client passes a threshold. With fewer than 24
clients all of them serve both purposes, which makes the thresholds optimistic; `show` says so.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.baseline.calibrate import Calibration, calibrate
from detector.baseline.doubts import doubts, set_aside
from detector.baseline.store import Baseline, version_of
from detector.engine.account import account_of
from detector.engine.clients import ClientTable
from detector.engine.evidence.accumulate import CHANNELS
from detector.engine.evidence.step import margin_of
from detector.engine.fitting.drift import compared
from detector.engine.fitting.noise import Taught, Unheard
from detector.engine.fitting.novelty import fit_norms
from detector.engine.fitting.reference import fit_reference
from detector.engine.fitting.turns import Opening, fit_turning
from detector.engine.fitting.unheard import fit_unheard
from detector.engine.links.linker import Linker
from detector.engine.links.sketch import in_stream_order
from detector.engine.models.novelty import LEAST_CLIENTS
from detector.engine.models.profiles import STAGES
from detector.engine.models.reference import Reference
from detector.engine.odometer.reference_set import ReferenceSet, sample_reference_set
from detector.engine.shard import EngineSettings, ModelBaseline
from detector.errors import BaselineError
from detector.ingest.batch import Batch
from detector.ingest.schema import InputSchema

SAMPLE = 20_000
OPENING = 128  # first queries of a client that teach how often labels turn
LEAST_TEACHERS = 16  # with fewer openings of teachers, those of all clients teach how often labels turn: half may tell nothing
SPLIT_FROM = 24
LISTED = 5


class _Opening:
    """The first queries of one client."""

    def __init__(self) -> None:
        self.rows: list[tuple[npt.NDArray[np.float32], int, float]] = []

    def add(self, batch: Batch, at: int) -> bool:
        """Add a query, and return whether there was room for it."""
        if len(self.rows) >= OPENING:
            return False
        margin = margin_of(batch.confidence[at], batch.runner_up[at])
        self.rows.append((batch.vector[at].copy(), int(batch.label[at]), float(margin)))
        return True

    def whole(self) -> Opening:
        vectors, labels, margins = zip(*self.rows, strict=True)
        return Opening(np.array(vectors), np.array(labels, np.int32), np.array(margins, np.float32))


class _Sample:
    """The first pass over one model's log: its clients, their openings, and a uniform sample (reservoir sampling)."""

    def __init__(self, dimension: int, seed: int) -> None:
        self.queries: dict[str, int] = {}
        self.labels: set[int] = set()
        self.dimension = dimension
        self.vectors: list[npt.NDArray[np.float32]] = []
        self.label: list[int] = []
        self.clients: list[str] = []
        self.openings: dict[str, _Opening] = {}
        self._rng = np.random.default_rng(seed)
        self._seen = 0
        self._opened = 0  # queries in the openings; clients with few queries leave room for others

    def add(self, batch: Batch) -> None:
        self.labels.update(int(label) for label in np.unique(batch.label))
        for place, (client, vector) in enumerate(zip(batch.client, batch.vector, strict=True)):
            if self._opened < SAMPLE and (client in self.openings or client not in self.queries):
                self._opened += self.openings.setdefault(client, _Opening()).add(batch, place)
            self.queries[client] = self.queries.get(client, 0) + 1
            self._seen += 1
            if len(self.vectors) < SAMPLE:
                self.vectors.append(vector.copy())
                self.label.append(int(batch.label[place]))
                self.clients.append(client)
            else:
                at = int(self._rng.integers(self._seen))
                if at < SAMPLE:
                    self.vectors[at] = vector.copy()
                    self.label[at] = int(batch.label[place])
                    self.clients[at] = client


def fit_baseline(
    read: Callable[[], Iterable[Batch]], settings: EngineSettings, schemas: Mapping[str, InputSchema] | None = None
) -> Baseline:
    """Fit a baseline on a log of benign traffic, which is read twice; it keeps the `schemas`.

    `read` starts a pass over the log and yields its batches. Every client in the log counts as benign. Those that would be
    acted on are in the notes as ``set_aside``: review them, and the clients that `show` lists, before you trust the baseline.
    Queries of another length than most clients' are left out, and so are queries whose answers were perturbed: they are not
    what the model is.

    Raises `BaselineError` when the log is empty, or a model has fewer than 8 clients with 8 queries.
    """
    by_length: dict[str, dict[int, _Sample]] = {}
    for batch in map(Batch.unperturbed, read()):
        if not len(batch):
            continue
        length = batch.vector.shape[1]
        by_length.setdefault(batch.model, {}).setdefault(length, _Sample(length, settings.secret)).add(batch)
    if not by_length:
        raise BaselineError("the log holds no valid event, so there is nothing to fit")
    # The majority of the clients, not a single record, decides the length of a model's inputs.
    samples = {
        model: max(lengths.values(), key=lambda sample: (len(sample.queries), sum(sample.queries.values())))
        for model, lengths in by_length.items()
    }
    groups = {model: _split(sample) for model, sample in samples.items()}
    tables: dict[str, ClientTable] = {}
    calibrations: dict[str, Calibration] = {}
    linkers: dict[str, Linker] = {}
    for model, sample in samples.items():
        teachers, _ = groups[model]
        chosen = [i for i, client in enumerate(sample.clients) if client in teachers]
        try:
            learned = fit_reference(
                np.array([sample.vectors[i] for i in chosen]),
                len(sample.labels),
                seed=settings.secret,
                categorical=(settings.categorical or {}).get(model, ()),
                clients=[sample.clients[i] for i in chosen],
            )
        except BaselineError as error:
            raise BaselineError(f"model {model!r}: {error}") from error
        # Calibration clients teach no rate: under rates that know them, their evidence would be lower than the next client's.
        # A small log has too few teachers for that, and no rate at all is worse.
        openings = [opening for client, opening in sample.openings.items() if client in teachers]
        if len(openings) < LEAST_TEACHERS:
            openings = list(sample.openings.values())
        learned = replace(learned, turning=fit_turning(learned, [opening.whole() for opening in openings]))
        others = [i for i, client in enumerate(sample.clients) if client not in teachers]
        if others:
            unheard = Unheard(np.array([sample.vectors[i] for i in others]), [sample.clients[i] for i in others])
            taught = Taught(np.array([sample.vectors[i] for i in chosen]), [sample.clients[i] for i in chosen])
            learned = fit_unheard(learned, taught, unheard, settings.secret)
        calibrations[model] = Calibration()
        tables[model] = calibrate(model, learned, settings, calibrations[model])
        linkers[model] = Linker(model, settings.links, learned, settings.policy, secret=settings.secret)
    for batch in map(Batch.unperturbed, read()):
        if not len(batch):
            continue
        _, calibrating = groups[batch.model]
        if batch.vector.shape[1] == samples[batch.model].dimension:
            rows = np.array([i for i, client in enumerate(batch.client) if client in calibrating], np.intp)
            if len(rows):
                outputs = tables[batch.model].process(batch.take(rows))
                for model, sketches in in_stream_order(outputs.sketches).items():
                    linkers[model].process(sketches)
    models = {}
    notes = {}
    for model, table in tables.items():
        found, notes[model] = _finish(model, table, calibrations[model], samples[model], groups[model], settings)
        models[model] = replace(found, link_scores=linkers[model].usual())
        scores = linkers[model].scores()[:LISTED]
        notes[model] = {**notes[model], "linked_groups": [round(score, 3) for score in scores]}
    kept = {model: schema for model, schema in (schemas or {}).items() if model in models}
    return Baseline(version_of(models, kept), models, notes, settings.secret, kept)


def _split(sample: _Sample) -> tuple[frozenset[str], frozenset[str]]:
    """Return the clients that teach the reference and those that calibrate, by their order of appearance."""
    clients = [client for client, queries in sample.queries.items() if queries >= STAGES[0]]
    if len(clients) < SPLIT_FROM:
        everybody = frozenset(sample.queries)
        return everybody, everybody
    teachers = frozenset(clients[: len(clients) // 3])
    return teachers, frozenset(sample.queries) - teachers


def _finish(
    model: str,
    table: ClientTable,
    calibration: Calibration,
    sample: _Sample,
    groups: tuple[frozenset[str], frozenset[str]],
    settings: EngineSettings,
) -> tuple[ModelBaseline, dict[str, Any]]:
    names = calibration.names
    if len(names) < LEAST_CLIENTS:
        raise BaselineError(
            f"model {model!r}: {len(names)} clients have {STAGES[0]} queries or more, at least {LEAST_CLIENTS} are needed "
            "to learn what is usual: give a longer log, or logs of more clients"
        )
    evaluations = calibration.evaluations()
    calibrated = fit_norms(evaluations)
    norms = calibrated.norms
    channel_scores = calibration.channel_scores()
    worst = np.argsort(-channel_scores.max(axis=1), kind="stable")[:LISTED]
    notes = {
        "dimension": sample.dimension,
        "queries": sum(sample.queries.values()),
        "clients": len(sample.queries),
        "labels": len(sample.labels),
        "teaching_clients": len(groups[0]),
        "calibration_clients": len(names),
        "split": groups[0] != groups[1],
        "profiles": int(norms.means.shape[1]),
        "novelty_scores": [round(float(score), 3) for score in norms.session_scores[:LISTED]],
        "evidence": {name: round(float(channel_scores[:, j].max()), 3) for j, name in enumerate(CHANNELS)},
        "set_aside": doubts(names, calibrated, channel_scores, settings.policy),
        "clients_with_most_evidence": {names[i]: round(float(channel_scores[i].max()), 3) for i in worst},
    }
    aside = set_aside(names, calibrated, channel_scores, settings.policy)
    judge = _reference_set(
        table.reference, sample, frozenset(account_of(name).client for name in names) - aside, settings.secret
    )
    notes["reference_inputs"] = 0 if judge is None else len(judge.label)
    return ModelBaseline(table.reference, norms, channel_scores, compared(evaluations), reference_set=judge), notes


def _reference_set(reference: Reference, sample: _Sample, clients: frozenset[str], secret: int) -> ReferenceSet | None:
    """Return what copies are judged by: queries of clients that were looked at and not set aside."""
    rows = [i for i, client in enumerate(sample.clients) if client in clients]
    return sample_reference_set(
        reference,
        np.array([sample.vectors[i] for i in rows], np.float32).reshape(len(rows), sample.dimension),
        np.array([sample.label[i] for i in rows], np.int32),
        [sample.clients[i] for i in rows],
        secret,
    )
