"""Documents for the renderers, and receivers that listen on this machine and misbehave when told to."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trustme

from detector.contracts import Alert, Decision
from detector.sinks.message import Document, Message
from detector.sinks.sample import sample_alert, sample_decision
from tests.waiting import wait_for

GOLDEN = Path(__file__).parents[1] / "golden"
PATIENCE_S = 60.0
T = TypeVar("T")

HOSTILE = "a|b=c\\d e=f\nnext\r\x1b[2J\x00 ü€ \u2028end"


def made_here(kind: Callable[..., T], close: Callable[[T], None]) -> Iterator[Callable[..., T]]:
    """Yield a maker of servers, and close at the end what it made. For ``yield from`` in a fixture."""
    made: list[T] = []

    def make(*args: Any, **named: Any) -> T:
        made.append(kind(*args, **named))
        return made[-1]

    yield make
    for server in made:
        close(server)


@pytest.fixture(scope="session")
def documents() -> list[Document]:
    """Return the examples of the contracts, and what a renderer has to be careful with."""
    contracts = GOLDEN / "contracts"
    return [
        *map(Alert.model_validate_json, (contracts / "alerts.jsonl").read_bytes().splitlines()),
        *map(Decision.model_validate_json, (contracts / "decisions.jsonl").read_bytes().splitlines()),
        sample_alert(),
        sample_alert(shadow=True, severity="medium", action="throttle", ip="2001:db8::7"),
        sample_alert(client=HOSTILE, model=HOSTILE, ip="gateway-7:443", alert_id="x" * 200, severity="high", action="perturb"),
        sample_alert(severity="low", action="alert", ip=None, evidence=False),
        sample_decision(),
        sample_decision(action="throttle", simulated=True, subject={"type": "client", "id": HOSTILE}),
        sample_decision(action="allow", origin="manual", actor="soc:j.doe", expires_at=None),
    ]


def message(number: int, body: bytes | None = None) -> Message:
    """Return a message with a number for an id."""
    return Message(str(number), "alert", 1_777_890_667_412 + number, "high", body or b'{"n":%d}' % number)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Return an authority that signs the certificates of the receivers."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what senders have to trust."""
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    """Return the receivers' side of TLS, for localhost and 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


class StreamReceiver:
    """A syslog server over TCP or TLS: `received` are the messages whose frames came whole, in order.

    The first `hang_ups` connections are cut when so many messages were read from them as `hang_up_after` says; what is unread
    by then stays so, which resets the connection.
    """

    def __init__(self, context: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.received: list[bytes] = []
        self.connections = 0
        self.hang_ups = 0
        self.hang_up_after = 0
        self.reading = threading.Event()
        self.reading.set()
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closing = False
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(plain,))
            with self._lock:
                if self._closing:
                    plain.close()
                    return
                self._open.add(plain)
                self._threads.append(thread)
            thread.start()

    def _serve(self, plain: socket.socket) -> None:
        connection = plain
        try:
            if self._context is not None:
                connection = self._context.wrap_socket(plain, server_side=True)
                with self._lock:
                    self._open.add(connection)
            self._read(connection)
        except (OSError, ValueError):
            pass
        finally:
            connection.close()
            plain.close()

    def _read(self, connection: socket.socket) -> None:
        stream = connection.makefile("rb", buffering=0 if self.hang_ups else -1)
        count = 0
        with stream:
            while True:
                self.reading.wait()
                digits = b""
                while (character := stream.read(1)) not in {b" ", b""}:
                    digits += character
                if not digits:
                    return
                left, text = int(digits), b""
                while len(text) < left:
                    piece = stream.read(left - len(text))
                    if not piece:
                        return
                    text += piece
                self.received.append(text)
                count += 1
                if self.hang_ups and count == self.hang_up_after:
                    self.hang_ups -= 1
                    return

    def close(self) -> None:
        """Stop listening and drop every connection."""
        with self._lock:
            self._closing = True
            opened = list(self._open)
        self.reading.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in opened:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)


@pytest.fixture
def stream_receiver() -> Iterator[Callable[..., StreamReceiver]]:
    """Return a maker of syslog servers, which are closed at the end."""
    yield from made_here(StreamReceiver, lambda receiver: None if receiver._closing else receiver.close())


class WebReceiver:
    """An HTTP server that keeps what is posted; `answers` says how to answer, by default with 200."""

    def __init__(self, context: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.answer: Callable[[str, dict[str, str], bytes], tuple[int, bytes, dict[str, str]] | None] = lambda *_: (
            200,
            b"{}",
            {},
        )
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.requests.append((self.path, headers, body))
                answer = receiver.answer(self.path, headers, body)
                if answer is None:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                status, said, more = answer
                self.send_response(status)
                for name, value in {"content-length": str(len(said)), **more}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", port), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def bodies(self) -> list[Any]:
        """Return what was posted, decoded."""
        return [json.loads(body) for _, _, body in self.requests]

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE_S)


@pytest.fixture
def web_receiver() -> Iterator[Callable[..., WebReceiver]]:
    """Return a maker of HTTP servers, which are closed at the end."""
    yield from made_here(WebReceiver, WebReceiver.close)


@contextmanager
def _free_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def deaf_port() -> int:
    """Return a port where nobody listens."""
    with _free_port() as port:
        return port


@pytest.fixture(scope="session")
def make_message() -> Callable[..., Message]:
    """Return a maker of messages with numbers for ids."""
    return message


@pytest.fixture(scope="session")
def until() -> Callable[..., None]:
    """Return what waits for a condition and fails when it does not come."""
    return wait_for


@pytest.fixture(scope="session")
def golden() -> Path:
    """Return the folder of golden files."""
    return GOLDEN
