"""Services of this project as processes: `detector gate`, `detector perturb proxy` and `detector run`."""

import http.client
import json
import signal
import subprocess
import sys
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from detector.errors import ServerError
from tests.servers.process import last_words
from tests.servers.server import LocalServer, nothing, read_record

__all__ = ["LocalDetector", "LocalPerturb", "OwnServer"]

_RECORD = "server.json"


class OwnServer(LocalServer):
    """A command of this project in a temporary folder, with a configuration of the sections that are given."""

    COMMAND: ClassVar[tuple[str, ...]]
    MAIN_PORT: ClassVar[str] = "http"
    TAKEN: ClassVar[tuple[bytes, ...]] = (b"ddress already in use",)
    GRACE_S: ClassVar[float] = 10.0

    def __init__(
        self, sections: Mapping[str, Mapping[str, Any]], *, tell: Callable[[str], None] = nothing, patience_s: float = 120.0
    ) -> None:
        """Describe a server; `start` (or ``with``) starts it."""
        self._sections = {name: dict(section) for name, section in sections.items()}
        super().__init__(None, port=None, tell=tell, patience_s=patience_s, detached=False)

    @staticmethod
    def mark(folder: Path) -> str:
        """Return what tells the server of this folder from any other process: its configuration is in its command line."""
        return str(folder / "detector.toml")

    @staticmethod
    def record(folder: Path) -> dict[str, Any] | None:
        """Return what the last server of this folder left."""
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

    def wait_until(self, true: Callable[[], bool], what: str, patience_s: float = 60.0) -> None:
        """Wait until something is true; raises `ServerError` where it does not come true."""
        until = time.monotonic() + patience_s
        while not true():
            if self.process_id is None or time.monotonic() > until:
                raise ServerError(f"{what} did not happen:\n{last_words(self.log_file.read_bytes())}")
            time.sleep(0.02)

    def wait_until_ready(self, patience_s: float = 60.0) -> None:
        """Wait until /readyz says that it works."""
        self.wait_until(lambda: self.ask("/readyz")[0] == http.HTTPStatus.OK, "/readyz answering 200", patience_s)

    @abstractmethod
    def _listen_on(self, port: int) -> None:
        """Write the port into the settings."""

    def _write_record(self) -> None:
        record = {"process_id": self.process_id, "ports": self._ports}
        (self.folder / _RECORD).write_text(json.dumps(record), encoding="utf-8")

    def _find_program(self) -> None:
        """Nothing is fetched: it is this project."""

    def _port_names(self) -> tuple[str, ...]:
        return ("http",)

    def _furnish(self) -> None:
        self._listen_on(self.port)
        lines = []
        for name, section in self._sections.items():
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in section.items())]
        (self.folder / "detector.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _command(self) -> Sequence[str]:
        return [sys.executable, "-m", "detector", *self.COMMAND, "-c", self.mark(self.folder)]

    def _run(self, log: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(list(self._command()), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def _end_process(self, process: subprocess.Popen[bytes], number: signal.Signals, patience_s: float) -> None:
        process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
        process.kill()
        process.wait()


class LocalPerturb(OwnServer):
    """The second upstream of a gateway, before the model server on `upstream`, a port of this machine."""

    NAME: ClassVar[str] = "the perturbing proxy"
    ONE: ClassVar[str] = "a perturbing proxy"
    PREFIX: ClassVar[str] = "detector-perturb-"
    READY: ClassVar[bytes] = b"perturbing ("
    COMMAND: ClassVar[tuple[str, ...]] = ("perturb", "proxy")

    def __init__(self, upstream: int, **settings: Any) -> None:
        """Describe a proxy with these settings of ``[perturb]``."""
        super().__init__({"perturb": {"upstream": f"http://127.0.0.1:{upstream}", **settings}})

    def _listen_on(self, port: int) -> None:
        self._sections["perturb"]["port"] = port


class LocalDetector(OwnServer):
    """The service with all stages, as one process; it is ready once `wait_until_ready` returns: it may compile before."""

    NAME: ClassVar[str] = "the service"
    ONE: ClassVar[str] = "a service"
    PREFIX: ClassVar[str] = "detector-service-"
    READY: ClassVar[bytes] = b"worker starts"
    GRACE_S: ClassVar[float] = 60.0
    COMMAND: ClassVar[tuple[str, ...]] = ("run",)

    def _listen_on(self, port: int) -> None:
        self._sections.setdefault("service", {})["port"] = port
