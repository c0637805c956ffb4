"""The command line.

Exit status 0: done. 2: a usage or configuration error. 1: anything else that stopped the work. Messages and progress go to
standard error, so standard output can be piped; progress shows on a terminal only.
"""

import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from detector.errors import ConfigError, DetectorError, SourceError

if TYPE_CHECKING:
    from detector.config import Config
    from detector.ingest.source import Position
    from detector.pipeline import Counts, Pipeline
    from detector.service.connection import Connection
    from detector.service.produce import Produced
    from detector.sinks.folder import FolderSink

STOPPED, MISUSED = 1, 2
NOT_KAFKA = "[kafka] bootstrap_servers is not set: name the broker there or in DETECTOR_KAFKA__BOOTSTRAP_SERVERS"
EXAMPLES_OF_LOG = "JSON Lines, plain, gzip or zstd; - for standard input"


class Part(StrEnum):
    """The parts of the service; see `detector.service.worker.Stage`, which takes long to import."""

    ALL = "all"
    INGEST = "ingest"
    DETECT = "detect"


app = typer.Typer(
    name="detector",
    help="Catches model extraction from the prediction log, while the theft is still cheap to stop.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
topics_app = typer.Typer(help="The service's topics in Kafka.", no_args_is_help=True)
dead_letters_app = typer.Typer(help="Records that could not be used, kept in Kafka.", no_args_is_help=True)
baseline_app = typer.Typer(help="What benign traffic looks like, and the calibration of the bars.", no_args_is_help=True)
schema_app = typer.Typer(help="The contracts as JSON Schema.", no_args_is_help=True)
config_app = typer.Typer(help="The configuration.", no_args_is_help=True)
app.add_typer(baseline_app, name="baseline")
app.add_typer(schema_app, name="schema")
app.add_typer(config_app, name="config")
app.add_typer(topics_app, name="topics")
app.add_typer(dead_letters_app, name="dead-letters")

Logs = Annotated[list[str], typer.Argument(metavar="LOG...", help=EXAMPLES_OF_LOG)]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="configuration (TOML); see `detector config check`")
]
BaselineDir = Annotated[
    Path | None, typer.Option("--baseline", metavar="DIR", help="baseline to use instead of the configured one")
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON for scripts")]

errors = Console(stderr=True, highlight=False)


def main() -> None:
    """Run the command line and turn errors into messages and exit statuses."""
    # Matrices are small here and one process has one core: threads of the linear algebra would only wait for each other.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        app()
    except ConfigError as error:
        _complain(error)
        sys.exit(MISUSED)
    except DetectorError as error:
        _complain(error)
        sys.exit(STOPPED)
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does; nothing more can be said to it.
        sys.stderr.close()
        sys.exit(STOPPED)
    except KeyboardInterrupt:
        errors.print("interrupted")
        sys.exit(130)


def _complain(error: DetectorError) -> None:
    for line in str(error).splitlines():
        errors.print(f"detector: {line}", markup=False, soft_wrap=True)


def _load(config: Path | None, baseline: Path | None = None) -> "Config":
    from detector.config import load

    return load(config).with_baseline(baseline)


def _print_json(content: Any) -> None:
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))


@contextmanager
def _progress(what: str) -> "Iterator[Callable[..., None]]":
    """Show how far a log is read, on a terminal; do nothing in a pipe."""
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    ) as bar:
        task = bar.add_task(what, total=None, note="")

        def show(position: "Position", counts: "Counts | None" = None, note: str | None = None) -> None:
            note = note or f"{position.consumed / 1e6:,.1f} MB"
            if counts is not None:
                note = f"{counts.events:,} events, {counts.alerts:,} alerts, {counts.decisions:,} decisions"
            bar.update(task, total=position.total, completed=position.consumed, note=note)

        yield show


def _mode(config: "Config") -> str:
    return "shadow mode: decisions are simulated" if config.policy.shadow else "decisions are meant: gateways will obey them"


