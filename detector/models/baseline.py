"""The baseline: what is known of benign traffic before the service starts, fitted from a log and kept in a folder.

Clients are split by the time they first appear. The first third teaches the *reference* (how inputs are reduced, where the
population lives); the others, who have not shaped it, are *calibration clients*: their features become the norms, and the
highest score of each, given by norms that had not seen it, says how often an innocent client passes a bar. With fewer than
24 clients all of them serve both ends, which makes the bars optimistic; `show` says so.

A folder holds ``baseline.json`` and one ``.npz`` of plain arrays per model. Nothing in it is executable.
"""

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.cohort import Cohort
from detector.engine import EngineSettings, ModelBaseline
from detector.errors import BaselineError, OutputError
from detector.evidence.accumulate import CHANNELS
from detector.features import NAMES
from detector.ingest.batch import Batch
from detector.models import novelty, reference
from detector.models.calibration import Calibration, calibrate
from detector.models.drift import compared
from detector.models.novelty import LEAST_CLIENTS, STAGES, Looks, fit_norms
from detector.models.reference import fit_reference

FORMAT = 3  # 2: the looks of calibration clients are kept; 3: numbers of a table have coordinates of their own
SAMPLE = 20_000
SPLIT_FROM = 24
LISTED = 5


@dataclass(frozen=True, slots=True)
class Baseline:
    """Everything known beforehand, per model; `version` changes with any of it. `notes` are for `show`."""

    version: str
    models: Mapping[str, ModelBaseline]
    notes: Mapping[str, Mapping[str, Any]]


class _Sample:
    """A first look at one model's log: who is in it, and a uniform sample of queries (reservoir sampling)."""

    def __init__(self, dimension: int, seed: int) -> None:
        self.queries: dict[str, int] = {}
        self.labels: set[int] = set()
        self.dimension = dimension
        self.vectors: list[npt.NDArray[np.float32]] = []
        self.clients: list[str] = []
        self._rng = np.random.default_rng(seed)
        self._seen = 0

    def add(self, batch: Batch) -> None:
        self.labels.update(int(label) for label in np.unique(batch.label))
        for client, vector in zip(batch.client, batch.vector, strict=True):
            self.queries[client] = self.queries.get(client, 0) + 1
            self._seen += 1
            if len(self.vectors) < SAMPLE:
                self.vectors.append(vector.copy())
                self.clients.append(client)
            else:
                at = int(self._rng.integers(self._seen))
                if at < SAMPLE:
                    self.vectors[at] = vector.copy()
                    self.clients[at] = client


def fit_baseline(read: Callable[[], Iterable[Batch]], settings: EngineSettings) -> Baseline:
    """Fit a baseline on a log of benign traffic, which is read twice.

    `read` starts a pass over the log and yields its batches. Everybody in the log is taken for benign; look at the clients
    that `show` lists with the highest scores before trusting it.

    Raises `BaselineError` when the log is empty, or a model has fewer than 8 clients with 8 queries.
    """
    samples: dict[str, _Sample] = {}
    for batch in read():
        sample = samples.setdefault(batch.model, _Sample(batch.vector.shape[1], settings.seed))
        if batch.vector.shape[1] == sample.dimension:
            sample.add(batch)
    if not samples:
        raise BaselineError("the log holds no valid event, so there is nothing to fit")
    groups = {model: _split(sample) for model, sample in samples.items()}
    cohorts: dict[str, Cohort] = {}
    calibrations: dict[str, Calibration] = {}
    for model, sample in samples.items():
        teachers, _ = groups[model]
        chosen = [i for i, client in enumerate(sample.clients) if client in teachers]
        try:
            learned = fit_reference(
                np.array([sample.vectors[i] for i in chosen]),
                len(sample.labels),
                seed=settings.seed,
                categorical=(settings.categorical or {}).get(model, ()),
                clients=[sample.clients[i] for i in chosen],
            )
        except BaselineError as error:
            raise BaselineError(f"model {model!r}: {error}") from error
        calibrations[model] = Calibration()
        cohorts[model] = calibrate(model, learned, settings, calibrations[model])
    for batch in read():
        _, calibrating = groups[batch.model]
        if batch.vector.shape[1] == samples[batch.model].dimension:
            rows = np.array([i for i, client in enumerate(batch.client) if client in calibrating], np.intp)
            if len(rows):
                cohorts[batch.model].process(batch.take(rows))
    models = {}
    notes = {}
    for model, cohort in cohorts.items():
        models[model], notes[model] = _finish(model, cohort, calibrations[model], samples[model], groups[model])
    return Baseline(version_of(models), models, notes)


