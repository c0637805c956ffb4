"""Commands for Elasticsearch and Kibana: install templates and dashboards, and deliver the results of a replay."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from detector.cli.deliveries import deliver_results
from detector.cli.terminal import AsJson, ConfigFile, errors, load_config, print_json
from detector.console import say
from detector.errors import DeliveryError

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from detector.config import Config

siem_app = typer.Typer(help="Alerts and decisions in Elasticsearch and Kibana.", no_args_is_help=True)


def _client(settings: "Config") -> "Elasticsearch":
    import logging

    from detector.sinks.elastic.connection import connect

    for name in ("elastic_transport", "elasticsearch"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # we report these errors ourselves
    return connect(settings.elasticsearch)


@siem_app.command("install")
def siem_install(
    config: ConfigFile = None,
    kibana: Annotated[
        str | None, typer.Option("--kibana", metavar="URL", help="also dashboards and a detection rule, into this Kibana")
    ] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would change")] = False,
    as_json: AsJson = False,
) -> None:
    """Install templates (mappings, retention) in Elasticsearch; may be run again at any time."""
    from detector.sinks.elastic.connection import explained
    from detector.sinks.elastic.install import install, streams_to_roll
    from detector.sinks.elastic.kibana import Kibana

    settings = load_config(config)
    board = None if kibana is None else Kibana(kibana, settings.elasticsearch)
    with _client(settings) as client, explained(settings.elasticsearch):
        steps = install(client, dry_run=dry_run)
        stale = streams_to_roll(client) if any(step.state == "changed" for step in steps) else []
    if board is not None:
        steps += board.install(dry_run=dry_run)
    if as_json:
        print_json({"dry_run": dry_run, "steps": [{"what": step.what, "state": step.state} for step in steps], "stale": stale})
        return
    for step in steps:
        verbs = (
            {"new": "would be created", "changed": "would be replaced"}
            if dry_run
            else {"new": "created", "changed": "replaced"}
        )
        say(f"{step.what}: {verbs.get(step.state, step.state)}")
    for name in stale:
        say(f"{name} takes the change with its next index: POST /{name}/_rollover")
    if kibana is None:
        errors.print("dashboards and the detection rule: name a Kibana with --kibana URL", soft_wrap=True)


@siem_app.command("ship")
def siem_ship(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="results of `replay --out` or `run --out`")],
    config: ConfigFile = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Deliver the alerts and decisions of a folder to Elasticsearch; running it again changes nothing."""
    from detector.sinks.elasticsearch import of_table
    from detector.sinks.registry import receiver

    settings = load_config(config)
    done = deliver_results(folder, [receiver(of_table(settings.elasticsearch))], settings)
    [shipped] = done.deliveries
    if as_json:
        counts = {"written": shipped.delivered, "repeated": shipped.repeated, "refused": shipped.refused}
        print_json({"lines": done.lines, **counts})
    else:
        say(f"{done.lines:,} lines: {shipped.delivered:,} documents written, {shipped.repeated:,} were there already")
    if not shipped.complete:
        raise DeliveryError(shipped.tell(folder))
