"""The demo on Kafka: the same log through the service on a real broker of its own, and the decisions of a replay out of it.

What runs is what would run in production: `detector run` as a process with both stages, its topics, its state and its
checkpoints. Only the broker is a local one, started for this and gone afterwards.
"""

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
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
from tests.servers.kafka import LocalBroker
from tests.servers.processed import PATIENCE_S, until_processed, values
from tests.servers.replayed import PARTITIONS, replayed

INPUT = "prediction-log"
NEEDED = ("detector.toml", "baseline", "log.jsonl")
SETTINGS = """
[kafka]
bootstrap_servers = "{address}"
input_topics = "{topic}"
checkpoint_seconds = 1.0

[service]
port = 0                      # any free one
"""


@dataclass(frozen=True, slots=True)
class Compared:
    """Decisions of a replay and those read from the decisions topic, by id; and what differs."""

    expected: int
    found: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    changed: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether they are the same, byte for byte."""
        return not (self.missing or self.unexpected or self.changed)


def compare(expected: list[bytes], found: list[bytes]) -> Compared:
    """Compare decisions, one JSON document each; the order does not count, and neither do repeats.

    >>> compare([b'{"decision_id":"a"}'], [b'{"decision_id":"a"}', b'{"decision_id":"a"}']).same
    True
    """
    wanted, got = ({json.loads(line)["decision_id"]: line for line in lines} for lines in (expected, found))
    return Compared(
        expected=len(wanted),
        found=len(got),
        missing=tuple(sorted(wanted.keys() - got.keys())),
        unexpected=tuple(sorted(got.keys() - wanted.keys())),
        changed=tuple(sorted(key for key in wanted.keys() & got.keys() if wanted[key] != got[key])),
    )


def show(folder: Path, errors: Console, *, as_json: bool) -> Compared:
    """Run the demo's log in `folder` through the service on Kafka, and compare; runs the demo first where it has not been run.

    Raises `ServerError` where no broker can be had, `ServiceError` when the service fails or decides otherwise than a replay.
    """
    if not all((folder / name).exists() for name in NEEDED):
        demo.show(folder, errors, as_json=False)
    started = time.perf_counter()

    def say(text: str) -> None:
        errors.print(f"[{time.perf_counter() - started:5.1f} s] {text}", soft_wrap=True)

    with LocalBroker(tell=say) as broker:
        path = folder / "detector-kafka.toml"
        try:
            own = (folder / "detector.toml").read_text(encoding="utf-8")
            private.write(path, (own + SETTINGS.format(address=broker.bootstrap, topic=INPUT)).encode())
        except OSError as error:
            raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from error
        config = load(path)
        topics = Topics.under(config.kafka.prefix)
        say(f"a broker listens on {broker.bootstrap}; creating the topics, {PARTITIONS} partitions each")
        set_up(Connection(config.kafka), topics, [INPUT], PARTITIONS, None)
        say("starting the service with both stages: detector run")
        with private.create(folder / "service.log") as log:
            service = subprocess.Popen([sys.executable, "-m", "detector", "run", "-c", str(path)], stdout=log, stderr=log)
        try:
            say("producing the log, keyed by client")
            sent = produce([str(folder / "log.jsonl")], INPUT, config, keyed=True)
            if not until_processed(config.kafka, INPUT, lambda: service.poll() is None):
                raise ServiceError(
                    f"the service has ended by itself, or has not processed {sent.sent:,} events within {PATIENCE_S:g} s; "
                    f"it said in {folder / 'service.log'}:\n{_tail(folder)}"
                )
        finally:
            service.send_signal(signal.SIGTERM)
            status = service.wait()
        if status != 0:
            raise ServiceError(f"the service ended with status {status}; it said in {folder / 'service.log'}:\n{_tail(folder)}")
        say("the service has ended in order; reading the decisions topic")
        read = values(config.kafka, topics.decisions)
    found = compare(replayed(folder, "decisions.jsonl"), read)
    decided = {json.loads(value)["decision_id"]: json.loads(value) for value in read}
    _tell(found, list(decided.values()), as_json=as_json)
    if not found.same:
        raise ServiceError(
            f"on Kafka it was decided otherwise than in a replay: {len(found.missing)} missing, {len(found.unexpected)} "
            f"unexpected, {len(found.changed)} changed"
        )
    return found


def _tail(folder: Path) -> str:
    return "\n".join((folder / "service.log").read_text(encoding="utf-8", errors="replace").splitlines()[-10:])


def _tell(found: Compared, decisions: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "expected": found.expected,
                    "found": found.found,
                    "same": found.same,
                    "missing": found.missing,
                    "unexpected": found.unexpected,
                    "changed": found.changed,
                },
                indent=2,
            )
        )
        return
    table = Table(title="Decisions read from the decisions topic", title_justify="left")
    for name in ("issued", "client", "action", "reason", "as in a replay"):
        table.add_column(name, no_wrap=name != "reason")
    other = {*found.unexpected, *found.changed}
    for decision in sorted(decisions, key=lambda one: (one["issued_at"], one["revision"])):
        table.add_row(
            decision["issued_at"][11:19],
            decision["subject"]["id"],
            Text(decision["action"], demo.STYLES.get(decision["action"], "")),
            decision["reason"]["code"].removeprefix("extraction."),
            Text("no", "red") if decision["decision_id"] in other else "yes",
        )
    Console().print(table)
    typer.echo(
        f"{found.found} decisions on Kafka, {found.expected} in a replay: "
        + ("the same, byte for byte" if found.same else "they differ")
    )
