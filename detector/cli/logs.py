"""Commands over logs and streams: replay and run."""

import gc
import signal
import sys
import time
from enum import StrEnum
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from detector.cli.deliveries import deliver_results, receivers_of, start_delivery_log
from detector.cli.terminal import (
    EXAMPLES_OF_LOG,
    AsJson,
    BaselineDir,
    ConfigFile,
    LogFormat,
    Logs,
    errors,
    load_config,
    print_json,
    progress,
    require_logs,
    tell_refused,
    tell_set_up,
    tell_unmeasured,
    watching_formats,
)
from detector.console import JsonTerminal, say
from detector.errors import ConfigError, DeliveryError, SourceError

if TYPE_CHECKING:
    from detector.config import Config
    from detector.sinks.dispatch import Dispatch


class Part(StrEnum):
    """The stages of the service, as in `detector.service.worker.Stage`, which takes long to import."""

    ALL = "all"
    INGEST = "ingest"
    DETECT = "detect"
    LINK = "link"
    SHIP = "ship"


def replay(
    logs: Logs,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="folder for results; of an earlier run only manual decisions stay")
    ],
    config: ConfigFile = None,
    baseline: BaselineDir = None,
    log_format: LogFormat = None,
    batch_size: Annotated[int, typer.Option(min=1, help="lines processed at a time; does not change results")] = 1000,
    partitions: Annotated[int, typer.Option(min=1, max=1024, help="spread clients over this many shards, as Kafka would")] = 1,
    *,
    deliver: Annotated[
        bool, typer.Option("--deliver", help="then deliver the results to [elasticsearch] and every [[deliveries]]")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run the engine of the service over recorded logs."""
    from detector.offline.replay import load_baseline
    from detector.offline.replay import replay as run_replay

    settings = load_config(config, baseline, log_format)
    receivers = receivers_of(settings) if deliver else []
    if deliver and not receivers:
        raise ConfigError("--deliver: neither [elasticsearch] hosts nor [[deliveries]] is set: there is nowhere to deliver to")
    known = load_baseline(settings)
    require_logs(logs)  # before results of an earlier run are replaced
    tell_set_up(settings, known.version if known else None)
    tell_unmeasured(settings, known)
    gc.freeze()  # what is loaded now stays loaded, so the garbage collector can skip it
    with progress("replaying", engine=True) as show:
        done = run_replay(
            logs,
            out,
            settings,
            known,
            batch_size=batch_size,
            partitions=partitions,
            progress=show,
            watching=watching_formats(),
        )
    summary = done.summary
    for model, events in summary["learned_at_the_end"].items():
        errors.print(
            f"model {model!r} had only {events} events, fewer than the {settings.engine.learning_events} needed to learn it: "
            "its findings mean little"
        )
    for model, drift in summary["drift"].items():
        if not drift["fits"]:
            errors.print(
                f"model {model!r}: clients no longer match the baseline's; `baseline show --log` shows which features moved"
            )
    tell_refused(done.refused)
    undelivered: list[str] = []
    if deliver and not summary["interrupted"]:
        delivered = deliver_results(out, receivers, settings).deliveries
        undelivered = [each.tell(out) for each in delivered if not each.complete]
        summary = summary | {"deliveries": {each.name: each.to_dict() for each in delivered}}
        for each in delivered:
            errors.print(f"delivery {each.name!r}: {each.delivered:,} delivered, {each.repeated:,} were there already")
    if as_json:
        print_json(summary)
    else:
        say(
            f"{summary['events']:,} events of {summary['clients']:,} clients in {summary['seconds']:.1f} s: "
            f"{summary['alerts']:,} alerts, {summary['decisions']:,} decisions"
            f"{' (simulated)' if summary['shadow'] else ''}, {summary['invalid']:,} dead letters, "
            f"{summary['duplicates']:,} repeats; results in {out}"
        )
    if done.problems:
        raise SourceError("\n".join([*done.problems, *undelivered]))
    if undelivered:
        raise DeliveryError("\n".join(undelivered))


def run(
    logs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[LOG...]", help=f"{EXAMPLES_OF_LOG}; without any: Kafka if it is configured, else -"),
    ] = None,
    config: ConfigFile = None,
    baseline: BaselineDir = None,
    log_format: LogFormat = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="also write results to this folder")] = None,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="wait for more lines, as `tail -F` does (one plain file)")
    ] = False,
    stage: Annotated[Part | None, typer.Option("--stage", help="on Kafka: run only this stage (ship: deliveries)")] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=256, help="on Kafka: number of processes; use one per core")
    ] = None,
) -> None:
    """Watch a stream and write alerts and decisions as soon as they are made.

    With a LOG, or without Kafka in the configuration, they go to standard output as JSON Lines; client state is not saved.

    With [kafka] bootstrap_servers and no LOG this is the service: topics in, topics out, client state committed with the
    offsets, health and metrics as [service] says. SIGHUP reads [policy] again. Stop either with Ctrl-C or SIGTERM.
    """
    settings = load_config(config, baseline, log_format)
    if settings.kafka.bootstrap_servers and not logs:
        if follow or out is not None:
            raise ConfigError("--follow and --out are for logs; on Kafka results go to topics. Leave them out or name a LOG")
        from detector.offline.replay import load_baseline
        from detector.service.supervisor import serve
        from detector.service.worker import Stage

        tell_set_up(settings, None if settings.baseline.path is None else f"in {settings.baseline.path}")
        serve(
            settings,
            load_baseline,
            stage=Stage((stage or Part.ALL).value),
            workers=workers or 1,
            reread=partial(load_config, config, baseline, log_format),
        )
        return
    if stage is not None or workers is not None:
        raise ConfigError("--stage and --workers are for the service on Kafka: set [kafka] bootstrap_servers and name no LOG")
    _run_logs(logs or ["-"], settings, out, follow=follow)


def _close(dispatch: "Dispatch") -> list[str]:
    """Deliver what is queued; once interrupted, keep it instead."""
    try:
        return dispatch.close()
    except KeyboardInterrupt:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # what is left takes seconds, and must not be lost
        errors.print("not waiting for deliveries any longer")
        return dispatch.close(0.0)


def _run_logs(sources: list[str], settings: "Config", out: Path | None, *, follow: bool) -> None:
    from detector.clock import SystemClock
    from detector.ingest.formats.routing import decoder_of_files
    from detector.ingest.paths import expand
    from detector.ingest.recorded import read
    from detector.ingest.source import Position
    from detector.offline.pipeline import BATCH_SIZE, Pipeline, cut
    from detector.offline.replay import load_baseline, summarise
    from detector.sinks.dispatch import Dispatch
    from detector.sinks.folder import FolderSink
    from detector.sinks.stream import Both, StreamSink

    if follow and (len(sources) != 1 or sources == ["-"]):
        raise ConfigError("--follow takes exactly one file")
    ready = receivers_of(settings)
    known = load_baseline(settings)
    if not follow:
        sources = expand(sources)
        require_logs([source for source in sources if source != "-"])
    tell_set_up(settings, known.version if known else None)
    tell_unmeasured(settings, known)
    folder = FolderSink(out) if out is not None else None  # only now: it replaces the results of an earlier run
    printer = StreamSink(JsonTerminal(sys.stdout.buffer))
    stopping = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        if stopping:  # asked twice: at once
            raise KeyboardInterrupt
        stopping = True
        if not follow:
            raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if ready:
        start_delivery_log(settings)
    kept = Both(printer, folder) if folder else printer
    dispatch = Dispatch(ready, out or Path())
    reader = decoder_of_files(settings, known.schemas if known else None, watching=watching_formats())
    pipeline = Pipeline(settings, known, Both(kept, dispatch), SystemClock(), decoder=reader)
    gc.freeze()
    started = time.perf_counter()
    problems: list[str] = []
    try:
        try:
            with progress("watching", engine=True, plainly=True) as show:
                position = Position()
                for chunk in read(sources, settings, problems, follow=follow, stop=lambda: stopping, position=position):
                    for piece in cut(chunk, BATCH_SIZE):
                        pipeline.feed(piece)
                    if folder is not None:
                        folder.flush()
                    show(position, pipeline.counts)
        except KeyboardInterrupt:
            errors.print("stopping")
        pipeline.finish()
        if folder is not None:
            folder.summary(summarise(pipeline.counts, time.perf_counter() - started, sources, 1, settings, known))
    finally:
        undelivered = _close(dispatch)
        if folder is not None:
            folder.close()
    counts = pipeline.counts
    tell_refused(counts.refusals.tell(counts.records))
    if (verdict := counts.verdict) is not None:
        problems.append(verdict)
    errors.print(
        f"{counts.events:,} events, {counts.alerts:,} alerts, {counts.decisions:,} decisions, {counts.invalid:,} dead letters"
        f"{'' if folder else ' (not kept: no --out)'}"
    )
    if problems:
        raise SourceError("\n".join([*problems, *undelivered]))
    if undelivered:
        raise DeliveryError("\n".join(undelivered))
