"""Analysis of recorded logs: what is behind the results of `detector.replay`, as tables, for notebooks.

::

    import detector
    from detector.offline import analysis

    results = detector.replay("log.jsonl", "detector.toml")
    analysis.thresholds(results.baseline, results.config)

- `tables`: documents and traces as data frames
- `budget`: thresholds, labels, and how detections and false alarms move with the budget
- `responses`: the responses that a client received, and how good a copy they make
- `files`: pictures by name, and the tuned part of a configuration as TOML
- `own`: the logs that a notebook is about, one's own or simulated ones
- `simulation`: logs with thieves in them, to try it all on

All of it needs pandas.
"""

from detector.distribution import install

try:
    import pandas as pd  # noqa: F401  # imported here, so that the message says what to install
except ImportError as error:
    raise ImportError(f"tables need pandas, which is not installed: {install('notebooks')}") from error

from detector.offline.analysis.budget import read_labels, thresholds, with_budget
from detector.offline.analysis.files import client_picture, write_config
from detector.offline.analysis.own import Logs, open_logs
from detector.offline.analysis.responses import Responses
from detector.offline.analysis.simulation import Simulation, simulate
from detector.offline.explain import Explanation

__all__ = [
    "Explanation",
    "Logs",
    "Responses",
    "Simulation",
    "client_picture",
    "open_logs",
    "read_labels",
    "simulate",
    "thresholds",
    "with_budget",
    "write_config",
]