def _tell_set_up(config: "Config", baseline_version: str | None) -> None:
    known = (
        f"baseline {baseline_version}" if baseline_version else "no baseline: learning each model from its first events first"
    )
    errors.print(f"{_mode(config)}; {known}; configuration {config.version}", soft_wrap=True)


@app.command()
def version() -> None:
    """Print the version."""
    from importlib.metadata import version as installed

    typer.echo(f"detector {installed('detector')}")


@app.command()
def replay(
    logs: Logs,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="where results go; those of an earlier run are replaced")],
    config: ConfigFile = None,
    baseline: BaselineDir = None,
    batch_size: Annotated[int, typer.Option(min=1, help="most lines processed at once; does not change results")] = 1000,
    partitions: Annotated[int, typer.Option(min=1, max=1024, help="deal clients to this many shards, as Kafka would")] = 1,
    *,
    as_json: AsJson = False,
) -> None:
    """Run the engine of the service over recorded logs."""
    from detector.replay import load_baseline
    from detector.replay import replay as run_replay

    settings = _load(config, baseline)
    known = load_baseline(settings)
    missing = [log for log in logs if log != "-" and not Path(log).exists()]
    if missing:
        raise SourceError("\n".join(f"{log}: no such file" for log in missing))
    _tell_set_up(settings, known.version if known else None)
    gc.freeze()  # what is loaded by now stays; the collector need not walk it again
    with _progress("replaying") as show:
        done = run_replay(logs, out, settings, known, batch_size=batch_size, partitions=partitions, progress=show)
    summary = done.summary
    for model, events in summary["learned_at_the_end"].items():
        errors.print(
            f"model {model!r} had only {events} events, fewer than the {settings.engine.learning_events} to learn it from: "
            "what was found of it says little"
        )
    if as_json:
        _print_json(summary)
    else:
        typer.echo(
            f"{summary['events']:,} events of {summary['clients']:,} clients in {summary['seconds']:.1f} s: "
            f"{summary['alerts']:,} alerts, {summary['decisions']:,} decisions"
            f"{' (simulated)' if summary['shadow'] else ''}, {summary['invalid']:,} dead letters, "
            f"{summary['duplicates']:,} repeats; results in {out}"
        )
    if done.problems:
        raise SourceError("\n".join(done.problems))


@app.command()
def run(
    logs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[LOG...]", help=f"{EXAMPLES_OF_LOG}; without any: Kafka if it is configured, else -"),
    ] = None,
    config: ConfigFile = None,
    baseline: BaselineDir = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="also write results to this folder")] = None,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="wait for more lines, as `tail -F` does (one plain file)")
    ] = False,
    stage: Annotated[Part | None, typer.Option("--stage", help="on Kafka: which part of the service this is")] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=256, help="on Kafka: processes; one per core is right")
    ] = None,
) -> None:
    """Watch a stream: alerts and decisions as soon as they are made.

    With a LOG, or without Kafka in the configuration, they go to standard output as JSON Lines, and client state is not kept.

    With [kafka] bootstrap_servers and no LOG this is the service: topics in, topics out, client state committed with the
    offsets, health and metrics as [service] says. Stop either with Ctrl-C or SIGTERM.
    """
    settings = _load(config, baseline)
    if settings.kafka.bootstrap_servers and not logs:
        if follow or out is not None:
            raise ConfigError(
                "--follow and --out are for logs, and on Kafka results go to topics: leave them out or name a LOG"
            )
        from detector.replay import load_baseline
        from detector.service.supervisor import serve
        from detector.service.worker import Stage

        _tell_set_up(settings, None if settings.baseline.path is None else f"in {settings.baseline.path}")
        serve(settings, load_baseline, stage=Stage((stage or Part.ALL).value), workers=workers or 1)
        return
    if stage is not None or workers is not None:
        raise ConfigError("--stage and --workers are for the service on Kafka: set [kafka] bootstrap_servers and name no LOG")
    _run_logs(logs or ["-"], settings, out, follow=follow)


