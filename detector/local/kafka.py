"""A real Apache Kafka on this machine: one broker, started in seconds, without root and without containers.

    python -m detector.local.kafka up          start one that stays, with its data in the cache folder
    python -m detector.local.kafka status
    python -m detector.local.kafka down        --delete removes its data, too

In Python, for tests and examples::

    with LocalBroker() as broker:
        producer = KafkaProducer(bootstrap_servers=broker.bootstrap)

Topics are not created by being used: a forgotten or misspelt one is an error here, as it is on most clusters that are cared
for.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detector.errors import ServerError
from detector.local.broker import LocalBroker
from detector.local.cache import cache_folder
from detector.local.kafka_program import VERSION, java_command
from detector.local.kafka_storage import mark, read_record
from detector.local.process import end, is_running

__all__ = ["VERSION", "LocalBroker", "java_command", "main"]

_USUAL_PORT = 9092


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m detector.local.kafka", description="A Kafka broker on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start the broker, unless it is up")
    up.add_argument(
        "--port", type=int, default=None, help=f"port to take if it is free (default: the last one, or {_USUAL_PORT})"
    )
    down = commands.add_parser("down", help="stop the broker")
    down.add_argument("--delete", action="store_true", help="remove its data, too")
    commands.add_parser("status", help="say whether it is up (exit status 0) or not (1)")
    chosen = parser.parse_args(arguments)
    try:
        folder = cache_folder("kafka")
        if chosen.command == "up":
            return _up(folder, chosen.port)
        return _down(folder, delete=chosen.delete) if chosen.command == "down" else _status(folder)
    except ServerError as error:
        _say(f"detector: {error}")
        return 1


def _say(message: str) -> None:
    sys.stderr.write(message + "\n")


def _running(folder: Path) -> dict[str, Any] | None:
    record = read_record(folder)
    return record if record and is_running(record["process_id"], mark(folder)) else None


def _up(folder: Path, port: int | None) -> int:
    if record := _running(folder):
        _say(f"Kafka is up already, process {record['process_id']}")
        sys.stdout.write(record["bootstrap"] + "\n")
        return 0
    if port is None and read_record(folder) is None:
        port = _USUAL_PORT
    broker = LocalBroker(folder, port=port, tell=_say, detached=True)
    broker.start()
    _say(f"Kafka {VERSION} is up, process {broker.process_id}; data and log in {folder}; stop it with")
    _say("  make kafka-down     (or: python -m detector.local.kafka down)")
    sys.stdout.write(broker.bootstrap + "\n")
    return 0


def _down(folder: Path, *, delete: bool) -> int:
    if record := _running(folder):
        end(record["process_id"], mark(folder))
        _say(f"Kafka is down; its data stay in {folder}" if not delete else "Kafka is down")
    else:
        _say("Kafka is not up")
    if delete:
        shutil.rmtree(folder)
        _say(f"removed {folder}")
    return 0


def _status(folder: Path) -> int:
    record = _running(folder)
    if record is None:
        _say("Kafka is not up; start it with: make kafka-up")
        return 1
    _say(f"Kafka is up, process {record['process_id']}; data and log in {folder}")
    sys.stdout.write(record["bootstrap"] + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
