"""Real gateways with the files of deploy/gateways as they stand; only the ports in them are others."""

import os
import shutil
import signal
import socket
import subprocess
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from detector.errors import ServerError
from tests.servers.process import last_words
from tests.servers.server import LocalServer, nothing, read_record

__all__ = ["RECIPES", "LocalGateway", "without"]

RECIPES = Path(__file__).parents[3] / "deploy" / "gateways"
CALLERS, MODEL, PERTURBED, GATE, RELAY = 8000, 8080, 8081, 9478, 9479


def without(text: str, mark: str) -> str:
    """Return a recipe without the lines from the one that has `mark` to ``# end``; `mark` must be there."""
    lines, kept, found = text.splitlines(keepends=True), [], False
    inside = False
    for line in lines:
        inside = inside or f"# {mark}" in line
        found = found or inside
        if not inside:
            kept.append(line)
        if line.strip() == "# end":
            inside = False
    if not found:
        raise ValueError(f"no line has {mark}")
    return "".join(kept)


class LocalGateway(LocalServer):
    """A gateway between callers, a gate, a model and the same model behind perturbation, each on a port of 127.0.0.1.

    `is_closed` turns the recipe's choice around: it then refuses callers while the gate is down.
    """

    MAIN_PORT: ClassVar[str] = "callers"
    GRACE_S: ClassVar[float] = 2.0
    TAKEN: ClassVar[tuple[bytes, ...]] = (b"ddress already in use", b"cannot bind", b"Address in use")
    RECIPE: ClassVar[str]  # folder of deploy/gateways

    def __init__(self, *, gate: int, model: int, perturbed: int, clients: Sequence[str] = (), is_closed: bool = False) -> None:
        """Describe a gateway before the programs on those ports; `start` (or ``with``) starts it.

        It knows `clients` by their keys, ``key-of-NAME``, besides those of the recipe.
        """
        self._behind: Mapping[int, int] = {GATE: gate, MODEL: model, PERTURBED: perturbed}
        self._clients = clients
        self._is_closed = is_closed
        super().__init__(None, port=None, tell=nothing, patience_s=60.0, detached=False)

    @classmethod
    @abstractmethod
    def install(cls, tell: Any) -> None:
        """Fetch the program; raises `ServerError` where it cannot be had."""

    @abstractmethod
    def _closed(self, name: str, text: str) -> str:
        """Return a file of the recipe that refuses callers while the gate is down."""

    @abstractmethod
    def _command(self) -> Sequence[str]: ...

    def _variables(self) -> dict[str, str]:
        return {}

    @staticmethod
    def mark(folder: Path) -> str:
        """Return what tells the gateway of this folder from any other process."""
        return str(folder)

    @staticmethod
    def record(folder: Path) -> dict[str, Any] | None:
        """Return nothing: a gateway is never found again."""
        return read_record(folder / "server.json")

    @property
    def port(self) -> int:
        """Where callers ask."""
        return self._ports["callers"]

    def _write_record(self) -> None:
        """Nobody looks for it."""

    def _find_program(self) -> None:
        self.install(self._tell)

    def _port_names(self) -> tuple[str, ...]:
        return ("callers", "relay")

    def _furnish(self) -> None:
        shutil.copytree(RECIPES / self.RECIPE, self.folder, dirs_exist_ok=True)
        for path in (RECIPES / self.RECIPE).iterdir():
            text = path.read_text(encoding="utf-8")
            text = self._closed(path.name, text) if self._is_closed else text
            text = _admitting(text, self._clients)
            for there, here in {CALLERS: self.port, RELAY: self._ports["relay"], **self._behind}.items():
                text = text.replace(f"127.0.0.1:{there}", f"127.0.0.1:{here}")
                text = text.replace(f"address: 127.0.0.1, port_value: {there}", f"address: 127.0.0.1, port_value: {here}")
            (self.folder / path.name).write_text(text, encoding="utf-8")

    def _run(self, log: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            list(self._command()),
            cwd=self.folder,
            env={"HOME": str(self.folder), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **self._variables()},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def _wait_until_ready(self, start: int) -> None:
        super()._wait_until_ready(start)
        until = time.monotonic() + self._patience_s
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            if self.process_id is None or time.monotonic() > until:
                raise ServerError(f"{self.NAME} does not listen:\n{last_words(self.log_file.read_bytes())}")
            time.sleep(0.02)

    def _guarded(self, process: subprocess.Popen[bytes]) -> int:
        return -process.pid

    def _end_process(self, process: subprocess.Popen[bytes], number: signal.Signals, patience_s: float) -> None:
        process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _admitting(text: str, clients: Sequence[str]) -> str:
    """Return a recipe that knows these clients, too: in each, one line says who has the key of acme."""
    lines = text.splitlines(keepends=True)
    return "".join(
        line + "".join(line.replace("acme", client) for client in clients if "key-of-acme" in line) for line in lines
    )
