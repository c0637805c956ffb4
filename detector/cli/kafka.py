"""Commands for Kafka: topics, producing, dead letters."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from detector.cli.terminal import AsJson, ConfigFile, Logs, load_config, print_json, progress
from detector.console import Console, say
from detector.errors import ConfigError, SourceError
from detector.names import harmless_json

if TYPE_CHECKING:
    from detector.config import Config
    from detector.ingest.source import Position
    from detector.service.kafka.connection import Connection
    from detector.service.produce import Produced

NOT_KAFKA = "[kafka] bootstrap_servers is not set: name the broker there or in DETECTOR_KAFKA__BOOTSTRAP_SERVERS"

topics_app = typer.Typer(help="The service's topics in Kafka.", no_args_is_help=True)
dead_letters_app = typer.Typer(help="Dead letters: records that could not be used, kept in Kafka.", no_args_is_help=True)


def connection_of(settings: "Config") -> "Connection":
    """Return what connects to the configured broker; raises `ConfigError` where none is."""
    from detector.service.kafka.connection import Connection

    if not settings.kafka.bootstrap_servers:
        raise ConfigError(NOT_KAFKA)
    _quiet(settings)
    return Connection(settings.kafka)


def _quiet(settings: "Config") -> None:
    """Silence the Kafka client's log: we report its errors ourselves."""
    from detector.baseline.secret import known_seed
    from detector.service.telemetry import logs

    logs.configure("critical", seed=known_seed(settings) or 0, secrets=settings.kafka.secrets())


@topics_app.command("create")
def topics_create(
    config: ConfigFile = None,
    partitions: Annotated[
        int, typer.Option(min=1, max=10_000, help="of each topic: at least as many as the most workers you will run")
    ] = 6,
    replication: Annotated[
        int | None, typer.Option(min=1, max=10, help="copies of each record (default: 3, or as many as there are brokers)")
    ] = None,
    *,
    inputs: Annotated[bool, typer.Option("--inputs", help="also create the input topics, for trials")] = False,
) -> None:
    """Create missing topics, each with the settings it needs, and check existing ones."""
    from detector.service.kafka.provision import set_up
    from detector.service.kafka.topics import Topics

    settings = load_config(config)
    wanted = list(settings.kafka.input_topics) if inputs else []
    done = set_up(connection_of(settings), Topics.under(settings.kafka.prefix), wanted, partitions, replication)
    for name in done.created:
        say(f"created {name}")
    typer.echo(f"all topics exist: {done.partitions} partitions, so at most {done.partitions} workers are of use")


@topics_app.command("check")
def topics_check(config: ConfigFile = None) -> None:
    """Check that all topics exist and fit."""
    from detector.service.kafka.provision import check_all
    from detector.service.kafka.topics import Topics

    settings = load_config(config)
    count = check_all(connection_of(settings), Topics.under(settings.kafka.prefix), settings.kafka.input_topics)
    typer.echo(f"all topics exist: {count} partitions, so at most {count} workers are of use")


def produce(
    logs: Logs,
    topic: Annotated[str, typer.Option("--topic", metavar="TOPIC", help="topic to write to; it must exist")],
    config: ConfigFile = None,
    rate: Annotated[
        float | None, typer.Option("--rate", min=0.001, metavar="N", help="lines a second; default: no limit")
    ] = None,
    *,
    realtime: Annotated[bool, typer.Option("--realtime", help="keep the gaps between the events' own times")] = False,
    keyed: Annotated[bool, typer.Option("--keyed", help="use the client as the key of each record")] = False,
    as_json: AsJson = False,
) -> None:
    """Stream recorded logs into Kafka line by line, for trials and load tests."""
    from detector.service import produce as producing

    if rate is not None and realtime:
        raise ConfigError("--rate and --realtime exclude each other")
    settings = load_config(config)
    connection_of(settings)
    pace: producing.Pace = "realtime" if realtime else "fastest" if rate is None else float(rate)
    with progress("producing") as show:

        def tell(position: "Position", produced: "Produced") -> None:
            show(position, None, f"{produced.sent:,} lines, {produced.sent - produced.acknowledged:,} not acknowledged yet")

        done = producing.produce(logs, topic, settings, pace=pace, keyed=keyed, progress=tell)
    if as_json:
        print_json(
            {"lines": done.acknowledged, "bytes": done.bytes, "interrupted": done.interrupted, "problems": list(done.problems)}
        )
    else:
        say(producing.summary(done))
    if done.interrupted:
        raise KeyboardInterrupt
    if done.problems:
        raise SourceError("\n".join(done.problems))


@dead_letters_app.command("list")
def dead_letters_list(
    config: ConfigFile = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="at most so many, the latest ones")] = 20,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON Lines, with the records in base64")] = False,
) -> None:
    """Show the latest dead letters, the newest last."""
    from detector.service.dead_letters import records as dead_letters

    settings = load_config(config)
    connection_of(settings)
    found = dead_letters.latest(settings, limit)
    if as_json:
        for dead_letter in found:
            typer.echo(harmless_json(json.dumps(dead_letter.to_dict(), ensure_ascii=False)))
    elif found:
        Console().print(dead_letters.table(found))
    else:
        typer.echo("there are no dead letters")


@dead_letters_app.command("replay")
def dead_letters_replay(
    config: ConfigFile = None,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="R", help="only those with this reason; the others stay for later runs")
    ] = None,
    *,
    again: Annotated[bool, typer.Option("--all", help="from the beginning, including those sent before")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would be sent")] = False,
    as_json: AsJson = False,
) -> None:
    """Send the records of dead letters back to the topics they came from, with their former keys.

    Use it for records that were wrongly refused, after the cause is fixed. A record that is refused again becomes a new dead
    letter.

    A run continues where the last one ended, for each reason separately. The group <group_id>.dead-letters keeps the progress;
    its lag is what was never sent. Ctrl-C ends a run after the current batch. After a crash up to 500 records may be sent
    twice.
    """
    from detector.service.dead_letters import replay as dead_letters

    settings = load_config(config)
    connection_of(settings)
    with progress("sending back") as show:

        def tell(position: "Position", note: str) -> None:
            show(position, None, note)

        done = dead_letters.replay(settings, reason=reason, again=again, dry_run=dry_run, progress=tell)
    if as_json:
        print_json(done.to_dict())
    else:
        for line in dead_letters.summary(done, dry_run=dry_run):
            say(line)
    if done.interrupted:
        raise KeyboardInterrupt
