"""A real Elasticsearch on this machine: one node, started in seconds, without containers.

    python -m detector.local.elastic up          start one that stays, with its data in the cache folder
    python -m detector.local.elastic status
    python -m detector.local.elastic down        --delete removes its data, too

In Python, for tests and examples::

    with LocalElastic() as node:
        client = Elasticsearch(node.url)

It is the minimal distribution: good for indexing, mappings and searches, without Kibana. Without users it has neither TLS nor
login, and listens on 127.0.0.1 only.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detector.errors import ServerError
from detector.local.elastic_node import LocalElastic, mark, read_record
from detector.local.elastic_program import VERSION, find_jdk, program, shared_folder
from detector.local.elastic_settings import User
from detector.local.process import end, is_running

__all__ = ["VERSION", "LocalElastic", "User", "main", "prepare"]

_USUAL_PORT = 9200


def prepare(tell: Any = print) -> None:
    """Fetch what a node needs. Raises `ServerError`, which says what to install, where it cannot run on this machine."""
    find_jdk()
    program(tell)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m detector.local.elastic", description="An Elasticsearch on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start it, unless it is up")
    up.add_argument(
        "--port", type=int, default=None, help=f"port to take if it is free (default: the last one, or {_USUAL_PORT})"
    )
    down = commands.add_parser("down", help="stop it")
    down.add_argument("--delete", action="store_true", help="remove its data, too")
    commands.add_parser("status", help="say whether it is up (exit status 0) or not (1)")
    chosen = parser.parse_args(arguments)
    try:
        folder = shared_folder("elasticsearch")
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
        _say(f"Elasticsearch is up already, process {record['process_id']}")
        sys.stdout.write(record["url"] + "\n")
        return 0
    if port is None and read_record(folder) is None:
        port = _USUAL_PORT
    node = LocalElastic(folder, port=port, tell=_say, detached=True)
    node.start()
    _say(f"Elasticsearch {VERSION} is up, process {node.process_id}; data and log in {folder}; stop it with")
    _say("  make elastic-down     (or: python -m detector.local.elastic down)")
    sys.stdout.write(node.url + "\n")
    return 0


def _down(folder: Path, *, delete: bool) -> int:
    if record := _running(folder):
        end(record["process_id"], mark(folder), 30.0)
        _say(f"Elasticsearch is down; its data stay in {folder}" if not delete else "Elasticsearch is down")
    else:
        _say("Elasticsearch is not up")
    if delete:
        shutil.rmtree(folder)
        _say(f"removed {folder}")
    return 0


def _status(folder: Path) -> int:
    record = _running(folder)
    if record is None:
        _say("Elasticsearch is not up; start it with: make elastic-up")
        return 1
    _say(f"Elasticsearch is up, process {record['process_id']}; data and log in {folder}")
    sys.stdout.write(record["url"] + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
