"""One node of Elasticsearch: its folder, its process, its end."""

import atexit
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from detector.errors import ServerError
from detector.local import tls
from detector.local.cache import locked, make_folder
from detector.local.elastic_program import NOBODY, as_root, find_jdk, program
from detector.local.elastic_settings import User, jvm_options, roles_file, settings, users_file, users_roles_file
from detector.local.process import Guard, free_port, is_running, last_words

_READY = b"] started {"
_TAKEN = (b"BindHttpException", b"BindTransportException", b"Address already in use")
_RECORD = "node.json"
_COPIED = ("log4j2.properties", "role_mapping.yml")


class _PortTakenError(ServerError):
    """Another process was faster; to be tried again."""


def _nothing(_message: str) -> None:
    pass


class LocalElastic:
    """One Elasticsearch, a cluster of itself, with half a gigabyte of heap.

    Made without a `folder` it lives in a temporary one and leaves nothing behind. With a `folder` its data are kept there and
    found again by the next node of that folder, on the same ports where they are free. Its log is ``server.log`` there. Where
    this process is root's the server runs as nobody, so everything above the folder must be open to all.

    It ends with the ``with`` block or with this process, however that ends; a `detached` one stays until it is told to stop.

    Args:
        folder: where data, settings and log are kept.
        port: the port to take if it is free; else, and by default, any.
        users: who may log in. With them there is TLS and a login; without, neither.
        extra: Elasticsearch's own settings, over ours.
        tell: hears what takes long.
        patience_s: how long a start may take, in seconds.
        detached: whether it outlives this process.

    Raises:
        ServerError: from `start` (and ``with``): there is no JDK, the program cannot be fetched, the server does not start
            (with the end of its log), or one runs in that folder already.

    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        port: int | None = None,
        users: Mapping[str, User] | None = None,
        extra: Mapping[str, object] | None = None,
        tell: Callable[[str], None] = _nothing,
        patience_s: float = 120.0,
        detached: bool = False,
    ) -> None:
        """Describe a node; `start` (or ``with``) starts it."""
        self.users = dict(users or {})
        self._temporary = folder is None
        self.folder = Path(tempfile.mkdtemp(prefix="detector-elastic-")) if folder is None else folder.absolute()
        self._extra = dict(extra or {})
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

    @property
    def url(self) -> str:
        """Address of the node, once started."""
        return f"{'https' if self.users else 'http'}://127.0.0.1:{self._ports['http']}"

    @property
    def ca_file(self) -> Path:
        """Certificate (PEM) that clients have to trust where there are `users`."""
        return self.folder / "config" / tls.CA_FILE

    @property
    def log_file(self) -> Path:
        """What the server says."""
        return self.folder / "server.log"

    @property
    def process_id(self) -> int | None:
        """Process id of the server's launcher, which leads its process group, while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def __enter__(self) -> Self:
        """Start the node."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Stop the node."""
        self.close()

    def start(self) -> None:
        """Start the node and return when it serves: on its former data and ports if it ran before."""
        if self.process_id is not None:
            return
        make_folder(self.folder)
        with locked(self.folder):
            if (found := read_record(self.folder)) and is_running(found["process_id"], mark(self.folder)):
                raise ServerError(f"an Elasticsearch runs in {self.folder} already: process {found['process_id']}")
            home, jdk = program(self._tell), find_jdk()
            for _ in range(5):
                if not self._served:
                    former = found["ports"] if found else {}
                    self._ports = {}
                    for name in ("http", "transport"):
                        preferred = self._preferred if name == "http" and self._preferred else former.get(name)
                        self._ports[name] = free_port(preferred, self._ports.values())
                self._configure(home, jdk)
                try:
                    self._launch(home, jdk)
                except _PortTakenError:
                    time.sleep(0.2)
                else:
                    break
            else:
                raise ServerError(f"Elasticsearch could not be started: its ports ({self._ports}) were taken by others")
            self._served = True
            record = {"process_id": self.process_id, "url": self.url, "ports": self._ports}
            (self.folder / _RECORD).write_text(json.dumps(record), encoding="utf-8")

    def stop(self, patience_s: float = 30.0) -> None:
        """Ask the server to stop; kill it if it has not after `patience_s` seconds. Its data stay for `start`."""
        self._end(signal.SIGTERM, patience_s)

    def kill(self) -> None:
        """Kill the server at once, as a crash would. Its data stay for `start`."""
        self._end(signal.SIGKILL, 30.0)

    def close(self) -> None:
        """Stop the server and remove its folder if that is a temporary one."""
        self._end(signal.SIGKILL if self._temporary else signal.SIGTERM, 30.0)
        atexit.unregister(self._at_exit)
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _at_exit(self) -> None:
        if os.getpid() == self._owner:  # not in a forked child
            self.close()

    def _configure(self, home: Path, jdk: Path) -> None:
        config = self.folder / "config"
        for path in (config, config / "jvm.options.d", self.folder / "tmp", self.folder / "logs"):
            make_folder(path)
        for name in _COPIED:
            shutil.copy(home / "config" / name, config / name)
        original = (home / "config" / "jvm.options").read_text(encoding="utf-8")
        texts = {
            "jvm.options": jvm_options(original),
            "elasticsearch.yml": settings(
                str(self.folder), self._ports["http"], self._ports["transport"], secure=bool(self.users), extra=self._extra
            ),
            "users": users_file(self.users),
            "users_roles": users_roles_file(self.users),
            "roles.yml": roles_file(),
        }
        for name, text in texts.items():
            (config / name).touch(mode=0o600)
            (config / name).write_text(text, encoding="utf-8")
        if self.users:
            tls.make_certificate(jdk / "bin" / "java", config)
        if as_root():
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, NOBODY, NOBODY, follow_symlinks=False)

    def _launch(self, home: Path, jdk: Path) -> None:
        self._tell("starting Elasticsearch")
        environment = os.environ | {
            "ES_JAVA_HOME": str(jdk),
            "ES_PATH_CONF": str(self.folder / "config"),
            "ES_TMPDIR": str(self.folder / "tmp"),
            "ES_JAVA_OPTS": "-Xms512m -Xmx512m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData",
            "CLI_JAVA_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData",
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
        }
        nobody: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if as_root() else {}
        with self.log_file.open("ab" if self._served else "wb") as log:
            start = log.tell()
            self._process = subprocess.Popen(  # noqa: S603
                [home / "bin" / "elasticsearch"],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a group of its own: the launcher and the server that it starts
                **nobody,
            )
        if not self._detached:
            self._guard = Guard(-self._process.pid, self.folder if self._temporary else None)
        try:
            self._wait_until_ready(start)
        except BaseException:
            self.kill()
            raise

    def _wait_until_ready(self, start: int) -> None:
        until = time.monotonic() + self._patience_s
        while True:
            running = self.process_id is not None
            with self.log_file.open("rb") as file:
                file.seek(start)
                said = file.read()
            if running and _READY in said:
                return
            if not running:
                if any(word in said for word in _TAKEN):
                    raise _PortTakenError("a port was taken")
                raise ServerError(f"Elasticsearch ended while it started:\n{last_words(said)}")
            if time.monotonic() > until:
                raise ServerError(f"Elasticsearch was not ready after {self._patience_s:g} seconds:\n{last_words(said)}")
            time.sleep(0.1)

    def _end(self, number: signal.Signals, patience_s: float) -> None:
        process, self._process = self._process, None
        if self._guard is not None:
            self._guard.leave()
            self._guard = None
        if process is None:
            return
        if number == signal.SIGTERM:
            process.send_signal(number)  # the launcher passes it on and waits
            with suppress(subprocess.TimeoutExpired):
                process.wait(patience_s)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def mark(folder: Path) -> str:
    """Return what tells the launcher of this folder from any other process."""
    return f"-Des.path.conf={folder}/config"


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return what the last node of this folder left: `process_id`, `url`, `ports`; None where there was none."""
    try:
        record: dict[str, Any] = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record
