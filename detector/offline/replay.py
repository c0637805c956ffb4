"""Replay: recorded logs through the engine of the service, results into a folder."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from detector.baseline import store as baselines
from detector.baseline.secret import require, settings_for_fit, settings_of
from detector.baseline.store import NO_BASELINE, Baseline
from detector.clock import Clock, SystemClock
from detector.config import Config
from detector.engine.links.linker import Witness
from detector.engine.models.drift import Drift
from detector.engine.observer import Observer
from detector.engine.shard import Shard, drifts
from detector.errors import BaselineError, ConfigError, SourceError
from detector.ingest.assemble import Assembled, assembler_for
from detector.ingest.batch import Batch, usable
from detector.ingest.formats.decoder import Surroundings
from detector.ingest.formats.routing import NOBODY, decoder_of_files, encoder_for, schemas_for
from detector.ingest.learning import SchemaLearner
from detector.ingest.paths import expand
from detector.ingest.recorded import read, records_of
from detector.ingest.refusals import Refusals
from detector.ingest.remote import is_url
from detector.ingest.schema import InputSchema
from detector.ingest.source import Position
from detector.offline.pipeline import BATCH_SIZE, Counts, Pipeline, cut
from detector.sinks.folder import FolderSink

Progress = Callable[[Position, Counts], None]


@dataclass(frozen=True, slots=True)
class Replayed:
    """How a replay ended: its summary, what could not be read to the end or used at all, and what else was refused."""

    summary: dict[str, Any]
    problems: tuple[str, ...]
    refused: tuple[str, ...]


def load_baseline(config: Config) -> Baseline | None:
    """Return the configured baseline, or None where none is configured.

    Raises `BaselineError` when it cannot be used, and `ConfigError` when the seed is not its own, or there has to be one.
    """
    require(config)
    path = config.baseline.path
    if path is None:
        return None
    baseline = baselines.load(path, config.engine.secret())
    for model, section in config.models.items():
        known = baseline.models.get(model)
        if known is not None and section.dimension not in {None, known.reference.dimension}:
            raise BaselineError(
                f"{path}: the baseline of model {model!r} takes inputs of {known.reference.dimension} values, "
                f"the configuration says {section.dimension}"
            )
    return baseline


def summarise(
    counts: Counts,
    seconds: float | None,
    logs: Sequence[str],
    partitions: int,
    config: Config,
    baseline: Baseline | None,
) -> dict[str, Any]:
    """Return the summary of a run: what happened, and its origin, enough to run the same again."""
    folder = config.baseline.path if baseline is not None else None
    return {
        "events": counts.events,
        "invalid": counts.invalid,
        "reasons": counts.refusals.reasons,
        "duplicates": counts.repeated,
        "clients": counts.clients,
        "clients_holding": {f"{lead:g}": clients for lead, clients in counts.holders.items()},
        "alerts": counts.alerts,
        "decisions": counts.decisions,
        "campaigns": len(counts.campaigns),
        "campaigns_holding": {
            f"{least:g}": sum(lead >= least for lead in counts.campaigns.values()) for least in counts.holders
        },
        "organizations": len(counts.organizations),
        "organizations_holding": {
            f"{least:g}": sum(lead >= least for lead in counts.organizations.values()) for least in counts.holders
        },
        "seconds": None if seconds is None else round(seconds, 3),
        "shadow": config.policy.shadow,
        "logs": [log if log == "-" or is_url(log) else str(Path(log).absolute()) for log in logs],
        "partitions": partitions,
        "baseline": None if folder is None else str(folder.absolute()),
        "baseline_version": baseline.version if baseline else NO_BASELINE,
        "config_version": config.version,
    }


def replay(
    logs: Sequence[str],
    out: Path,
    config: Config,
    baseline: Baseline | None,
    *,
    batch_size: int = BATCH_SIZE,
    partitions: int = 1,
    clock: Clock | None = None,
    progress: Progress | None = None,
    observer: Observer | None = None,
    witness: Witness | None = None,
    watching: Surroundings = NOBODY,
) -> Replayed:
    """Run the engine over `logs`, merged by time, and write what it finds to the folder `out`.

    A log that turns out to be damaged is used as far as it can be read; the others go on, and `problems` says what happened.
    It also says so when no record could be used, or the log is newest first. `watching` is told what format the logs have.

    Raises `ConfigError` for a format that does not exist, `OutputError` when results cannot be written.
    """
    started = time.perf_counter()
    logs = expand(logs)
    # A format that does not exist is an error before earlier results are replaced.
    decoder = decoder_of_files(config, baseline.schemas if baseline else None, watching=watching)
    sink = FolderSink(out)
    problems: list[str] = []
    interrupted = False
    try:
        pipeline = Pipeline(
            config,
            baseline,
            sink,
            clock or SystemClock(),
            partitions=partitions,
            observer=observer,
            decoder=decoder,
            witness=witness,
        )
        try:
            position = Position()
            for chunk in read(logs, config, problems, position=position):
                for piece in cut(chunk, batch_size):
                    pipeline.feed(piece)
                if progress is not None:
                    progress(position, pipeline.counts)
        except KeyboardInterrupt:
            interrupted = True
            problems.append("interrupted: the results cover the log as far as it was read")
        unlearned = dict(pipeline.learning)
        pipeline.finish()
        counts = pipeline.counts
        if (verdict := counts.verdict) is not None:
            problems.append(verdict)
        summary = {
            **summarise(counts, time.perf_counter() - started, logs, partitions, config, baseline),
            "learned_at_the_end": unlearned,
            "drift": {model: drift.to_dict() for model, drift in pipeline.drift.items()},
            "interrupted": interrupted,
            "problems": problems,
        }
        sink.summary(summary)
    finally:
        sink.close()
    return Replayed(summary, tuple(problems), tuple(counts.refusals.tell(counts.records)))


@dataclass(slots=True)
class Read:
    """How much of logs was read as events, and what was refused."""

    events: int = 0
    refusals: Refusals = field(default_factory=Refusals)

    def note(self, assembled: Assembled) -> list[Batch]:
        """Take note of a stretch; return its valid events."""
        good = usable(assembled.batches)
        self.events += sum(map(len, good))
        self.refusals.note(assembled.rejections)
        self.refusals.pass_by(good)
        return good

    def tell(self) -> list[str]:
        """Say what was refused."""
        return self.refusals.tell(self.events + self.refusals.counts.total())


def read_batches(
    logs: Sequence[str],
    config: Config,
    clock: Clock | None = None,
    progress: Callable[[Position], None] | None = None,
    tally: Read | None = None,
    schemas: Mapping[str, InputSchema] | None = None,
    *,
    as_told: bool = False,
) -> Iterator[Batch]:
    """Yield the valid events of `logs`, merged by time, as batches, one model each; what is invalid is left out and in `tally`.

    `schemas` are the columns of inputs that the baseline knows. With `as_told` batches hold what clients were told, and not
    what the model said.

    Raises `SourceError` when a log cannot be read, or is newest first: after everything that could be read.
    """
    assembler = assembler_for(config, {}, clock or SystemClock(), decoder_of_files(config, schemas), as_told=as_told)
    tally = Read() if tally is None else tally
    problems: list[str] = []
    position = Position()
    sequence = 0
    for chunk in read(logs, config, problems, position=position):
        assembled = assembler.assemble_chunk(chunk, first_sequence=sequence)
        sequence += len(assembled.places)
        yield from tally.note(assembled)
        if progress is not None:
            progress(position)
    yield from tally.note(assembler.finish(first_sequence=sequence))
    if (backwards := tally.refusals.newest_first()) is not None:
        problems.append(backwards)
    if problems:
        raise SourceError("\n".join(problems))


def fit(
    logs: Sequence[str],
    config: Config,
    progress: Callable[[Position], None] | None = None,
    tally: Read | None = None,
    exclude: Collection[str] = (),
) -> Baseline:
    """Fit a baseline on `logs`, without the clients in `exclude`, under a new seed where none is configured.

    The logs are read three times, the first time for what inputs and answers consist of: none may be standard input.

    `tally` tells of one reading. Raises `BaselineError` and `SourceError`, and `ConfigError` for a client to exclude that is
    not in the logs: somebody who mistypes the name of a thief must not believe that the thief was left out.
    """
    from detector.baseline.fit import fit_baseline  # noqa: PLC0415  # a replay goes without scikit-learn's fitters

    schemas = learned_schemas(logs, config)
    settings = settings_for_fit(config, schemas)
    tallies = iter([] if tally is None else [tally])

    def read_again() -> Iterable[Batch]:
        missing = set(exclude)
        for batch in read_batches(logs, config, progress=progress, tally=next(tallies, None), schemas=schemas):
            missing.difference_update(batch.client)
            rows = np.array([i for i, client in enumerate(batch.client) if client not in exclude], np.intp)
            if len(rows):
                yield batch if len(rows) == len(batch) else batch.take(rows)
        if missing:
            raise ConfigError(f"--exclude: no client of the logs is called {min(missing)!r}")

    return fit_baseline(read_again, settings, schemas)


def learned_schemas(logs: Sequence[str], config: Config) -> dict[str, InputSchema]:
    """Return what inputs and answers of each model consist of, as most clients in `logs` send and get them.

    Models of plain vectors and classes are left out, and so is what cannot be read.
    """
    from detector.baseline.texts import with_reductions  # noqa: PLC0415  # a replay goes without scikit-learn's fitters

    encoder = encoder_for(config)
    named = (None, 0) if encoder is None else (encoder.name, encoder.dimension)
    learner = SchemaLearner(schemas_for(config), *named)
    decoder = decoder_of_files(config, learner=learner)
    for chunk in read(logs, config, []):
        for record in records_of(chunk):
            decoder.decode(record)
    plain = InputSchema()
    found = with_reductions(learner.schemas(), learner.texts())
    return {model: schema for model, schema in found.items() if schema != plain}


def drift_of(
    logs: Sequence[str],
    config: Config,
    baseline: Baseline,
    progress: Callable[[Position], None] | None = None,
    tally: Read | None = None,
) -> dict[str, Drift]:
    """Return how well the clients of `logs` fit the calibration, for each model of the baseline that is in them.

    Raises `SourceError` when a log cannot be read.
    """
    shard = Shard(settings_of(config, baseline), baseline.models)
    for batch in read_batches(logs, config, progress=progress, tally=tally, schemas=baseline.schemas):
        if batch.model in baseline.models:
            shard.process(batch)
    return drifts([shard])
