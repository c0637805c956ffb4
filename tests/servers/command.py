"""The command line of a local server: up, status, down."""

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detector.errors import ServerError
from tests.servers.process import end, is_running
from tests.servers.server import LocalServer


@dataclass(frozen=True, slots=True)
class Command:
    """What the commands need to know of a kind of server.

    `module` is run as ``python -m``, `make` is the part of ``make <make>-up``; `folder` gives the place of its data, `kind` is
    the server, `address` the entry of its record that is printed for others to connect to.
    """

    module: str
    description: str
    name: str
    version: str
    make: str
    usual_port: int
    folder: Callable[[], Path]
    kind: type[Any]  # of `LocalServer`, whose own arguments differ
    address: str

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Run the command line; return its exit status."""
        parser = argparse.ArgumentParser(prog=f"python -m {self.module}", description=self.description)
        commands = parser.add_subparsers(dest="command", required=True)
        up = commands.add_parser("up", help="start it, unless it is up")
        up.add_argument(
            "--port", type=int, default=None, help=f"port to take if it is free (default: the last one, or {self.usual_port})"
        )
        down = commands.add_parser("down", help="stop it")
        down.add_argument("--delete", action="store_true", help="remove its data, too")
        commands.add_parser("status", help="say whether it is up (exit status 0) or not (1)")
        chosen = parser.parse_args(arguments)
        try:
            folder = self.folder()
            if chosen.command == "up":
                return self._up(folder, chosen.port)
            return self._down(folder, delete=chosen.delete) if chosen.command == "down" else self._status(folder)
        except ServerError as error:
            say(f"detector: {error}")
            return 1

    def _running(self, folder: Path) -> dict[str, Any] | None:
        record: dict[str, Any] | None = self.kind.record(folder)
        return record if record and is_running(record["process_id"], self.kind.mark(folder)) else None

    def _up(self, folder: Path, port: int | None) -> int:
        if record := self._running(folder):
            say(f"{self.name} is up already, process {record['process_id']}")
            sys.stdout.write(record[self.address] + "\n")
            return 0
        if port is None and self.kind.record(folder) is None:
            port = self.usual_port
        server: LocalServer = self.kind(folder, port=port, tell=say, detached=True)
        server.start()
        say(f"{self.name} {self.version} is up, process {server.process_id}; data and log in {folder}; stop it with")
        say(f"  make {self.make}-down     (or: python -m {self.module} down)")
        sys.stdout.write(getattr(server, self.address) + "\n")
        return 0

    def _down(self, folder: Path, *, delete: bool) -> int:
        if record := self._running(folder):
            end(record["process_id"], self.kind.mark(folder), self.kind.GRACE_S)
            say(f"{self.name} is down" if delete else f"{self.name} is down; its data stay in {folder}")
        else:
            say(f"{self.name} is not up")
        if delete:
            shutil.rmtree(folder)
            say(f"removed {folder}")
        return 0

    def _status(self, folder: Path) -> int:
        record = self._running(folder)
        if record is None:
            say(f"{self.name} is not up; start it with: make {self.make}-up")
            return 1
        say(f"{self.name} is up, process {record['process_id']}; data and log in {folder}")
        sys.stdout.write(record[self.address] + "\n")
        return 0


def say(message: str) -> None:
    """Tell the person at the terminal; standard output is for the address alone."""
    sys.stderr.write(message + "\n")
