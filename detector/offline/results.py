"""Results: a log through the engine of the service, and what came of it as tables.

Tables and what is computed of them are `analysis`, which needs pandas; it is imported when the first of them is asked for.
"""

import shutil
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from detector.baseline.settings import engine_settings
from detector.baseline.store import Baseline
from detector.config import Config
from detector.errors import SourceError
from detector.ingest.paths import expand
from detector.ingest.remote import is_url
from detector.ingest.source import STDIN, Position
from detector.names import printable
from detector.offline.explain import Explanation
from detector.offline.explain.remarks import warnings_about
from detector.offline.explain.rerun import describe
from detector.offline.explain.results import decisions_of, find_client, logs_of, read_lines
from detector.offline.files import load_config, set_up
from detector.offline.replay import Progress
from detector.offline.replay import fit as fit_logs
from detector.offline.replay import replay as replay_into
from detector.offline.trace import Trace, Tracer

if TYPE_CHECKING:
    import pandas as pd

    from detector.offline.analysis.responses import Responses

__all__ = ["Log", "Results", "fit_baseline", "replay"]

Log = str | Path | Sequence[str | Path]


@dataclass(frozen=True, eq=False)
class Results:
    """What a replay found: tables, and the questions that need no second run.

    `folder` holds the files that ``detector replay`` writes; unless one was asked for it goes with the results. `summary` is
    what ``summary.json`` says, `problems` are sentences about logs that could not be read to their end. Tables are made when
    they are first read. `queries` and `evaluations` hold the traced clients, which are all unless some were named.
    """

    config: Config
    baseline: Baseline | None
    folder: Path
    summary: Mapping[str, Any]
    problems: tuple[str, ...]
    tracer: Tracer

    def __repr__(self) -> str:
        """Say in a line what happened."""
        said = ", ".join(f"{self.summary[name]:,} {name}" for name in ("events", "clients", "alerts", "decisions", "invalid"))
        return f"<Results: {said}>"

    @cached_property
    def alerts(self) -> "pd.DataFrame":
        """One row an alert; see `analysis.tables.alerts`."""
        from detector.offline.analysis import tables

        return tables.alerts(read_lines(self.folder / "alerts.jsonl"))

    @cached_property
    def decisions(self) -> "pd.DataFrame":
        """One row a decision, simulated ones as well; see `analysis.tables.decisions`."""
        from detector.offline.analysis import tables

        return tables.decisions(read_lines(self.folder / "decisions.jsonl"), self.alerts)

    @cached_property
    def clients(self) -> "pd.DataFrame":
        """One row a client and model, its level and highest evidence; see `analysis.tables.clients`."""
        from detector.offline.analysis import tables

        return tables.clients(read_lines(self.folder / "clients.jsonl"))

    @cached_property
    def dead_letters(self) -> "pd.DataFrame":
        """One row a record that could not be used; see `analysis.tables.dead_letters`."""
        from detector.offline.analysis import tables

        return tables.dead_letters(read_lines(self.folder / "dead-letters.jsonl"))

    @cached_property
    def queries(self) -> "pd.DataFrame":
        """One row a query: the count so far and the evidence so far; see `analysis.tables.queries`."""
        from detector.offline.analysis import tables

        return tables.queries(self._traces(None))

    @cached_property
    def evaluations(self) -> "pd.DataFrame":
        """One row a scheduled evaluation: novelty and all features; see `analysis.tables.evaluations`."""
        from detector.offline.analysis import tables

        return tables.evaluations(self._traces(None))

    def reached(self, config: Config | None = None) -> "pd.DataFrame":
        """Return how far each traced client went, or would have gone under another policy, without a second replay.

        `config` says which policy, for which only ``[policy]`` is read. See `analysis.budget` for what is the same as
        in a second replay and what is not.
        """
        from detector.offline.analysis import budget

        return budget.reached(self._traces(config))

    def trade_off(self, labels: Mapping[str, bool], configs: Iterable[Config]) -> "pd.DataFrame":
        """Return detections against false alarms: one row for each of `configs`, see `analysis.budget.trade_off`.

        `labels` maps a client to whether it is a thief, as `analysis.read_labels` returns it; others are left out.
        """
        from detector.offline.analysis import budget

        return budget.trade_off([(config, self.reached(config)) for config in configs], labels)

    def trace(self, client: str, model: str | None = None) -> Trace:
        """Return what the engine saw of a client, query by query.

        `model` may be left out if the client used one only. Raises `SourceError` when the client is not there, was not traced,
        or the model must be named.
        """
        return self._found(client, model)[0]

    def explain(self, client: str, model: str | None = None) -> Explanation:
        """Explain why a client was acted on, or why not, as ``detector explain`` does; raises as `trace`.

        `analysis.client_picture` draws it.
        """
        trace, recorded = self._found(client, model)
        return describe(
            self.tracer,
            trace,
            level=str(recorded["level"]),
            decisions=decisions_of(self.folder, client, trace.model, self.tracer.end_ms),
            warnings=warnings_about(
                self.summary, self.config, self.baseline, trace.model, recorded, recorded, self.problems, trace
            ),
            config=self.config,
            baseline=self.baseline,
        )

    def responses(self, client: str, model: str | None = None) -> "Responses":
        """Read a client's queries and responses again; raises as `trace`, and when the log is gone or has changed."""
        from detector.offline.analysis.responses import read_responses

        trace = self.trace(client, model)
        own = self.clients[self.clients["model"] == trace.model]
        innocent = set(own.loc[own["level"] == "allow", "client"]) - {client}
        schemas = self.baseline.schemas if self.baseline else None
        return read_responses(logs_of(self.summary, self.folder), trace, innocent, self.config, schemas)

    def _traces(self, config: Config | None) -> list[Trace]:
        policy = None if config is None else engine_settings(config).policy
        return [self.tracer.trace(client, model, policy=policy) for client, model in self.tracer.traced]

    def _found(self, client: str, model: str | None) -> tuple[Trace, dict[str, Any]]:
        model, recorded = find_client(client, model, self.folder)
        try:
            return self.tracer.trace(client, model), recorded
        except KeyError:
            raise SourceError(f"client {printable(client)!r} was not traced: name it in `clients`, or none at all") from None


