"""The demo all the way into a SIEM: log, Kafka, the service, Elasticsearch, and the query that Elastic's own rule asks.

Both servers are real ones, started for this and gone afterwards. The alerts that are shown come out of Elasticsearch, found by
the query of the prebuilt rule "External Alerts", with the name, severity and risk that the rule takes from them.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch
from rich.table import Table
from rich.text import Text

from detector import private
from detector.config import load
from detector.console import Console
from detector.demo import show as demo
from detector.errors import OutputError, ServiceError
from detector.service.kafka.connection import Connection
from detector.service.kafka.provision import set_up
from detector.service.kafka.topics import Topics
from detector.service.produce import produce
from detector.sinks.elastic.connection import connect, explained
from detector.sinks.elastic.install import install
from tests.servers.demo_kafka import INPUT, NEEDED
from tests.servers.elastic import LocalElastic
from tests.servers.kafka import LocalBroker
from tests.servers.replayed import PARTITIONS, replayed

EXTERNAL_ALERTS = "event.kind:alert AND NOT event.module:(endgame OR endpoint OR cloud_defend)"
PATIENCE_S = 300.0
SEVERITIES = {21: "low", 47: "medium", 73: "high", 99: "critical"}
SETTINGS = """
[kafka]
bootstrap_servers = "{kafka}"
input_topics = "{topic}"
checkpoint_seconds = 1.0

[elasticsearch]
hosts = "{elastic}"
timeout_seconds = 30.0

[service]
port = 0                      # any free one
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What the query found, oldest first, and the ids of the alerts of a replay."""

    alerts: tuple[dict[str, Any], ...]
    expected: frozenset[str]

    @property
    def same(self) -> bool:
        """Whether each alert of the replay is there, once, and no other."""
        ids = [alert["event"]["id"] for alert in self.alerts]
        return len(ids) == len(self.expected) and set(ids) == self.expected


def show(folder: Path, errors: Console, *, as_json: bool) -> Found:
    """Run the demo's log in `folder` through Kafka and the service into Elasticsearch; the demo first where it has not run.

    Raises `ServerError` where a server cannot be had, `ServiceError` when the service fails or not every alert arrives.
    """
    if not all((folder / name).exists() for name in NEEDED):
        demo.show(folder, errors, as_json=False)
    expected = frozenset(json.loads(line)["event"]["id"] for line in replayed(folder, "alerts.jsonl"))
    started = time.perf_counter()

    def say(text: str) -> None:
        errors.print(f"[{time.perf_counter() - started:5.1f} s] {text}", soft_wrap=True)

    with LocalElastic(tell=say) as node, LocalBroker(tell=say) as broker:
        path = folder / "detector-siem.toml"
        try:
            own = (folder / "detector.toml").read_text(encoding="utf-8")
            settings = SETTINGS.format(kafka=broker.bootstrap, topic=INPUT, elastic=node.url)
            private.write(path, (own + settings).encode())
        except OSError as error:
            raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from error
        config = load(path)
        say(f"Kafka listens on {broker.bootstrap}, Elasticsearch on {node.url}; creating topics and templates")
        set_up(Connection(config.kafka), Topics.under(config.kafka.prefix), [INPUT], PARTITIONS, None)
        with connect(config.elasticsearch) as client, explained(config.elasticsearch):
            install(client)
            found = Found(_run(client, path, folder, expected, say), expected)
    _tell(found, as_json=as_json)
    if not found.same:
        raise ServiceError(
            f"a replay raises {len(expected)} alerts, and Elasticsearch has {len(found.alerts)} of the service's"
        )
    return found


def _run(
    client: Elasticsearch, path: Path, folder: Path, expected: frozenset[str], say: Callable[[str], None]
) -> tuple[dict[str, Any], ...]:
    """Run the service until Elasticsearch has what was expected, and return what the rule's query finds."""
    say("starting the service with all stages: detector run")
    log_file = folder / "service-siem.log"
    with private.create(log_file) as log:
        service = subprocess.Popen([sys.executable, "-m", "detector", "run", "-c", str(path)], stdout=log, stderr=log)
    try:
        say("producing the log, keyed by client")
        produce([str(folder / "log.jsonl")], INPUT, load(path), keyed=True)
        until = time.monotonic() + PATIENCE_S
        while not expected <= {alert["event"]["id"] for alert in _search(client)}:
            if service.poll() is not None:
                raise ServiceError(f"the service has ended by itself; it said in {log_file}:\n{_tail(log_file)}")
            if time.monotonic() > until:
                missing = len(expected - {alert["event"]["id"] for alert in _search(client)})
                raise ServiceError(
                    f"{missing} of the {len(expected)} alerts did not arrive within {PATIENCE_S:g} s; see {log_file}"
                )
            time.sleep(0.3)
    finally:
        service.send_signal(signal.SIGTERM)
        status = service.wait()
    if status != 0:
        raise ServiceError(f"the service ended with status {status}; it said in {log_file}:\n{_tail(log_file)}")
    say("the service has ended in order; asking as Elastic's rule does")
    return tuple(_search(client))


def _search(client: Elasticsearch) -> list[dict[str, Any]]:
    """Return what the rule's query finds, oldest first; nothing while the indices are being made."""
    try:
        client.indices.refresh(index="logs-*", ignore_unavailable=True)
        answer = client.search(
            index="logs-*",
            query={"query_string": {"query": EXTERNAL_ALERTS}},
            sort=[{"@timestamp": {"order": "asc", "unmapped_type": "date"}}],
            size=1000,
        )
    except ApiError as error:
        if error.status_code not in {404, 503}:  # shards that have not started yet
            raise
        return []
    except TransportError:
        return []
    return [hit["_source"] for hit in answer["hits"]["hits"]]


def _tail(log_file: Path) -> str:
    return "\n".join(log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-10:])


def _tell(found: Found, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"query": EXTERNAL_ALERTS, "same": found.same, "alerts": list(found.alerts)}, indent=2))
        return
    table = Table(title=f"logs-*: {EXTERNAL_ALERTS}", title_justify="left")
    for name in ("time", "name", "severity", "risk", "reason"):
        table.add_column(name, no_wrap=name in {"time", "severity", "risk"})
    for alert in found.alerts:
        event = alert["event"]
        severity = SEVERITIES[event["severity"]]
        style = demo.STYLES.get(event["action"], "")
        table.add_row(
            alert["@timestamp"][11:19],
            alert["message"],
            Text(severity, style),
            f"{event['risk_score']:.0f}",
            event["reason"],
        )
    Console().print(table)
    told = "each of a replay's, once" if found.same else f"a replay raises {len(found.expected)}"
    typer.echo(f"{len(found.alerts)} alerts found in Elasticsearch: {told}")
