"""Replay: recorded logs through the engine of the service, results into a folder."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detector.clock import Clock, SystemClock
from detector.cohort import Observer
from detector.config import Config
from detector.engine import EngineSettings
from detector.errors import BaselineError, SourceError
from detector.ingest.assemble import Assembler
from detector.ingest.batch import Batch
from detector.ingest.lines import Chunk
from detector.ingest.source import Position, read_lines
from detector.models import baseline as baselines
from detector.models.baseline import Baseline
from detector.pipeline import NO_BASELINE, Counts, Pipeline, cut
from detector.sinks.folder import FolderSink

BATCH_SIZE = 1000

Progress = Callable[[Position, Counts], None]


@dataclass(frozen=True, slots=True)
class Replayed:
    """How a replay ended: its summary, and what could not be read to the end."""

    summary: dict[str, Any]
    problems: tuple[str, ...]


def load_baseline(config: Config, folder: Path | None = None) -> Baseline | None:
    """Return the baseline in `folder`, else the configured one, else None.

    Raises `BaselineError` when it cannot be used.
    """
    path = folder or config.baseline.path
    if path is None:
        return None
    baseline = baselines.load(path)
    for model, section in config.models.items():
        known = baseline.models.get(model)
        if known is not None and section.dimension not in {None, known.reference.dimension}:
            raise BaselineError(
                f"{path}: the baseline of model {model!r} takes inputs of {known.reference.dimension} values, "
                f"the configuration says {section.dimension}"
            )
    return baseline


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
) -> Replayed:
    """Run the engine over `logs`, one after the other, and write what it finds to the folder `out`.

    A log that turns out to be damaged is used as far as it can be read; the others follow, and `problems` says what happened.
    Raises `OutputError` when results cannot be written.
    """
    started = time.perf_counter()
    sink = FolderSink(out)
    problems: list[str] = []
    interrupted = False
    try:
        pipeline = Pipeline(config, baseline, sink, clock or SystemClock(), partitions=partitions, observer=observer)
        try:
            for log in logs:
                position = Position()
                try:
                    for chunk in read_lines(log, max_record_bytes=config.engine.max_record_bytes, position=position):
                        for piece in cut(chunk, batch_size):
                            pipeline.feed(piece)
                        if progress is not None:
                            progress(position, pipeline.counts)
                except SourceError as error:
                    problems.append(str(error))
        except KeyboardInterrupt:
            interrupted = True
            problems.append("interrupted: the results cover the log as far as it was read")
        unlearned = dict(pipeline.learning)
        pipeline.finish()
        counts = pipeline.counts
        summary = {
            "events": counts.events,
            "invalid": counts.invalid,
            "duplicates": counts.repeated,
            "clients": counts.clients,
            "alerts": counts.alerts,
            "decisions": counts.decisions,
            "seconds": round(time.perf_counter() - started, 3),
            "shadow": config.policy.shadow,
            "logs": [log if log == "-" else str(Path(log).absolute()) for log in logs],
            "partitions": partitions,
            "baseline": None if baseline is None else str((config.baseline.path or Path()).absolute()),
            "baseline_version": baseline.version if baseline else NO_BASELINE,
            "config_version": config.version,
            "learned_at_the_end": unlearned,
            "interrupted": interrupted,
            "problems": problems,
        }
        sink.summary(summary)
    finally:
        sink.close()
    return Replayed(summary, tuple(problems))


def read_batches(
    logs: Sequence[str], config: Config, clock: Clock | None = None, progress: Callable[[Position], None] | None = None
) -> Iterator[Batch]:
    """Yield the valid events of `logs` as batches, one model each; what is invalid is left out.

    Raises `SourceError` when a log cannot be read.
    """
    assembler = Assembler(
        clock or SystemClock(),
        max_skew_ms=int(config.engine.max_skew_minutes * 60_000),
        max_record_bytes=config.engine.max_record_bytes,
        dimensions=config.dimensions(),
    )
    sequence = 0
    for log in logs:
        position = Position()
        for chunk in read_lines(log, max_record_bytes=config.engine.max_record_bytes, position=position):
            batches, _ = assembler.assemble_chunk(chunk, first_sequence=sequence)
            sequence += len(chunk)
            yield from batches
            if progress is not None:
                progress(position)


def fit(logs: Sequence[str], config: Config, progress: Callable[[Position], None] | None = None) -> Baseline:
    """Fit a baseline on `logs`, which are read twice, so none may be standard input.

    Raises `BaselineError` and `SourceError`.
    """
    settings: EngineSettings = config.engine_settings()

    def read() -> Iterable[Batch]:
        return read_batches(logs, config, progress=progress)

    return baselines.fit_baseline(read, settings)


def follow(
    chunks: Iterable[Chunk], pipeline: Pipeline, sink: FolderSink | None, after: Callable[[Counts], None] | None = None
) -> None:
    """Feed a live stream to the pipeline, chunk by chunk, so that results are there as soon as their cause."""
    for chunk in chunks:
        for piece in cut(chunk, BATCH_SIZE):
            pipeline.feed(piece)
        if sink is not None:
            sink.flush()
        if after is not None:
            after(pipeline.counts)
