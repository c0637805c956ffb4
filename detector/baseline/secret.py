"""The secret seed: random choices made with it cannot be computed by somebody who has this program but not the seed.

It decides which input columns are sampled, and it keys the random numbers of each client. `detector baseline fit` makes one and
keeps it with the baseline. ``[engine] seed`` or ``seed_file`` gives it where there is no baseline, or where the baseline's seed
file is kept elsewhere. Only in shadow mode may it be missing.
"""

import secrets
from collections.abc import Mapping
from dataclasses import replace

from detector.baseline import store as baselines
from detector.baseline.settings import engine_settings, policy_settings
from detector.baseline.store import Baseline
from detector.config import Config
from detector.config.mistakes import from_environment
from detector.engine.shard import EngineSettings
from detector.errors import ConfigError
from detector.ingest.schema import InputSchema

NONE = (
    "seed: none; everybody who has this program can compute which input columns are remembered. `detector baseline fit` makes "
    "one, [engine] seed_file names one"
)


def settings_of(config: Config, baseline: Baseline | None) -> EngineSettings:
    """Return the settings of the engine, with the seed in force.

    Raises `ConfigError` when the configured seed is not the baseline's, or when there is none outside shadow mode.
    """
    settings = engine_settings(config, baseline.schemas if baseline is not None else None)
    if baseline is not None and settings.seed not in {None, baseline.seed}:
        raise ConfigError(
            "[engine] seed is not the one that the baseline was fitted with, which decides the columns: leave it out, since "
            "the baseline has its own, or fit the baseline again"
        )
    if baseline is not None:
        return replace(settings, seed=baseline.seed)
    if settings.seed is None and config.enforces:
        raise ConfigError(
            "shadow is false and there is no secret seed: everybody who has this program could compute which input "
            "columns are remembered. Fit a baseline, whose seed is kept with it, or set [engine] seed_file or seed"
        )
    return settings


def require(config: Config) -> None:
    """Raise `ConfigError` when there can be no seed and shadow mode is off, or policy names what does not exist.

    A baseline's seed is checked when it is read.
    """
    policy_settings(config)
    if config.baseline.path is None:
        settings_of(config, None)


def settings_for_fit(config: Config, learned: Mapping[str, InputSchema] | None = None) -> EngineSettings:
    """Return the settings to fit a baseline with: the configured seed, or a new one of 63 random bits.

    `learned` are the columns of inputs that the log told.
    """
    settings = engine_settings(config, learned)
    return settings if settings.seed is not None else replace(settings, seed=secrets.randbits(63))


def known_seed(config: Config) -> int | None:
    """Return the configured seed, or the one kept with the configured baseline; raises `ConfigError` and `BaselineError`."""
    seed = config.engine.secret()
    if seed is None and config.baseline.path is not None:
        return baselines.seed_in(config.baseline.path)
    return seed


def source(config: Config) -> str:
    """Tell where the seed comes from, without the seed itself."""
    engine, folder = config.engine, config.baseline.path
    if engine.seed is not None:
        variable = from_environment(("engine", "seed"))
        return f"seed: from {f'environment variable {variable}' if variable else '[engine] seed'}"
    if engine.seed_file is not None:
        return f"seed: from the file {engine.seed_file}"
    if folder is not None and baselines.seed_in(folder) is not None:
        return f"seed: from {folder / baselines.SEED}, kept with the baseline"
    return NONE
