"""Receivers that mean harm: they drip, never end, say too much or nothing. Every attempt ends, and takes no memory."""

import gzip
import socket
import ssl
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from pydantic import SecretStr

from detector.config import ElasticsearchSection
from detector.config.service import OAuthSection
from detector.errors import DetectorError, ElasticError, RetryableError, ServiceError
from detector.exchange import LARGEST_ANSWER, AnswerTooLargeError, Exchanges, cause_of
from detector.service.kafka import oauth
from detector.sinks.elastic import connection as elastic_connection
from detector.sinks.elastic.kibana import Kibana
from detector.sinks.http import HttpClient
from detector.sinks.message import Message
from detector.sinks.splunk import SplunkCollector
from detector.sinks.syslog import StreamSyslog
from detector.sinks.webhook import Webhook
from tests.sinks.conftest import made_here

SECRET = "a secret that both sides know"
LIMIT_S = 0.5
PATIENCE_S = 60.0
PIECE = 65_536
MUCH = 64 * 1024 * 1024  # bytes: what the memory of an attempt must stay far below

Behaviour = Callable[[socket.socket, threading.Event], None]


class Hostile:
    """Accepts connections and does to each what `behaviour` says; `closed` ends it."""

    def __init__(self, behaviour: Behaviour, context: ssl.SSLContext | None = None, *, buffer: int | None = None) -> None:
        self.closed = threading.Event()
        self._behaviour = behaviour
        self._context = context
        self._listener = socket.socket()
        if buffer is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._serve, args=(plain,), daemon=True))
            self._threads[-1].start()

    def _serve(self, plain: socket.socket) -> None:
        with suppress(OSError), plain:
            connection = plain if self._context is None else self._context.wrap_socket(plain, server_side=True)
            with connection:
                self._behaviour(connection, self.closed)

    def close(self) -> None:
        self.closed.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE_S)


def drips(front: bytes, drop: bytes = b"x") -> Behaviour:
    """Send the front at once and then a drop every now and then, each well within the limit of a single read."""

    def behave(connection: socket.socket, closed: threading.Event) -> None:
        connection.recv(PIECE)
        connection.sendall(front)
        while not closed.wait(LIMIT_S / 10):
            connection.sendall(drop)

    return behave


def pours(front: bytes, piece: bytes) -> Behaviour:
    """Send the front and then pieces as fast as they are taken, without end."""

    def behave(connection: socket.socket, closed: threading.Event) -> None:
        connection.recv(PIECE)
        connection.sendall(front)
        while not closed.is_set():
            connection.sendall(piece)

    return behave


def says(answer: bytes) -> Behaviour:
    """Send an answer and hang up."""

    def behave(connection: socket.socket, _closed: threading.Event) -> None:
        connection.recv(PIECE)
        connection.sendall(answer)

    return behave


def silent(connection: socket.socket, closed: threading.Event) -> None:
    """Read nothing and say nothing."""
    del connection
    closed.wait()


def sips(connection: socket.socket, closed: threading.Event) -> None:
    """Read a little now and then, so that sending goes on, but never comes to its end."""
    while not closed.wait(LIMIT_S / 20):
        connection.recv(512)


Server = Callable[..., Hostile]


@pytest.fixture
def hostile() -> Iterator[Server]:
    """Return a maker of servers, which are closed at the end."""
    yield from made_here(Hostile, Hostile.close)