def replay(
    log: Log,
    config: Config | str | Path | None = None,
    *,
    baseline: Baseline | str | Path | None = None,
    clients: Collection[str] | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> Results:
    r"""Run the engine of the service over recorded logs, merged by time, and return what it finds.

    `log` is what ``detector replay`` takes: files, folders, patterns or URLs, compressed or not, in the format that `config`
    says (``[ingest] format``; ``auto`` recognises it). `config` and `baseline` may
    be given by name; without a baseline the one that the configuration names is used, and without any each model is learned
    from its first events. `clients` are those to trace, all by default: a trace takes memory for each query. `out` is the
    folder that the files of ``detector replay`` are kept in.

    It is for logs that are complete: for events as they come, see `detector.Detector`.

    Raises `SourceError` for a log that is not there, `ConfigError`, `BaselineError` and `OutputError`. A log that is damaged is
    used as far as it can be read; ``results.problems`` then says so.

    >>> from tempfile import TemporaryDirectory
    >>> from detector.testing import traffic
    >>> with TemporaryDirectory() as folder:
    ...     log = Path(folder, "log.jsonl")
    ...     _ = log.write_bytes(b"\n".join(traffic(queries=200)))
    ...     results = replay(log)
    >>> results
    <Results: 1,000 events, 5 clients, 6 alerts, 2 decisions, 0 invalid>
    """
    settings, known = set_up(config, baseline)
    tracer = Tracer(known.models if known else {}, engine_settings(settings).policy, clients)
    folder = Path(mkdtemp(prefix="detector-")) if out is None else Path(out)
    try:
        done = replay_into(_named(log), folder, settings, known, progress=progress, observer=tracer)
    except BaseException:
        if out is None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    results = Results(settings, known, folder, done.summary, done.problems, tracer)
    if out is None:
        weakref.finalize(results, shutil.rmtree, folder, ignore_errors=True)
    return results


def fit_baseline(
    log: Log, config: Config | str | Path | None = None, *, progress: Callable[[Position], None] | None = None
) -> Baseline:
    """Learn how benign traffic behaves, and how far its evidence goes, from a log that is believed to be benign.

    The log is read three times. Everybody in it is taken for benign: check
    ``notes[model]["clients_with_most_evidence"]`` before trusting it. `detector.save_baseline` keeps it.

    Raises `BaselineError` when there are too few clients to learn from, `SourceError` when the log cannot be read.
    """
    settings = config if isinstance(config, Config) else load_config(config)
    return fit_logs(_named(log), settings, progress)


def _named(log: Log) -> list[str]:
    names = [str(log)] if isinstance(log, str | Path) else [str(entry) for entry in log]
    if STDIN in names:
        raise SourceError("-: a log that is read again cannot come from standard input: name a file")
    files = expand(names)
    for name in files:
        if not is_url(name) and not Path(name).exists():
            raise SourceError(f"{name}: no such file")
    return files
