"""A real gate on this machine: `detector gate` as a process of its own."""

import http.client
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from detector.errors import ServerError
from tests.servers.process import last_words
from tests.servers.server import LocalServer, nothing, read_record

__all__ = ["LocalGate"]

_RECORD = "server.json"


class LocalGate(LocalServer):
    """A gate in a temporary folder, with the settings of `[gate]` and `[kafka]` that are given.

    It serves before it has read its decisions; `wait_until_ready` waits for that, too.
    """

    NAME: ClassVar[str] = "the gate"
    ONE: ClassVar[str] = "a gate"
    PREFIX: ClassVar[str] = "detector-gate-"
    READY: ClassVar[bytes] = b"answering on"
    TAKEN: ClassVar[tuple[bytes, ...]] = (b"ddress already in use",)
    MAIN_PORT: ClassVar[str] = "http"
    GRACE_S: ClassVar[float] = 10.0

    def __init__(
        self,
        gate: Mapping[str, Any] | None = None,
        kafka: Mapping[str, Any] | None = None,
        *,
        tell: Callable[[str], None] = nothing,
    ) -> None:
        """Describe a gate; `start` (or ``with``) starts it."""
        self._sections = {"gate": dict(gate or {}), "kafka": dict(kafka or {})}
        super().__init__(None, port=None, tell=tell, patience_s=120.0, detached=False)

    @staticmethod
    def mark(folder: Path) -> str:
        """Return what tells the gate of this folder from any other process: its configuration is in its command line."""
        return str(folder / "detector.toml")

    @staticmethod
    def record(folder: Path) -> dict[str, Any] | None:
        """Return what the last gate of this folder left."""
        return read_record(folder / _RECORD)

    @property
    def port(self) -> int:
        """Its port on 127.0.0.1, once started."""
        return self._ports["http"]

    def ask(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, dict[str, str], str]:
        """Return status, headers (names in lower case) and body of the response to a GET."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path, headers=dict(headers or {}))
            response = connection.getresponse()
            found = {name.lower(): text for name, text in response.getheaders()}
            return response.status, found, response.read().decode()
        finally:
            connection.close()

    def action(self, client: str, path: str = "/auth/v1/models/fraud:predict") -> str:
        """Return the action that a client gets."""
        return self.ask(path, {"X-Client-Id": client})[1]["x-detector-action"]

    def wait_until(self, true: Callable[[], bool], what: str, patience_s: float = 60.0) -> None:
        """Wait until something is true; raises `ServerError` where it does not come true."""
        until = time.monotonic() + patience_s
        while not true():
            if self.process_id is None or time.monotonic() > until:
                raise ServerError(f"{what} did not happen:\n{last_words(self.log_file.read_bytes())}")
            time.sleep(0.02)

    def wait_until_ready(self) -> None:
        """Wait until it answers from what it has read."""
        self.wait_until(lambda: self.ask("/readyz")[0] == http.HTTPStatus.OK, "/readyz answering 200")

    def metric(self, line: str) -> float:
        """Return the value of a metric, by its name with its labels; 0 where there is none yet."""
        for each in self.ask("/metrics")[2].splitlines():
            if each.startswith(line + " "):
                return float(each.rpartition(" ")[2])
        return 0.0

    def _write_record(self) -> None:
        record = {"process_id": self.process_id, "ports": self._ports}
        (self.folder / _RECORD).write_text(json.dumps(record), encoding="utf-8")

    def _find_program(self) -> None:
        """Nothing is fetched: it is this project."""

    def _port_names(self) -> tuple[str, ...]:
        return ("http",)

    def _furnish(self) -> None:
        self._sections["gate"]["port"] = self.port
        lines = []
        for name, section in self._sections.items():
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in section.items())]
        (self.folder / "detector.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _run(self, log: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "detector", "gate", "-c", self.mark(self.folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def _end_process(self, process: subprocess.Popen[bytes], number: signal.Signals, patience_s: float) -> None:
        process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
        process.kill()
        process.wait()