def ended(act: Callable[[], object]) -> BaseException | None:
    """Do it in a thread; fail when it does not end, return what it raised. Its memory stays small."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001  # the test looks at it
            raised.append(error)

    tracemalloc.start()
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not thread.is_alive(), "it does not end"
    assert peak < MUCH
    return raised[0] if raised else None


HEAD = b"HTTP/1.1 200 OK\r\n"
SLOW = {
    "never answers": silent,
    "drip before the status": drips(b""),
    "drip in the headers": drips(HEAD + b"x-slow: "),
    "drip of headers": drips(HEAD, b"a: b\r\n"),
    "drip in the body": drips(HEAD + b"content-length: 1000000\r\n\r\n"),
    "drip in chunks": drips(HEAD + b"transfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "drip of a chunk's size": drips(HEAD + b"transfer-encoding: chunked\r\n\r\n", b"0"),
    "drip of a trailer": drips(HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n"),
    "continue for ever": drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "continue for ever, fast": pours(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
}
ENDLESS = {
    "endless line of status": pours(b"HTTP/1.1 200 ", b"x" * PIECE),
    "endless header": pours(HEAD + b"x: ", b"x" * PIECE),
    "endless headers": pours(HEAD, b"a: b\r\n" * 1000),
    "endless size of a chunk": pours(HEAD + b"transfer-encoding: chunked\r\n\r\n1;", b"x" * PIECE),
    "no HTTP": pours(b"", b"\x00\xff\r\n" * 1000),
}
OVERLONG = {
    "endless body": pours(HEAD + b"\r\n", b"x" * PIECE),
    "body of 2 TB": pours(HEAD + b"content-length: 2000000000000\r\n\r\n", b"x" * PIECE),
    "endless chunks": pours(HEAD + b"transfer-encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * PIECE + b"\r\n"),
}


@pytest.mark.parametrize("behaviour", {**SLOW, **ENDLESS}.values(), ids=[*SLOW, *ENDLESS])
def test_no_answer_in_time_is_tried_again(hostile: Server, make_message: Callable[..., Message], behaviour: Behaviour) -> None:
    """Whatever a receiver does instead of answering, the attempt ends and the message waits for the next one."""
    server = hostile(behaviour)
    sender = Webhook(server.url, SECRET, timeout_s=LIMIT_S)
    assert isinstance(ended(lambda: sender.deliver([make_message(1)])), RetryableError)
    sender.close()


@pytest.mark.parametrize("behaviour", OVERLONG.values(), ids=list(OVERLONG))
def test_of_a_long_answer_the_beginning_is_read(hostile: Server, behaviour: Behaviour) -> None:
    """An answer without end is an answer: its beginning counts, and the connection is given up."""
    server = hostile(behaviour)
    found: list[Any] = []
    sender = HttpClient(server.url, timeout_s=PATIENCE_S)
    assert ended(lambda: found.append(sender.post(server.url, b"{}", {}))) is None
    sender.close()
    assert (found[0].status, len(found[0].body)) == (200, LARGEST_ANSWER)
    assert len(found[0].summary()) < 300


@pytest.mark.parametrize("name", ["never answers", "drip in the headers", "drip in the body"])
def test_tls_changes_nothing(
    hostile: Server, make_message: Callable[..., Message], server_tls: ssl.SSLContext, ca_file: Any, name: str
) -> None:
    """The same over TLS, and where the handshake itself never comes to its end."""
    for context in (server_tls, None):
        server = hostile(SLOW[name], context)
        sender = Webhook(server.url.replace("http:", "https:"), SECRET, ca_file=ca_file, timeout_s=LIMIT_S)
        error = ended(lambda sender=sender: sender.deliver([make_message(1)]))  # type: ignore[misc]
        assert isinstance(error, RetryableError)
        sender.close()


@pytest.mark.parametrize("tls", [False, True])
def test_sending_ends_too(hostile: Server, server_tls: ssl.SSLContext, ca_file: Any, tls: bool) -> None:
    """A receiver that reads a few bytes now and then does not get the time that each of them would give."""
    server = hostile(sips, server_tls if tls else None, buffer=4096)
    sender = HttpClient(server.url, ca_file=ca_file if tls else None, timeout_s=LIMIT_S)
    assert isinstance(ended(lambda: sender.post(server.url, b"x" * 50_000_000, {})), RetryableError)
    sender.close()


def test_a_compressed_answer_is_not_unpacked(hostile: Server) -> None:
    """Half a gigabyte of zeros in 500 KB: of what came, the beginning is kept as it is."""
    bomb = gzip.compress(b"\0" * 1_000_000) * 500
    head = b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb)
    server = hostile(says(HEAD + head + bomb))
    found: list[Any] = []
    sender = HttpClient(server.url, timeout_s=PATIENCE_S)
    assert ended(lambda: found.append(sender.post(server.url, b"{}", {}))) is None
    sender.close()
    assert found[0].body == bomb[:LARGEST_ANSWER]


def test_a_wait_of_ages_is_not_believed(hostile: Server, make_message: Callable[..., Message]) -> None:
    """A receiver cannot ask for more than an hour's pause."""
    server = hostile(says(b"HTTP/1.1 429 no\r\nretry-after: 1" + b"0" * 20 + b"\r\ncontent-length: 0\r\n\r\n"))
    sender = Webhook(server.url, SECRET, timeout_s=PATIENCE_S)
    error = ended(lambda: sender.deliver([make_message(1)]))
    assert isinstance(error, RetryableError)
    assert error.after_s == 3600.0
    sender.close()


def test_redirects_lead_nowhere(hostile: Server, make_message: Callable[..., Message]) -> None:
    """Neither the message nor its signature goes to another address."""
    asked = threading.Event()
    other = hostile(lambda *_: asked.set())
    moved = b"HTTP/1.1 307 over there\r\nlocation: %b/\r\ncontent-length: 0\r\n\r\n" % other.url.encode()
    sender = Webhook(hostile(says(moved)).url, SECRET, timeout_s=PATIENCE_S)
    assert isinstance(ended(lambda: sender.deliver([make_message(1)])), RetryableError)
    sender.close()
    assert not asked.is_set()


@pytest.mark.parametrize("status", [b"200 OK", b"400 no"])
def test_nested_json_is_no_answer_of_a_collector(hostile: Server, make_message: Callable[..., Message], status: bytes) -> None:
    """Brackets as deep as an answer is long do not end the sender."""
    body = b"[" * 60_000
    answer = b"HTTP/1.1 " + status + b"\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    sender = SplunkCollector(hostile(says(answer)).url, "token", ack=True, timeout_s=PATIENCE_S)
    assert isinstance(ended(lambda: sender.deliver([make_message(1)])), DetectorError)
    sender.close()


