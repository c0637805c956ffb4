"""Catches model extraction from the prediction log, while the theft is still cheap to stop.

For notebooks and scripts, the engine of the service over recorded logs, with tables as pandas data frames::

    import detector

    config = detector.load_config("detector.toml")
    baseline = detector.fit("history.jsonl.gz", config)
    results = detector.replay("log.jsonl", config, baseline=baseline)
    results.alerts

Tables need pandas (``pip install 'model-extraction-detector[notebooks]'``). Names are imported when they are first used, so
``import detector`` itself costs nothing. See `detector.analysis` for what each name does, and ``notebooks/`` for examples.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from detector.distribution import VERSION

if TYPE_CHECKING:
    from detector.offline.analysis import (
        Baseline,
        Config,
        Explanation,
        Results,
        Simulation,
        Told,
        bars,
        client_picture,
        fit,
        load_baseline,
        load_config,
        read_labels,
        replay,
        save_baseline,
        simulate,
        with_budget,
        write_config,
    )

__version__ = VERSION

__all__ = [
    "Baseline",
    "Config",
    "Explanation",
    "Results",
    "Simulation",
    "Told",
    "__version__",
    "bars",
    "client_picture",
    "fit",
    "load_baseline",
    "load_config",
    "read_labels",
    "replay",
    "save_baseline",
    "simulate",
    "with_budget",
    "write_config",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("detector.offline.analysis"), name)


def __dir__() -> list[str]:
    """Return the public names, for completion."""
    return sorted({*globals(), *__all__})