def _run_logs(sources: list[str], settings: "Config", out: Path | None, *, follow: bool) -> None:
    from detector.clock import SystemClock
    from detector.pipeline import Pipeline
    from detector.replay import load_baseline, summarise
    from detector.sinks.folder import FolderSink
    from detector.sinks.stream import Both, StreamSink

    if follow and (len(sources) != 1 or sources == ["-"]):
        raise ConfigError("--follow takes exactly one file")
    known = load_baseline(settings)
    _tell_set_up(settings, known.version if known else None)
    folder = FolderSink(out) if out is not None else None
    printer = StreamSink(sys.stdout.buffer)
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
    pipeline = Pipeline(settings, known, Both(printer, folder) if folder else printer, SystemClock())
    gc.freeze()
    started = time.perf_counter()
    problems: list[str] = []
    try:
        try:
            with _progress("watching") as show:
                for source in sources:
                    problems += _watch(source, pipeline, settings, folder, show, stop=lambda: stopping, follow=follow)
        except KeyboardInterrupt:
            errors.print("stopping")
        pipeline.finish()
        if folder is not None:
            folder.summary(summarise(pipeline.counts, time.perf_counter() - started, sources, 1, settings, known))
    finally:
        if folder is not None:
            folder.close()
    counts = pipeline.counts
    errors.print(
        f"{counts.events:,} events, {counts.alerts:,} alerts, {counts.decisions:,} decisions, {counts.invalid:,} dead letters"
        f"{'' if folder else ' (not kept: no --out)'}"
    )
    if problems:
        raise SourceError("\n".join(problems))


def _watch(
    source: str,
    pipeline: "Pipeline",
    settings: "Config",
    folder: "FolderSink | None",
    show: "Callable[[Position, Counts | None], None]",
    *,
    stop: Callable[[], bool],
    follow: bool,
) -> list[str]:
    """Feed one source to the pipeline as it arrives; return what could not be read."""
    from detector.ingest.source import Position, read_lines
    from detector.pipeline import BATCH_SIZE, cut

    position = Position()
    limit = settings.engine.max_record_bytes
    try:
        for chunk in read_lines(source, max_record_bytes=limit, follow=follow, stop=stop, position=position):
            for piece in cut(chunk, BATCH_SIZE):
                pipeline.feed(piece)
            if folder is not None:
                folder.flush()
            show(position, pipeline.counts)
    except SourceError as error:
        return [str(error)]
    return []


@baseline_app.command("fit")
def baseline_fit(
    logs: Logs,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="where the baseline goes")],
    config: ConfigFile = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Learn the benign reference and its calibration from logs of traffic that is believed to be benign."""
    from detector import replay as replaying
    from detector.models.baseline import save

    if "-" in logs:
        raise ConfigError("a baseline is fitted in two passes over the log, so it cannot come from standard input")
    settings = _load(config)
    with _progress("fitting") as show:
        fitted = replaying.fit(logs, settings, progress=lambda position: show(position, None))
    save(fitted, out)
    _show_baseline(out, as_json=as_json)


@baseline_app.command("show")
def baseline_show(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="folder of a baseline")],
    config: ConfigFile = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Tell what a baseline holds, and which bars follow from it under the configured budgets."""
    _show_baseline(folder, config, as_json=as_json)


def _show_baseline(folder: Path, config: Path | None = None, *, as_json: bool) -> None:
    from detector.baseline_report import report, tell

    settings = _load(config, folder)
    content = report(folder, settings)
    if as_json:
        _print_json(content)
    else:
        Console(highlight=False).print(tell(content))


