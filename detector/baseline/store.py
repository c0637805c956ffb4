"""The baseline: what is known of benign traffic before the service starts, fitted from a log and kept in a folder.

Clients are split by the time they first appear. The first third teaches the *reference* (how inputs are reduced, where the
population lives); the others, who have not shaped it, are *calibration clients*: their features become the norms, and the
highest score of each, given by norms that had not seen it, says how often an innocent client passes a bar. With fewer than
24 clients all of them serve both ends, which makes the bars optimistic; `show` says so.

A folder holds ``baseline.json``, one sealed archive of plain arrays per model, and the file ``seed``, which opens them: the
columns that are remembered and the ids of clients are nowhere in clear. Nothing in it is executable, and only its owner can
read it. The seed may be kept elsewhere and given as ``[engine] seed_file``.
"""

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from detector import private
from detector.baseline.calibrate import Calibration, calibrate
from detector.baseline.sealing import mark_of, seal, unseal
from detector.engine.clients import Cohort
from detector.engine.evidence.accumulate import CHANNELS
from detector.engine.features.row import NAMES
from detector.engine.models import novelty, reference
from detector.engine.models.drift import compared
from detector.engine.models.novelty import LEAST_CLIENTS, STAGES, Looks, fit_norms
from detector.engine.models.reference import fit_reference
from detector.engine.shard import EngineSettings, ModelBaseline
from detector.errors import BaselineError, ConfigError, OutputError
from detector.ingest.batch import Batch

# 2: the looks of calibration clients are kept; 3: numbers of a table have coordinates of their own; 4: sealed with its seed
NO_BASELINE = "none"  # what stands for the version of a baseline where there is none
FORMAT = 4
SEED = "seed"
NOTES = "notes"
MOST_DIGITS = 19  # of a seed
SAMPLE = 20_000
SPLIT_FROM = 24
LISTED = 5


