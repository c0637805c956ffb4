"""The logs that a notebook is about: the reader's own, in any format, or simulated ones until there are some."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from detector.config import Config
from detector.errors import OutputError
from detector.ingest.formats.auto import AUTO
from detector.offline.analysis.budget import read_labels
from detector.offline.analysis.simulation import simulate
from detector.offline.files import load_config

__all__ = ["Logs", "Source", "open_logs"]

Source = str | Path | Sequence[str | Path]


@dataclass(frozen=True, slots=True)
class Logs:
    """Which logs to look at, and how they are read.

    `history` is benign traffic to fit a baseline on, None where `config` names a baseline. `labels` say of clients whether they
    are thieves, as far as that is known.
    """

    log: Source
    history: Source | None
    labels: Mapping[str, bool]
    config: Config


def open_logs(
    folder: str | Path,
    log: Source | None = None,
    *,
    history: Source | None = None,
    labels: str | Path | None = None,
    log_format: str = AUTO,
    config: str | Path | None = None,
) -> Logs:
    """Return the logs that are named, or simulated ones in `folder` (see `simulate`) where `log` is None.

    `log` is what ``detector replay`` takes: files, folders, patterns or URLs, in any format that it reads. `log_format` names
    the format; ``auto`` recognises it, unless the file `config` names one. Without a `history` the baseline that `config` names
    is used, and without one the log itself is taken for benign: thieves in it are then learned as usual, so name a history as
    soon as you have one. `folder` is made, for what a notebook writes.

    Raises `ConfigError`, `SourceError` for labels that are not there, and `OutputError`.
    """
    settings = load_config(config)
    if log is None:
        made = simulate(folder)
        return Logs(made.log, made.history, read_labels(made.labels), settings)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {folder}: {error.strerror or error}") from error
    if log_format != AUTO or "format" not in settings.ingest.model_fields_set:
        settings = settings.model_copy(update={"ingest": settings.ingest.model_copy(update={"format": log_format})})
    if history is None and settings.baseline.path is None:
        history = log
    return Logs(log, history, {} if labels is None else read_labels(labels), settings)
