"""A port that answers HTTP requests in threads of its own, for what a worker serves beside its stream."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

__all__ = ["Listener", "cause_of"]

_BACKLOG: Final = 5  # connections that wait to be accepted, unless more are asked for


class Listener:
    """Listens from `start` to `stop`, unless the port is -1; `offset` is added to a port that is fixed.

    One machine may run several workers, each with an offset of its own.
    """

    def __init__(self, host: str, port: int, offset: int, name: str) -> None:
        """Prepare to listen; threads are called `name`."""
        self.address = (host, port + offset if port > 0 else port)
        self._name = name
        self._server: _Server | None = None

    @property
    def port(self) -> int | None:
        """The port it listens on; None while it does not."""
        return None if self._server is None else int(self._server.server_address[1])

    def start(self, handler: type[BaseHTTPRequestHandler], backlog: int = _BACKLOG) -> None:
        """Listen, unless the port is -1. Raises OSError and OverflowError when the address cannot be used."""
        if self.address[1] < 0:
            return
        server = _Server(self.address, handler, bind_and_activate=False)
        server.request_queue_size = backlog
        try:
            server.server_bind()
            server.server_activate()
        except BaseException:
            server.server_close()
            raise
        self._server = server
        threading.Thread(target=server.serve_forever, args=(0.1,), name=self._name, daemon=True).start()

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # a request that hangs must not keep the process alive

    def server_bind(self) -> None:
        # As the parent does, but without a name lookup of this host, which may take long.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: a client has closed its connection."""


def cause_of(error: Exception) -> object:
    """Return why an address cannot be used, in words."""
    return getattr(error, "strerror", None) or error
