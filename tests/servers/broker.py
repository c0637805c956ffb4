"""One broker: its process and its end."""

import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.servers import tls
from tests.servers.kafka_program import QUICK, environment, java_command
from tests.servers.kafka_settings import check_users
from tests.servers.kafka_storage import SETTINGS, is_formatted, mark, prepare, read_record, write_record, write_settings
from tests.servers.server import LocalServer, nothing


class LocalBroker(LocalServer):
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

    NAME = "the broker"
    ONE = "a broker"
    PREFIX = "detector-kafka-"
    READY = b"Kafka Server started"
    TAKEN = (b"Address already in use",)
    MAIN_PORT = "PLAINTEXT"
    GRACE_S = 20.0
    mark = staticmethod(mark)
    record = staticmethod(read_record)

    def __init__(
        self,
        folder: Path | None = None,
        *,
        port: int | None = None,
        users: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
        tell: Callable[[str], None] = nothing,
        patience_s: float = 60.0,
        detached: bool = False,
    ) -> None:
        """Describe a broker; `start` (or ``with``) starts it."""
        self.users = dict(users or {})
        check_users(self.users)
        self._extra = dict(settings or {})
        self._java: list[str] = []
        super().__init__(folder, port=port, tell=tell, patience_s=patience_s, detached=detached)

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

    def restart(self) -> None:
        """Stop the broker, if it runs, and start it on the same data and ports."""
        self.stop()
        self.start()

    def _write_record(self) -> None:
        write_record(self.folder, self.process_id, self._ports, self.bootstrap)

    def _find_program(self) -> None:
        if not self._java:
            self._java = java_command(self._tell)

    def _port_names(self) -> tuple[str, ...]:
        return ("PLAINTEXT", "CONTROLLER", *(["SASL_SSL"] if self.users else []))

    def _furnish(self) -> None:
        write_settings(self.folder, self._ports, self.users, self._extra)
        if not is_formatted(self.folder):
            self._tell("formatting the broker's storage")
        prepare(self._java, self.folder, self.users)

    def _run(self, log: Any) -> subprocess.Popen[bytes]:
        self._tell("starting the broker")
        return subprocess.Popen(
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

    def _end_process(self, process: subprocess.Popen[bytes], number: signal.Signals, patience_s: float) -> None:
        process.send_signal(number)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