@dataclass(frozen=True, slots=True)
class Baseline:
    """Everything known beforehand, per model; `version` changes with any of it. `notes` are for `show`, `seed` is secret."""

    version: str
    models: Mapping[str, ModelBaseline]
    notes: Mapping[str, Mapping[str, Any]]
    seed: int = field(repr=False)


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
    that `show` lists with the highest scores before trusting it. Queries of another length than most clients' are left out.

    Raises `BaselineError` when the log is empty, or a model has fewer than 8 clients with 8 queries.
    """
    by_length: dict[str, dict[int, _Sample]] = {}
    for batch in read():
        length = batch.vector.shape[1]
        by_length.setdefault(batch.model, {}).setdefault(length, _Sample(length, settings.secret)).add(batch)
    if not by_length:
        raise BaselineError("the log holds no valid event, so there is nothing to fit")
    # No single record decides how long a model's inputs are: most clients do.
    samples = {
        model: max(lengths.values(), key=lambda sample: (len(sample.queries), sum(sample.queries.values())))
        for model, lengths in by_length.items()
    }
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
                seed=settings.secret,
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
    return Baseline(version_of(models), models, notes, settings.secret)


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
    """Write the baseline and its seed into `folder`, replacing one that is there.

    Raises `OutputError` when the folder cannot be written.
    """
    try:
        private.make_folder(folder)
        files = {}
        for number, model in enumerate(sorted(baseline.models)):
            files[model] = f"model-{number}.sealed"
            arrays = _arrays(baseline.models[model]) | {NOTES: _encoded(baseline.notes[model])}
            buffer = io.BytesIO()
            np.savez_compressed(buffer, allow_pickle=False, **arrays)
            private.write(folder / files[model], seal(buffer.getvalue(), baseline.seed))
        about = {"format": FORMAT, "version": baseline.version, "seed": mark_of(baseline.seed), "models": files}
        private.write(folder / "baseline.json", (json.dumps(about, indent=2) + "\n").encode())
        private.write(folder / SEED, f"{baseline.seed}\n".encode())
    except OSError as error:
        raise OutputError(f"cannot write the baseline to {folder}: {error.strerror}") from error


def load(folder: Path, seed: int | None = None) -> Baseline:
    """Read a baseline that `save` wrote; `seed`, where given, opens it instead of the one that is kept with it.

    Raises `BaselineError` when it is missing, damaged, of another version, or cannot be opened, and `ConfigError` when it was
    fitted with another seed than the one given.
    """
    try:
        return _read(folder, seed)
    except FileNotFoundError as error:
        raise BaselineError(f"{folder}: no baseline here ({Path(error.filename).name} is missing)") from error
    except BaselineError as error:
        raise BaselineError(f"{folder}: {error}") from error
    except ConfigError:
        raise
    except Exception as error:  # a damaged archive raises whatever its bytes lead to
        raise BaselineError(f"{folder}: the baseline is damaged: {error}") from error


def seed_in(folder: Path) -> int | None:
    """Return the seed that is kept with a baseline, None where there is none.

    Raises `BaselineError` when it cannot be read, or is no seed.
    """
    try:
        text = (folder / SEED).read_bytes().strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise BaselineError(f"{folder / SEED}: cannot read the seed: {error.strerror}") from error
    if not text.isdigit() or len(text) > MOST_DIGITS or int(text) >= 2**63:
        raise BaselineError(f"{folder / SEED}: not a seed: copy the file again from where the baseline was fitted")
    return int(text)


def _read(folder: Path, given: int | None) -> Baseline:
    about = json.loads((folder / "baseline.json").read_bytes())
    if about["format"] != FORMAT:
        raise BaselineError(
            f"the baseline has format {about['format']}, this version reads {FORMAT}, which keeps a secret seed and nothing in "
            "clear: fit it again"
        )
    seed = _opening(folder, about["seed"], given)
    models, notes = {}, {}
    for model, file in about["models"].items():
        with np.load(io.BytesIO(unseal((folder / file).read_bytes(), seed)), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        if tuple(arrays["feature_names"]) != NAMES or tuple(arrays["channel_names"]) != CHANNELS:
            raise BaselineError("the baseline was fitted with other features: fit it again")
        notes[model] = json.loads(arrays[NOTES].tobytes())
        models[model] = ModelBaseline(
            reference.from_arrays(_part(arrays, "reference.")),
            novelty.from_arrays(_part(arrays, "norms.")),
            arrays["channel_scores"],
            _looks(_part(arrays, "looks.")),
        )
    if version_of(models) != about["version"]:
        raise BaselineError("the baseline is damaged: its files do not belong together")
    return Baseline(about["version"], models, notes, seed)


def _opening(folder: Path, mark: str, given: int | None) -> int:
    """Return the seed that a baseline of this mark was fitted with."""
    if given is not None:
        if mark_of(given) != mark:
            raise ConfigError(
                f"[engine] seed is not the one that the baseline in {folder} was fitted with, which decides the columns: leave "
                f"it out, so that the baseline's own is read from {folder / SEED}, or fit the baseline again"
            )
        return given
    kept = seed_in(folder)
    if kept is None:
        raise BaselineError(
            f"the baseline's secret seed is missing: copy the file {SEED!r} along from where the baseline was fitted, readable "
            "by its owner only, or give the seed as [engine] seed_file or seed"
        )
    if mark_of(kept) != mark:
        raise BaselineError(f"the file {SEED!r} belongs to another baseline: copy the one from where this one was fitted")
    return kept


def _encoded(notes: Mapping[str, Any]) -> npt.NDArray[np.uint8]:
    return np.frombuffer(json.dumps(notes).encode(), np.uint8)


def _looks(arrays: Mapping[str, npt.NDArray[Any]]) -> Looks:
    return Looks(arrays["client"].astype(np.int64), arrays["queries"].astype(np.int64), arrays["rows"].astype(np.float64))


def _part(arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> dict[str, npt.NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def dimensions_of(models: Mapping[str, ModelBaseline]) -> dict[str, int]:
    """Return how many values the inputs of each model have."""
    return {model: entry.reference.dimension for model, entry in models.items()}