@app.command()
def explain(
    client: Annotated[str, typer.Argument(help="the client's id")],
    model: Annotated[str | None, typer.Option("--model", help="which model, if the client uses several")] = None,
    results: Annotated[Path, typer.Option("--from", metavar="DIR", help="results of `replay`, `run --out` or `demo`")] = Path(
        "detector-demo"
    ),
    config: ConfigFile = None,
    baseline: BaselineDir = None,
    picture: Annotated[Path | None, typer.Option("--picture", metavar="FILE", help="where the picture goes (PNG)")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Tell why a client was alerted on, throttled or stopped, in words, numbers and a picture."""
    from detector.explain import explain as explain_client
    from detector.explain import tell, to_dict
    from detector.pictures import client_picture
    from detector.replay import load_baseline

    beside = results / "detector.toml"
    settings = _load(config if config is not None or not beside.exists() else beside, baseline)
    if settings.baseline.path is None:
        settings = settings.with_baseline(_recorded_baseline(results))
    with _progress("replaying the log") as show:
        found = explain_client(client, model, results, settings, load_baseline(settings), progress=show)
    target = picture or results / f"{_file_name(client)}.png"
    client_picture(found, target)
    if as_json:
        _print_json({**to_dict(found), "picture": str(target)})
    else:
        Console(highlight=False).print(tell(found))
        typer.echo(f"picture: {target}")


def _recorded_baseline(results: Path) -> Path | None:
    """Return the baseline that a run's summary names."""
    try:
        recorded = json.loads((results / "summary.json").read_bytes()).get("baseline")
    except (OSError, ValueError, AttributeError):
        return None
    return Path(recorded) if isinstance(recorded, str) else None


def _file_name(client: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in client)[:100]


@schema_app.command("export")
def schema_export(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="where the schema files go")] = Path("schemas"),
) -> None:
    """Write the JSON Schema of every contract."""
    from detector.contracts.schema import export

    for path in export(out):
        typer.echo(str(path))


