"""One node of Elasticsearch: its folder, its process, its end."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.servers import tls
from tests.servers.cache import make_folder
from tests.servers.elastic_program import NOBODY, as_root, find_jdk, program
from tests.servers.elastic_settings import User, jvm_options, roles_file, settings, users_file, users_roles_file
from tests.servers.server import LocalServer, nothing, read_record

_RECORD = "node.json"
_COPIED = ("log4j2.properties", "role_mapping.yml")


class LocalElastic(LocalServer):
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

    NAME = "Elasticsearch"
    ONE = "an Elasticsearch"
    PREFIX = "detector-elastic-"
    READY = b"] started {"
    TAKEN = (b"BindHttpException", b"BindTransportException", b"Address already in use")
    MAIN_PORT = "http"
    GRACE_S = 30.0

    def __init__(
        self,
        folder: Path | None = None,
        *,
        port: int | None = None,
        users: Mapping[str, User] | None = None,
        extra: Mapping[str, object] | None = None,
        tell: Callable[[str], None] = nothing,
        patience_s: float = 120.0,
        detached: bool = False,
    ) -> None:
        """Describe a node; `start` (or ``with``) starts it."""
        self.users = dict(users or {})
        self._extra = dict(extra or {})
        super().__init__(folder, port=port or None, tell=tell, patience_s=patience_s, detached=detached)

    @staticmethod
    def mark(folder: Path) -> str:
        """Return what tells the launcher of this folder from any other process."""
        return f"-Des.path.conf={folder}/config"

    @staticmethod
    def record(folder: Path) -> dict[str, Any] | None:
        """Return what the last node of this folder left: `process_id`, `url`, `ports`; None where there was none."""
        return read_record(folder / _RECORD)

    @property
    def url(self) -> str:
        """Address of the node, once started."""
        return f"{'https' if self.users else 'http'}://127.0.0.1:{self._ports['http']}"

    @property
    def ca_file(self) -> Path:
        """Certificate (PEM) that clients have to trust where there are `users`."""
        return self.folder / "config" / tls.CA_FILE

    def close(self) -> None:
        """Stop the server and remove its folder if that is a temporary one; then nobody needs an orderly end."""
        if self._temporary:
            self.kill()
        super().close()

    def _write_record(self) -> None:
        record = {"process_id": self.process_id, "url": self.url, "ports": self._ports}
        (self.folder / _RECORD).write_text(json.dumps(record), encoding="utf-8")

    def _find_program(self) -> None:
        self._home, self._jdk = program(self._tell), find_jdk()

    def _port_names(self) -> tuple[str, ...]:
        return ("http", "transport")

    def _furnish(self) -> None:
        config = self.folder / "config"
        for path in (config, config / "jvm.options.d", self.folder / "logs"):
            make_folder(path)
        for name in _COPIED:
            shutil.copy(self._home / "config" / name, config / name)
        original = (self._home / "config" / "jvm.options").read_text(encoding="utf-8")
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
            tls.make_certificate(self._jdk / "bin" / "java", config)
        if as_root():
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, NOBODY, NOBODY, follow_symlinks=False)

    def _run(self, log: Any) -> subprocess.Popen[bytes]:
        self._tell("starting Elasticsearch")
        environment = os.environ | {
            "ES_JAVA_HOME": str(self._jdk),
            "ES_PATH_CONF": str(self.folder / "config"),
            "ES_TMPDIR": str(self.folder / "tmp"),
            "ES_JAVA_OPTS": "-Xms512m -Xmx512m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData",
            "CLI_JAVA_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData",
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
        }
        nobody: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if as_root() else {}
        return subprocess.Popen(
            [self._home / "bin" / "elasticsearch"],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a group of its own: the launcher and the server that it starts
            **nobody,
        )

    def _guarded(self, process: subprocess.Popen[bytes]) -> int:
        return -process.pid

    def _end_process(self, process: subprocess.Popen[bytes], number: signal.Signals, patience_s: float) -> None:
        if number == signal.SIGTERM:
            process.send_signal(number)  # the launcher passes it on and waits
            with suppress(subprocess.TimeoutExpired):
                process.wait(patience_s)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
