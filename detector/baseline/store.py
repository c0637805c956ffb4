"""The baseline: what is known of benign traffic before the service starts, kept in a folder; `fit` makes it.

The folder holds ``baseline.json``, one sealed archive of plain arrays per model, and the file ``seed``, which opens them. So
the sampled columns and the ids of clients are nowhere in clear. Nothing in the folder is executable, and only its owner can
read it. The seed may be kept elsewhere and given as ``[engine] seed_file``.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from detector import private
from detector.baseline.sealing import mark_of, seal, unseal
from detector.engine.evidence.accumulate import CHANNELS
from detector.engine.features.row import NAMES
from detector.engine.models import novelty, reference
from detector.engine.models.novelty import Evaluations
from detector.engine.odometer import reference_set
from detector.engine.shard import ModelBaseline
from detector.errors import BaselineError, ConfigError, OutputError
from detector.ingest.schema import InputSchema

# 2: keeps the evaluations of calibration clients; 3: numbers of a table have coordinates of their own; 4: sealed with its seed
NO_BASELINE = "none"  # stands for the version where there is no baseline
FORMAT = 4
SEED = "seed"
NOTES = "notes"
LINK_SCORES = "link_scores"  # which older baselines lack, and those without linked accounts
ODOMETER = "odometer"  # its reference set, which older baselines lack
MOST_DIGITS = 19  # most digits of a seed


@dataclass(frozen=True, slots=True)
class Baseline:
    """All models' baselines; `version` changes with any of them. `notes` are for `show`, and `seed` is secret.

    `schemas` say what inputs and answers consist of, of models that had names or texts in their inputs, or that predict
    numbers. A baseline of plain vectors and classes has none.
    """

    version: str
    models: Mapping[str, ModelBaseline]
    notes: Mapping[str, Mapping[str, Any]]
    seed: int = field(repr=False)
    schemas: Mapping[str, InputSchema] = field(default_factory=dict)


def _arrays(baseline: ModelBaseline) -> dict[str, npt.NDArray[Any]]:
    """Return what verdicts depend on; the reference set of the odometer is no part of that."""
    return {
        **{f"reference.{name}": array for name, array in reference.to_arrays(baseline.reference).items()},
        **{f"norms.{name}": array for name, array in novelty.to_arrays(baseline.norms).items()},
        "channel_scores": baseline.channel_scores,
        "looks.client": baseline.evaluations.client.astype(np.int32),
        "looks.queries": baseline.evaluations.queries.astype(np.int32),
        "looks.rows": baseline.evaluations.rows.astype(np.float32),
        "feature_names": np.array(NAMES),
        "channel_names": np.array(CHANNELS),
        **({LINK_SCORES: baseline.link_scores} if len(baseline.link_scores) else {}),
    }


def _judging(baseline: ModelBaseline) -> dict[str, npt.NDArray[Any]]:
    """Return the reference set of the odometer as arrays, none where there is none."""
    return {} if baseline.reference_set is None else reference_set.to_arrays(baseline.reference_set)


def _digest_of(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:12]


def version_of(models: Mapping[str, ModelBaseline], schemas: Mapping[str, InputSchema] | None = None) -> str:
    """Return the digest of all that verdicts depend on: models' baselines, and the columns of their inputs where known."""
    digest = hashlib.sha256()
    for model in sorted(models):
        digest.update(model.encode())
        for name, array in sorted(_arrays(models[model]).items()):
            digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
        if schemas and model in schemas:
            for _, array in sorted(schemas[model].to_arrays().items()):
                digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:12]


def save(baseline: Baseline, folder: Path) -> None:
    """Write the baseline and its seed into `folder`, replacing a baseline that is there.

    Raises `OutputError` when the folder cannot be written.
    """
    try:
        private.make_folder(folder)
        files: dict[str, str] = {}
        digests: dict[str, str] = {}
        for number, model in enumerate(sorted(baseline.models)):
            files[model] = f"model-{number}.sealed"
            judging = _judging(baseline.models[model])
            if judging:
                digests[model] = _digest_of(judging)
            arrays = _arrays(baseline.models[model]) | {NOTES: _encoded(baseline.notes[model])}
            arrays |= {f"{ODOMETER}.{name}": array for name, array in judging.items()}
            if model in baseline.schemas:
                arrays |= baseline.schemas[model].to_arrays()
            buffer = io.BytesIO()
            np.savez_compressed(buffer, allow_pickle=False, **arrays)
            private.write(folder / files[model], seal(buffer.getvalue(), baseline.seed))
        about: dict[str, Any] = {"format": FORMAT, "version": baseline.version, "seed": mark_of(baseline.seed), "models": files}
        if digests:
            about[ODOMETER] = digests
        private.write(folder / "baseline.json", (json.dumps(about, indent=2) + "\n").encode())
        private.write(folder / SEED, f"{baseline.seed}\n".encode())
    except OSError as error:
        raise OutputError(f"cannot write the baseline to {folder}: {error.strerror}") from error


def load(folder: Path, seed: int | None = None) -> Baseline:
    """Read a baseline that `save` wrote; `seed`, where given, opens it instead of the seed in the folder.

    Raises `BaselineError` when the baseline is missing, damaged, of another version, or cannot be opened. Raises `ConfigError`
    when it was fitted with another seed than the one given.
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
    models, notes, schemas = {}, {}, {}
    for model, file in about["models"].items():
        with np.load(io.BytesIO(unseal((folder / file).read_bytes(), seed)), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        if tuple(arrays["feature_names"]) != NAMES or tuple(arrays["channel_names"]) != CHANNELS:
            raise BaselineError("the baseline was fitted with other features: fit it again")
        notes[model] = json.loads(arrays[NOTES].tobytes())
        if (schema := InputSchema.from_arrays(arrays)) is not None:
            schemas[model] = schema
        judging = _part(arrays, f"{ODOMETER}.")
        if (_digest_of(judging) if judging else None) != about.get(ODOMETER, {}).get(model):
            raise BaselineError("the baseline is damaged: the reference set of the odometer does not belong to it")
        models[model] = ModelBaseline(
            reference.from_arrays(_part(arrays, "reference.")),
            novelty.from_arrays(_part(arrays, "norms.")),
            arrays["channel_scores"],
            _evaluations(_part(arrays, "looks.")),
            reviewed=len(notes[model].get("accepted", ())),
            reference_set=reference_set.from_arrays(judging),
            link_scores=arrays.get(LINK_SCORES, np.zeros(0)),
        )
    if version_of(models, schemas) != about["version"]:
        raise BaselineError("the baseline is damaged: its files do not belong together")
    return Baseline(about["version"], models, notes, seed, schemas)


def _opening(folder: Path, mark: str, given: int | None) -> int:
    """Return the seed that a baseline with this mark was fitted with."""
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


def _encoded(document: Mapping[str, Any]) -> npt.NDArray[np.uint8]:
    return np.frombuffer(json.dumps(document).encode(), np.uint8)


def _evaluations(arrays: Mapping[str, npt.NDArray[Any]]) -> Evaluations:
    return Evaluations(arrays["client"].astype(np.int64), arrays["queries"].astype(np.int64), arrays["rows"].astype(np.float64))


def _part(arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> dict[str, npt.NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def dimensions_of(models: Mapping[str, ModelBaseline]) -> dict[str, int]:
    """Return how many values the inputs of each model have."""
    return {model: entry.reference.dimension for model, entry in models.items()}
