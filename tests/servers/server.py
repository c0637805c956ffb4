"""A server on this machine: its process and its end, whatever the program.

Each kind of server says what it is called, how its folder is furnished, how it is launched and what its log says when it
serves. Ports, folders, readiness, guarding and ending are here.
"""

import atexit
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from detector.errors import ServerError
from tests.servers.cache import locked, make_folder
from tests.servers.process import Guard, free_port, is_running, last_words


class PortTakenError(ServerError):
    """Another process was faster; to be tried again."""


def nothing(_message: str) -> None:
    """Hear what takes long, and do nothing about it."""


def read_record(file: Path) -> dict[str, Any] | None:
    """Return what the last server of a folder left there for later commands; None where there was none."""
    try:
        record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record


class LocalServer(ABC):
    """A server that ends with the ``with`` block or with this process; a `detached` one stays until it is told to stop.

    Args:
        folder: where data, settings and log are kept; without one it lives in a temporary folder, which is removed again.
        port: the port to take if it is free; else, and by default, any.
        tell: hears what takes long.
        patience_s: how long a start may take, in seconds.
        detached: whether it outlives this process.

    """

    NAME: ClassVar[str]  # in sentences, as in "the broker ended"
    ONE: ClassVar[str]  # likewise, as in "a broker runs"
    PREFIX: ClassVar[str]  # of temporary folders
    READY: ClassVar[bytes]  # what the log says when it serves
    TAKEN: ClassVar[tuple[bytes, ...]]  # and when another process has a port
    MAIN_PORT: ClassVar[str]
    GRACE_S: ClassVar[float]  # for an orderly end

    def __init__(
        self,
        folder: Path | None,
        *,
        port: int | None,
        tell: Callable[[str], None],
        patience_s: float,
        detached: bool,
    ) -> None:
        """Describe a server; `start` (or ``with``) starts it."""
        self._temporary = folder is None
        self.folder = Path(tempfile.mkdtemp(prefix=self.PREFIX)) if folder is None else folder.absolute()
        self._tell = tell
        self._patience_s = patience_s
        self._detached = detached
        self._preferred = port
        self._ports: dict[str, int] = {}
        self._served = False
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None
        self._owner = os.getpid()
        if not detached:
            atexit.register(self._at_exit)

    @staticmethod
    @abstractmethod
    def mark(folder: Path) -> str:
        """Return what tells the server of this folder from any other process."""

    @staticmethod
    @abstractmethod
    def record(folder: Path) -> dict[str, Any] | None:
        """Return what the last server of this folder left: `process_id`, its address, `ports`; None where there was none."""

    @abstractmethod
    def _write_record(self) -> None: ...

    @abstractmethod
    def _find_program(self) -> None:
        """Find or fetch what is to be run."""

    @abstractmethod
    def _port_names(self) -> tuple[str, ...]: ...

    @abstractmethod
    def _furnish(self) -> None:
        """Write the settings, and whatever else has to lie in the folder."""

    @abstractmethod
    def _run(self, log: Any) -> subprocess.Popen[bytes]: ...

    @abstractmethod
    def _end_process(self, process: subprocess.Popen[bytes], number: signal.Signals, patience_s: float) -> None: ...

    @property
    def log_file(self) -> Path:
        """What the server says."""
        return self.folder / "server.log"

    @property
    def process_id(self) -> int | None:
        """Process id of the server, or of the launcher that leads its process group, while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def __enter__(self) -> Self:
        """Start the server."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Stop the server."""
        self.close()

    def start(self) -> None:
        """Start the server and return when it serves: on its former data and ports if it ran before."""
        if self.process_id is not None:
            return
        for path in (self.folder, self.folder / "tmp"):
            make_folder(path)
        with locked(self.folder):
            if (found := self.record(self.folder)) and is_running(found["process_id"], self.mark(self.folder)):
                raise ServerError(f"{self.ONE} runs in {self.folder} already: process {found['process_id']}")
            self._find_program()
            former = found["ports"] if found else {}
            for _ in range(5):
                if not self._served:
                    self._choose_ports(former)
                self._furnish()
                try:
                    self._launch()
                except PortTakenError:
                    time.sleep(0.2)
                else:
                    break
            else:
                raise ServerError(f"{self.NAME} could not be started: its ports ({self._ports}) were taken by other processes")
            self._served = True
            self._write_record()

    def stop(self, patience_s: float | None = None) -> None:
        """Ask the server to stop; kill it if it has not after `patience_s` seconds. Its data stay for `start`."""
        self._end(signal.SIGTERM, self.GRACE_S if patience_s is None else patience_s)

    def kill(self) -> None:
        """Kill the server at once, as a crash would. Its data stay for `start`, which may then take some seconds more."""
        self._end(signal.SIGKILL, self.GRACE_S)

    def close(self) -> None:
        """Stop the server and remove its folder if that is a temporary one."""
        self.stop()
        atexit.unregister(self._at_exit)
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _at_exit(self) -> None:
        if os.getpid() == self._owner:  # not in a forked child
            self.close()

    def _choose_ports(self, former: Mapping[str, int]) -> None:
        self._ports = {}
        for name in self._port_names():
            preferred = self._preferred if name == self.MAIN_PORT and self._preferred is not None else former.get(name)
            self._ports[name] = free_port(preferred, self._ports.values())

    def _launch(self) -> None:
        with self.log_file.open("ab" if self._served else "wb") as log:
            start = log.tell()
            self._process = self._run(log)
        if not self._detached:
            self._guard = Guard(self._guarded(self._process), self.folder if self._temporary else None)
        try:
            self._wait_until_ready(start)
        except BaseException:
            self.kill()
            raise

    def _guarded(self, process: subprocess.Popen[bytes]) -> int:
        """Return the number of the process, or minus that of the group, that must not outlive this one."""
        return process.pid

    def _wait_until_ready(self, start: int) -> None:
        until = time.monotonic() + self._patience_s
        while True:
            running = self.process_id is not None
            with self.log_file.open("rb") as file:
                file.seek(start)
                said = file.read()
            if running and self.READY in said:
                return
            if not running:
                if any(word in said for word in self.TAKEN):
                    raise PortTakenError("a port was taken")
                raise ServerError(f"{self.NAME} ended while it started:\n{last_words(said)}")
            if time.monotonic() > until:
                raise ServerError(f"{self.NAME} was not ready after {self._patience_s:g} seconds:\n{last_words(said)}")
            time.sleep(0.05)

    def _end(self, number: signal.Signals, patience_s: float) -> None:
        process, self._process = self._process, None
        if self._guard is not None:
            self._guard.leave()
            self._guard = None
        if process is not None:
            self._end_process(process, number, patience_s)
