"""Analysis of recorded logs: what the service would have found, as tables, for notebooks and scripts.

The engine is that of the service; only what it finds is kept in another form. The names below are those of `detector` itself.

- `results`: `detector.replay` and what it returns, `detector.fit`
- `tables`: documents and traces as data frames
- `budget`: bars, labels, and how detections and false alarms move with the budget
- `told`: what a client was told, and how good a copy that makes
- `files`: configurations, baselines and pictures by name, and the tuned part of a configuration as TOML
- `simulation`: logs with thieves in them, to try it all on
"""

from detector.distribution import install

try:
    import pandas as pd  # noqa: F401  # asked for here, so that whoever lacks it is told what to do
except ImportError as error:
    raise ImportError(f"tables need pandas, which is not installed: {install('notebooks')}") from error

from detector.baseline.store import Baseline
from detector.config import Config
from detector.offline.analysis.budget import bars, read_labels, with_budget
from detector.offline.analysis.files import client_picture, load_baseline, load_config, save_baseline, write_config
from detector.offline.analysis.results import Results, fit, replay
from detector.offline.analysis.simulation import Simulation, simulate
from detector.offline.analysis.told import Told
from detector.offline.explain import Explanation

__all__ = [
    "Baseline",
    "Config",
    "Explanation",
    "Results",
    "Simulation",
    "Told",
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