@pytest.mark.parametrize("behaviour", {**SLOW, **ENDLESS, **OVERLONG}.values(), ids=[*SLOW, *ENDLESS, *OVERLONG])
def test_elasticsearch(hostile: Server, behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request to Elasticsearch ends in time and in size."""
    monkeypatch.setattr(elastic_connection._Plain, "largest", 1_000_000)
    section = ElasticsearchSection(hosts=(hostile(behaviour).url,), timeout_seconds=LIMIT_S)

    def ask() -> None:
        with elastic_connection.explained(section), elastic_connection.connect(section) as client:
            client.info()

    assert isinstance(ended(ask), ElasticError)


def test_elasticsearch_does_not_unpack_what_it_did_not_ask_for(hostile: Server) -> None:
    """Its client would unpack an answer to any size."""
    bomb = gzip.compress(b'{"a":"' + b" " * (4 * MUCH) + b'"}')
    head = b"x-elastic-product: Elasticsearch\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n"
    server = hostile(says(HEAD + head + b"content-length: %d\r\n\r\n" % len(bomb) + bomb))
    section = ElasticsearchSection(hosts=(server.url,))

    def ask() -> None:
        with elastic_connection.explained(section), elastic_connection.connect(section) as client:
            client.info()

    error = ended(ask)
    assert isinstance(error, ElasticError)
    assert "compressed" in str(error)


@pytest.mark.parametrize("name", ["never answers", "drip in the headers", "drip in the body"])
def test_kibana(hostile: Server, name: str) -> None:
    """So does one to Kibana."""
    board = Kibana(hostile(SLOW[name]).url, ElasticsearchSection(hosts=("http://h:1",), timeout_seconds=LIMIT_S))
    assert isinstance(ended(lambda: board.install(dry_run=True)), ElasticError)


@pytest.mark.parametrize("behaviour", {**SLOW, **ENDLESS, **OVERLONG}.values(), ids=[*SLOW, *ENDLESS, *OVERLONG])
def test_identity_provider(hostile: Server, behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Kafka client's heartbeats wait for a token: it comes, or does not, in time."""
    monkeypatch.setattr(oauth, "PATIENCE_S", LIMIT_S)
    section = OAuthSection(token_url=hostile(behaviour).url, client_id="a", client_secret=SecretStr("hush"))
    assert isinstance(ended(lambda: oauth.Tokens(section).token()), ServiceError)


@pytest.mark.parametrize("life", [b"NaN", b"1" + b"0" * 400, b"[" * 50_000])
def test_a_token_that_lives_for_ever_is_not_believed(hostile: Server, life: bytes) -> None:
    """A life that is no number is refused."""
    body = b'{"access_token": "a", "expires_in": ' + life + b"}"
    server = hostile(says(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body))
    section = OAuthSection(token_url=server.url, client_id="a", client_secret=SecretStr("hush"))
    with pytest.raises(ServiceError, match="answers without a token"):
        oauth.Tokens(section).token()


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    "behaviour", [silent, sips, pours(b"", b"x" * PIECE)], ids=["never reads", "sips", "talks without end"]
)
def test_syslog(
    hostile: Server,
    make_message: Callable[..., Message],
    server_tls: ssl.SSLContext,
    ca_file: Any,
    behaviour: Behaviour,
    tls: bool,
) -> None:
    """A syslog receiver gets one deadline for a batch."""
    from detector.sinks.syslog import trusting  # noqa: PLC0415

    server = hostile(behaviour, server_tls if tls else None, buffer=4096)
    sender = StreamSyslog("127.0.0.1", server.port, context=trusting(ca_file) if tls else None, timeout_s=LIMIT_S)
    assert isinstance(ended(lambda: sender.deliver([make_message(1, b"x" * 8_000_000)])), RetryableError)
    sender.close()


def test_a_connection_is_kept(web_receiver: Callable[..., Any]) -> None:
    """Exchanges that end in order share one connection, though each has a deadline of its own."""
    server = web_receiver()
    ports: set[int] = set()
    inner = server._server.RequestHandlerClass.handle

    def handle(handler: Any) -> None:
        ports.add(handler.client_address[1])
        inner(handler)

    server._server.RequestHandlerClass.handle = handle
    exchanges = Exchanges(timeout_s=PATIENCE_S)
    assert [exchanges.ask("POST", server.url, b"{}").body for _ in range(5)] == [b"{}"] * 5
    exchanges.close()
    assert len(ports) == 1


def test_a_limit_can_be_a_fault(web_receiver: Callable[..., Any]) -> None:
    """Where only a whole answer is of use, a longer one is none."""
    server = web_receiver()
    server.answer = lambda *_: (200, b"x" * 101, {})
    exchanges = Exchanges(timeout_s=PATIENCE_S, most=100, cut=False)
    with pytest.raises(OSError, match="longer than 100 bytes") as caught:
        exchanges.ask("POST", server.url, b"{}")
    exchanges.close()
    assert isinstance(cause_of(caught.value), AnswerTooLargeError)