def _split(sample: _Sample) -> tuple[frozenset[str], frozenset[str]]:
    """Return the clients that teach the reference and those that calibrate; dictionaries keep the order of appearance."""
    clients = [client for client, queries in sample.queries.items() if queries >= STAGES[0]]
    if len(clients) < SPLIT_FROM:
        everybody = frozenset(sample.queries)
        return everybody, everybody
    teachers = frozenset(clients[: len(clients) // 3])
    return teachers, frozenset(sample.queries) - teachers


def _finish(
    model: str,
    cohort: Cohort,
    calibration: Calibration,
    sample: _Sample,
    groups: tuple[frozenset[str], frozenset[str]],
) -> tuple[ModelBaseline, dict[str, Any]]:
    names = calibration.names
    if len(names) < LEAST_CLIENTS:
        raise BaselineError(
            f"model {model!r}: {len(names)} clients have {STAGES[0]} queries or more, at least {LEAST_CLIENTS} are needed "
            "to say what is usual: give a longer log, or logs of more clients"
        )
    looks = calibration.looks()
    norms = fit_norms(looks)
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
        "clients_with_most_evidence": {names[i]: round(float(channel_scores[i].max()), 3) for i in worst},
    }
    return ModelBaseline(cohort.reference, norms, channel_scores, compared(looks)), notes


def _arrays(baseline: ModelBaseline) -> dict[str, npt.NDArray[Any]]:
    return {
        **{f"reference.{name}": array for name, array in reference.to_arrays(baseline.reference).items()},
        **{f"norms.{name}": array for name, array in novelty.to_arrays(baseline.norms).items()},
        "channel_scores": baseline.channel_scores,
        "looks.client": baseline.looks.client.astype(np.int32),
        "looks.queries": baseline.looks.queries.astype(np.int32),
        "looks.rows": baseline.looks.rows.astype(np.float32),
        "feature_names": np.array(NAMES),
        "channel_names": np.array(CHANNELS),
    }


def version_of(models: Mapping[str, ModelBaseline]) -> str:
    """Return the digest of all that is known."""
    digest = hashlib.sha256()
    for model in sorted(models):
        digest.update(model.encode())
        for name, array in sorted(_arrays(models[model]).items()):
            digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:12]


def save(baseline: Baseline, folder: Path) -> None:
    """Write the baseline into `folder`, replacing one that is there.

    Raises `OutputError` when the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = {}
        for number, model in enumerate(sorted(baseline.models)):
            files[model] = f"model-{number}.npz"
            buffer = io.BytesIO()
            np.savez_compressed(buffer, allow_pickle=False, **_arrays(baseline.models[model]))
            (folder / files[model]).write_bytes(buffer.getvalue())
        about = {
            "format": FORMAT,
            "version": baseline.version,
            "models": {model: {"file": files[model], **baseline.notes[model]} for model in sorted(files)},
        }
        (folder / "baseline.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write the baseline to {folder}: {error.strerror}") from error


def load(folder: Path) -> Baseline:
    """Read a baseline that `save` wrote.

    Raises `BaselineError` when it is missing, damaged, or of another version.
    """
    try:
        return _read(folder)
    except FileNotFoundError as error:
        raise BaselineError(f"{folder}: no baseline here ({Path(error.filename).name} is missing)") from error
    except BaselineError as error:
        raise BaselineError(f"{folder}: {error}") from error
    except Exception as error:  # a damaged archive raises whatever its bytes lead to
        raise BaselineError(f"{folder}: the baseline is damaged: {error}") from error


def _read(folder: Path) -> Baseline:
    about = json.loads((folder / "baseline.json").read_bytes())
    if about["format"] != FORMAT:
        raise BaselineError(f"the baseline has format {about['format']}, this version reads {FORMAT}: fit it again")
    models = {}
    for model, notes in about["models"].items():
        with np.load(io.BytesIO((folder / notes["file"]).read_bytes()), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        if tuple(arrays["feature_names"]) != NAMES or tuple(arrays["channel_names"]) != CHANNELS:
            raise BaselineError("the baseline was fitted with other features: fit it again")
        models[model] = ModelBaseline(
            reference.from_arrays(_part(arrays, "reference.")),
            novelty.from_arrays(_part(arrays, "norms.")),
            arrays["channel_scores"],
            _looks(_part(arrays, "looks.")),
        )
    if version_of(models) != about["version"]:
        raise BaselineError("the baseline is damaged: its files do not belong together")
    return Baseline(about["version"], models, about["models"])


def _looks(arrays: Mapping[str, npt.NDArray[Any]]) -> Looks:
    return Looks(arrays["client"].astype(np.int64), arrays["queries"].astype(np.int64), arrays["rows"].astype(np.float64))


def _part(arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> dict[str, npt.NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
