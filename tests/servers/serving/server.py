"""What servers of models have in common: a Python program in an environment of its own, asked over HTTP on this machine."""

import http.client
import json
import os
import signal
import subprocess
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from detector.errors import ServerError
from tests.servers.process import last_words
from tests.servers.server import LocalServer, nothing, read_record
from tests.servers.serving.environment import environment

__all__ = ["Serving"]

_RECORD = "server.json"
_NOT_ITS = {"PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"}  # the last would compile thousands of modules at each start


class Serving(LocalServer):
    """A server of models in a temporary folder, which ends with the ``with`` block or with this process.

    It is ready once `HEALTH` answers 200, which it does when the model is loaded. Raises `ServerError` from `start` (and
    ``with``): its environment cannot be made, or it does not start (with the end of its log).
    """

    PROGRAM: ClassVar[str]  # name of its environment
    HEALTH: ClassVar[str]  # path that answers 200 when it serves
    READY: ClassVar[bytes] = b"Uvicorn running on http"
    TAKEN: ClassVar[tuple[bytes, ...]] = (b"ddress already in use",)
    MAIN_PORT: ClassVar[str] = "http"
    GRACE_S: ClassVar[float] = 10.0

    def __init__(self, *, tell: Callable[[str], None] = nothing, patience_s: float = 240.0) -> None:
        """Describe a server; `start` (or ``with``) starts it. The slowest of them imports for 20 seconds of processor time."""
        self._python = Path()
        super().__init__(None, port=None, tell=tell, patience_s=patience_s, detached=False)

    @classmethod
    def install(cls, tell: Callable[[str], None]) -> None:
        """Make the environment that it needs; raises `ServerError` where that cannot be done."""
        environment(cls.PROGRAM, cls.NAME, tell)

    @staticmethod
    def mark(folder: Path) -> str:
        """Return what tells the server of this folder from any other process: the folder is in its command line."""
        return str(folder)

    @staticmethod
    def record(folder: Path) -> dict[str, Any] | None:
        """Return what the last server of this folder left: `process_id` and `ports`; None where there was none."""
        return read_record(folder / _RECORD)

    @property
    def port(self) -> int:
        """Its HTTP port on 127.0.0.1, once started."""
        return self._ports["http"]

    def connection(self) -> http.client.HTTPConnection:
        """Return a new connection to it; a slow answer is waited for."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def close(self) -> None:
        """Stop the server and remove its folder; nobody needs an orderly end."""
        self.kill()
        super().close()

    def strays(self) -> list[int]:
        """Return the ids of processes that run in its folder: workers may have groups of their own, as BentoML's have."""
        home = f"HOME={self.folder}".encode()
        found = []
        for variables in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):  # another user's, or gone
                if home in variables.read_bytes().split(b"\0"):
                    found.append(int(variables.parent.name))
        return found

    @abstractmethod
    def _arguments(self) -> Sequence[str]:
        """Return the arguments for Python; the folder is among them."""

    @abstractmethod
    def _variables(self) -> Mapping[str, str]:
        """Return the environment variables that it needs besides the usual ones."""

    def _surroundings(self) -> dict[str, str]:
        """Our environment without what points to our own packages; what it keeps for its user goes into its folder."""
        kept = {name: value for name, value in os.environ.items() if name not in _NOT_ITS}
        ours = {"HOME": str(self.folder), "TMPDIR": str(self.folder / "tmp"), "PYTHONUNBUFFERED": "1", "NO_PROXY": "127.0.0.1"}
        return {**kept, **ours, **self._variables()}

    def _write_record(self) -> None:
        record = {"process_id": self.process_id, "ports": self._ports}
        (self.folder / _RECORD).write_text(json.dumps(record), encoding="utf-8")

    def _find_program(self) -> None:
        self._python = environment(self.PROGRAM, self.NAME, self._tell)

    def _port_names(self) -> tuple[str, ...]:
        return ("http",)

    def _run(self, log: Any) -> subprocess.Popen[bytes]:
        self._tell(f"starting {self.NAME}")
        return subprocess.Popen(
            [self._python, *self._arguments()],
            cwd=self.folder,
            env=self._surroundings(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a group of its own: its workers end with it
        )

    def _wait_until_ready(self, start: int) -> None:
        super()._wait_until_ready(start)
        until = time.monotonic() + self._patience_s
        while not self._is_healthy():
            if self.process_id is None or time.monotonic() > until:
                raise ServerError(f"{self.NAME} does not serve:\n{last_words(self.log_file.read_bytes())}")
            time.sleep(0.1)

    def _is_healthy(self) -> bool:
        connection = self.connection()
        try:
            connection.request("GET", self.HEALTH)
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _guarded(self, process: subprocess.Popen[bytes]) -> int:
        return -process.pid

    def _end_process(self, process: subprocess.Popen[bytes], number: signal.Signals, patience_s: float) -> None:
        if number == signal.SIGTERM:
            process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(patience_s)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stray in self.strays():
            with suppress(ProcessLookupError):
                os.kill(stray, signal.SIGKILL)
