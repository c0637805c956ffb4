"""Configurations and baselines by name, for scripts and notebooks."""

from pathlib import Path

from detector import config as configuration
from detector.baseline import store as baselines
from detector.baseline.store import Baseline
from detector.config import Config
from detector.offline.replay import load_baseline as configured_baseline

__all__ = ["load_baseline", "load_config", "save_baseline", "set_up"]


def load_config(path: str | Path | None = None) -> Config:
    """Read a configuration as the service does: the file, if one is named, and the environment over it.

    Raises `ConfigError`, with file and line.

    >>> load_config().policy.shadow
    True
    """
    return configuration.load(None if path is None else Path(path))


def load_baseline(folder: str | Path) -> Baseline:
    """Read a baseline that `save_baseline` or ``detector baseline fit`` wrote; raises `BaselineError`."""
    return baselines.load(Path(folder))


def save_baseline(baseline: Baseline, folder: str | Path) -> None:
    """Write a baseline, replacing one that is there; raises `OutputError`."""
    baselines.save(baseline, Path(folder))


def set_up(config: Config | str | Path | None, baseline: Baseline | str | Path | None) -> tuple[Config, Baseline | None]:
    """Return configuration and baseline, each given as it is, by name or not at all.

    A baseline that is not given is the one that the configuration names, if it names one. Raises `ConfigError` and
    `BaselineError`.
    """
    settings = config if isinstance(config, Config) else load_config(config)
    if isinstance(baseline, Baseline):
        return settings, baseline
    if baseline is not None:
        settings = settings.with_baseline(Path(baseline))
    return settings, configured_baseline(settings)
