"""Catches model extraction from the prediction log, while the theft is still cheap to stop.

Over recorded logs, with tables as pandas data frames::

    import detector

    config = detector.load_config("detector.toml")
    baseline = detector.fit_baseline("history.jsonl.gz", config)
    results = detector.replay("log.jsonl", config, baseline=baseline)
    results.alerts

Over a stream of events, without Kafka::

    watching = detector.Detector(baseline, config)
    alerts, decisions = watching.observe(events)

Events of a table that you have, in pandas, polars, pyarrow or plain lists::

    events = detector.events_from(frame, ["amount", "age"], client="user", time="when", label="fraud", model="cards")

These names are the public interface, with `detector.offline.analysis` for what is behind results (thresholds, budgets,
responses, pictures, simulated logs), `detector.testing` for tests, and `detector.errors`. Names are imported when they are
first used, so ``import detector`` itself costs nothing. Tables need pandas (``pip install
'model-extraction-detector[notebooks]'``). See ``notebooks/`` for examples.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from detector.distribution import VERSION

if TYPE_CHECKING:
    from detector.baseline.store import Baseline
    from detector.config import Config
    from detector.offline.events import events_from
    from detector.offline.files import load_baseline, load_config, save_baseline
    from detector.offline.results import Results, fit_baseline, replay
    from detector.offline.stream import Detector

__version__ = VERSION

__all__ = [
    "Baseline",
    "Config",
    "Detector",
    "Results",
    "__version__",
    "events_from",
    "fit_baseline",
    "load_baseline",
    "load_config",
    "replay",
    "save_baseline",
]

_MODULES = {
    "Baseline": "baseline.store",
    "Config": "config",
    "Detector": "offline.stream",
    "Results": "offline.results",
    "events_from": "offline.events",
    "fit_baseline": "offline.results",
    "load_baseline": "offline.files",
    "load_config": "offline.files",
    "replay": "offline.results",
    "save_baseline": "offline.files",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """Return the public names, for completion."""
    return sorted({*globals(), *__all__})