@config_app.command("check")
def config_check(config: ConfigFile = None, *, as_json: AsJson = False) -> None:
    """Check the configuration and print what results from file, environment and defaults; secrets are not shown."""
    from detector.replay import load_baseline

    settings = _load(config)
    content = settings.shown()
    if as_json:
        _print_json(content)
    else:
        for section, values in content.items():
            typer.echo(f"[{section}]")
            for key, value in values.items():
                typer.echo(f"{key} = {json.dumps(value)}")
            typer.echo("")
    known = load_baseline(settings)
    _tell_set_up(settings, known.version if known else None)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="where everything goes")] = Path("detector-demo"),
    *,
    kafka: Annotated[
        bool, typer.Option("--kafka", help="the same log through the service on a real broker, started here")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Watch a model theft being caught, on this machine, with nothing else installed."""
    if kafka:
        from detector.demo.kafka import show as show_kafka

        show_kafka(out, errors, as_json=as_json)
        return
    from detector.demo.show import show

    show(out, errors, as_json=as_json)


def _connection(settings: "Config") -> "Connection":
    from detector.service.connection import Connection

    if not settings.kafka.bootstrap_servers:
        raise ConfigError(NOT_KAFKA)
    _quiet(settings)
    return Connection(settings.kafka)


def _quiet(settings: "Config") -> None:
    """Leave of the Kafka client's log what matters: a failure gets its sentence from us."""
    from detector.service import logs

    logs.configure("critical", seed=settings.engine.seed, secrets=[settings.kafka.secret()])


@topics_app.command("create")
def topics_create(
    config: ConfigFile = None,
    partitions: Annotated[
        int, typer.Option(min=1, max=10_000, help="of queries, state and the others: at least as many as workers to come")
    ] = 6,
    replication: Annotated[
        int | None, typer.Option(min=1, max=10, help="copies of each record (default: 3, or as many as there are brokers)")
    ] = None,
    *,
    inputs: Annotated[bool, typer.Option("--inputs", help="the input topics, too, for trials")] = False,
) -> None:
    """Create the topics that are missing, each with the settings it needs, and check those that exist."""
    from detector.service.provision import set_up
    from detector.service.topics import Topics

    settings = _load(config)
    wanted = list(settings.kafka.input_topics) if inputs else []
    done = set_up(_connection(settings), Topics.under(settings.kafka.prefix), wanted, partitions, replication)
    for name in done.created:
        typer.echo(f"created {name}")
    typer.echo(f"all there: {done.partitions} partitions, so at most {done.partitions} workers have work")


@topics_app.command("check")
def topics_check(config: ConfigFile = None) -> None:
    """Check that all topics are there and fit."""
    from detector.service.provision import check_all
    from detector.service.topics import Topics

    settings = _load(config)
    count = check_all(_connection(settings), Topics.under(settings.kafka.prefix), settings.kafka.input_topics)
    typer.echo(f"all there: {count} partitions, so at most {count} workers have work")


@app.command()
def produce(
    logs: Logs,
    topic: Annotated[str, typer.Option("--topic", metavar="TOPIC", help="where the lines go; it must exist")],
    config: ConfigFile = None,
    rate: Annotated[
        float | None, typer.Option("--rate", min=0.001, metavar="N", help="lines a second; default: no limit")
    ] = None,
    *,
    realtime: Annotated[bool, typer.Option("--realtime", help="keep the gaps between the events' own times")] = False,
    keyed: Annotated[bool, typer.Option("--keyed", help="the key of each record is its client")] = False,
    as_json: AsJson = False,
) -> None:
    """Stream recorded logs into Kafka line by line, for trials and load tests."""
    from detector.service import produce as producing

    if rate is not None and realtime:
        raise ConfigError("--rate and --realtime exclude each other")
    settings = _load(config)
    _connection(settings)
    pace: producing.Pace = "realtime" if realtime else "fastest" if rate is None else float(rate)
    with _progress("producing") as show:

        def tell(position: "Position", produced: "Produced") -> None:
            show(position, None, f"{produced.sent:,} lines, {produced.sent - produced.acknowledged:,} on their way")

        done = producing.produce(logs, topic, settings, pace=pace, keyed=keyed, progress=tell)
    if as_json:
        _print_json(
            {"lines": done.acknowledged, "bytes": done.bytes, "interrupted": done.interrupted, "problems": list(done.problems)}
        )
    else:
        typer.echo(producing.told(done))
    if done.interrupted:
        raise KeyboardInterrupt
    if done.problems:
        raise SourceError("\n".join(done.problems))


@dead_letters_app.command("list")
def dead_letters_list(
    config: ConfigFile = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="the latest so many")] = 20,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="JSON Lines, with the records themselves in base64")] = False,
) -> None:
    """Show the latest dead letters, the newest last."""
    from detector.service import dead_letters

    settings = _load(config)
    _connection(settings)
    letters = dead_letters.latest(settings, limit)
    if as_json:
        for letter in letters:
            typer.echo(json.dumps(letter.to_dict(), ensure_ascii=False))
    elif letters:
        Console(highlight=False).print(dead_letters.table(letters))
    else:
        typer.echo("there are no dead letters")


@dead_letters_app.command("replay")
def dead_letters_replay(
    config: ConfigFile = None,
    reason: Annotated[str | None, typer.Option("--reason", metavar="R", help="only those with this reason")] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would be sent")] = False,
    as_json: AsJson = False,
) -> None:
    """Send the records of dead letters back to the topics they came from, each distinct one once.

    For records that were refused wrongly, after the cause is mended. What is refused again is a dead letter again.
    """
    from detector.service import dead_letters

    settings = _load(config)
    _connection(settings)
    done = dead_letters.replay(settings, reason=reason, dry_run=dry_run)
    if as_json:
        _print_json(done.to_dict())
        return
    for line in dead_letters.told(done, dry_run=dry_run):
        typer.echo(line)


if __name__ == "__main__":
    main()
