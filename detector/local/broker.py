"""One broker: its process and its end."""

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from detector.errors import ServerError
from detector.local import tls
from detector.local.cache import locked, make_folder
from detector.local.kafka_program import QUICK, environment, java_command
from detector.local.kafka_settings import check_users
from detector.local.kafka_storage import SETTINGS, is_formatted, mark, prepare, read_record, write_record, write_settings
from detector.local.process import Guard, free_port, is_running, last_words

_READY = b"Kafka Server started"
_TAKEN = b"Address already in use"


class _PortTakenError(ServerError):
    """Another process was faster; to be tried again."""


def _nothing(_message: str) -> None:
    pass


class LocalBroker:
    """One Kafka broker, which is its own controller.

    Made without a `folder` it lives in a temporary one and leaves nothing behind. With a `folder` its data are kept there and
    found again by the next broker of that folder, on the same ports where they are free. Its log is ``server.log`` there; the
    causes of refused logins stand only there.

    It ends with the ``with`` block or with this process, however that ends; a `detached` one stays until it is told to stop.

    Args:
        folder: where data, settings and log are kept.
        port: the port to take if it is free; else, and by default, any.
        users: passwords by name. There is then a second listener, `secure_bootstrap`, for TLS with SASL (SCRAM-SHA-512 or
            PLAIN). Letters, digits and ``_.-`` only. Those of SCRAM are fixed when the folder is first used.
        settings: Kafka's own settings, over ours.
        tell: hears what takes long.
        patience_s: how long a start may take, in seconds.
        detached: whether it outlives this process.

    Raises:
        ServerError: from `start` (and ``with``): there is no Java, the jars cannot be fetched, the broker does not start (with
            the end of its log), or one runs in that folder already.

    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        port: int | None = None,
        users: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
        tell: Callable[[str], None] = _nothing,
        patience_s: float = 60.0,
        detached: bool = False,
    ) -> None:
        """Describe a broker; `start` (or ``with``) starts it."""
        self.users = dict(users or {})
        check_users(self.users)
        self._temporary = folder is None
        self.folder = Path(tempfile.mkdtemp(prefix="detector-kafka-")) if folder is None else folder.absolute()
        self._extra = dict(settings or {})
        self._tell = tell
        self._patience_s = patience_s
        self._detached = detached
        self._preferred = port
        self._java: list[str] = []
        self._ports: dict[str, int] = {}
        self._served = False
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None
        self._owner = os.getpid()
        if not detached:
            atexit.register(self._at_exit)

    @property
    def bootstrap(self) -> str:
        """Address of the listener without encryption and login, once started."""
        return f"127.0.0.1:{self._ports['PLAINTEXT']}"

    @property
    def secure_bootstrap(self) -> str:
        """Address of the listener with TLS and SASL, once started; there is one only with `users`."""
        return f"127.0.0.1:{self._ports['SASL_SSL']}"

    @property
    def ca_file(self) -> Path:
        """Certificate (PEM) that clients of `secure_bootstrap` have to trust."""
        return self.folder / tls.CA_FILE

    @property
    def log_file(self) -> Path:
        """What the broker says."""
        return self.folder / "server.log"

    @property
    def process_id(self) -> int | None:
        """Process id of the broker while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def __enter__(self) -> Self:
        """Start the broker."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Stop the broker."""
        self.close()

    def start(self) -> None:
        """Start the broker and return when it serves: on its former data and ports if it ran before."""
        if self.process_id is not None:
            return
        for path in (self.folder, self.folder / "tmp"):
            make_folder(path)
        with locked(self.folder):
            if (found := read_record(self.folder)) and is_running(found["process_id"], mark(self.folder)):
                raise ServerError(f"a broker runs in {self.folder} already: process {found['process_id']}")
            if not self._java:
                self._java = java_command(self._tell)
            again = self._served
            former = found["ports"] if found else {}
            for _ in range(5):
                if not again:
                    self._choose_ports(former)
                write_settings(self.folder, self._ports, self.users, self._extra)
                if not is_formatted(self.folder):
                    self._tell("formatting the broker's storage")
                prepare(self._java, self.folder, self.users)
                try:
                    self._launch(append=again)
                except _PortTakenError:
                    time.sleep(0.2)
                else:
                    break
            else:
                raise ServerError(f"the broker could not be started: its ports ({self._ports}) were taken by other processes")
            self._served = True
            write_record(self.folder, self.process_id, self._ports, self.bootstrap)

    def stop(self, patience_s: float = 20.0) -> None:
        """Ask the broker to stop; kill it if it has not after `patience_s` seconds. Its data stay for `start`."""
        self._end(signal.SIGTERM, patience_s)

    def kill(self) -> None:
        """Kill the broker at once, as a crash would. Its data stay for `start`, which then takes about three seconds more."""
        self._end(signal.SIGKILL, 20.0)

    def restart(self) -> None:
        """Stop the broker, if it runs, and start it on the same data and ports."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop the broker and remove its folder if that is a temporary one."""
        self.stop()
        atexit.unregister(self._at_exit)
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _at_exit(self) -> None:
        if os.getpid() == self._owner:  # not in a forked child
            self.close()

    def _choose_ports(self, former: Mapping[str, int]) -> None:
        self._ports = {}
        for listener in ("PLAINTEXT", "CONTROLLER", *(["SASL_SSL"] if self.users else [])):
            preferred = former.get(listener)
            if listener == "PLAINTEXT" and self._preferred is not None:
                preferred = self._preferred
            self._ports[listener] = free_port(preferred, self._ports.values())

    def _launch(self, *, append: bool) -> None:
        self._tell("starting the broker")
        with self.log_file.open("ab" if append else "wb") as log:
            start = log.tell()
            self._process = subprocess.Popen(  # noqa: S603
                [
                    *self._java,
                    *([] if self._detached else [QUICK]),
                    mark(self.folder),
                    "-Dorg.slf4j.simpleLogger.showDateTime=true",
                    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
                    "kafka.Kafka",
                    SETTINGS,
                ],
                cwd=self.folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that Ctrl-C reaches it through us, in our order
            )
        if not self._detached:
            self._guard = Guard(self._process.pid, self.folder if self._temporary else None)
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
                if _TAKEN in said:
                    raise _PortTakenError("a port was taken")
                raise ServerError(f"the broker ended while it started:\n{last_words(said)}")
            if time.monotonic() > until:
                raise ServerError(f"the broker was not ready after {self._patience_s:g} seconds:\n{last_words(said)}")
            time.sleep(0.05)

    def _end(self, number: signal.Signals, patience_s: float) -> None:
        process, self._process = self._process, None
        if self._guard is not None:
            self._guard.leave()
            self._guard = None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
