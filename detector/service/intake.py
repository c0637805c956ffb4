"""HTTP intake: for loggers that cannot write to Kafka, such as KServe's and the OpenTelemetry collectors.

``POST /v1/events`` takes events of any format, one or a batch, and CloudEvents in both encodings; ``/v1/logs`` and
``/v1/traces`` take OTLP. A request becomes a record of an input topic: its body is the value, and ``ce-*`` attributes and the
content type are headers, named as the Kafka binding of CloudEvents names them. The ingest stage judges what the body holds.

202 is sent when Kafka has the record on all replicas. 503 with ``Retry-After`` says that it has not, or that too many requests
wait: the logger must send again. A record that was sent twice is a repeat and counts once.
"""

import hmac
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Final, Self

import structlog
from kafka.errors import KafkaError, MessageSizeTooLargeError

from detector.config import Config
from detector.errors import ConfigError, ServiceError
from detector.service.kafka.connection import Connection
from detector.service.telemetry.listener import Listener, cause_of
from detector.service.telemetry.metrics import Metrics

__all__ = ["Intake"]

PATHS: Final = frozenset({"/v1/events", "/v1/logs", "/v1/traces"})
MOST_AT_ONCE: Final = 64  # requests that wait for Kafka; more are sent away
PATIENCE_S: Final = 10.0  # for Kafka to take a record, and for a caller to send one
BACKLOG: Final = 128  # connections that wait to be accepted
LINGER_MS: Final = 5
RETRY_AFTER_S: Final = 1

log = structlog.get_logger(__name__)


class _TurnedAwayError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


class Intake:
    """Listens inside its ``with`` block, unless the port is -1; each request is answered in a thread of its own.

    `offset` is added to the port, since one machine may run several workers. Raises `ConfigError` where there is no topic to
    write to, and on entering `ServiceError` when the address cannot be used.
    """

    def __init__(self, config: Config, metrics: Metrics, *, offset: int = 0) -> None:
        """Prepare to listen."""
        section = config.intake
        topic = section.topic or next(iter(config.kafka.input_topics), None)
        if section.port >= 0 and topic is None:
            raise ConfigError("[intake] topic is not set, and neither is [kafka] input_topics: there is nowhere to write to")
        self._topic = topic or ""
        self._key = section.secret()
        self._listener = Listener(section.host, section.port, offset, "intake")
        self._connection = Connection(config.kafka)
        self._limit = config.engine.max_record_bytes
        self._metrics = metrics
        self._places = threading.BoundedSemaphore(MOST_AT_ONCE)
        self._producer: Any = None
        self._lock = threading.Lock()

    @property
    def port(self) -> int | None:
        """The port it listens on; None while it does not."""
        return self._listener.port

    def __enter__(self) -> Self:
        """Listen."""
        try:
            self._listener.start(_handler(self), backlog=BACKLOG)
        except (OSError, OverflowError) as error:
            host, port = self._listener.address
            raise ServiceError(
                f"cannot take events on {host}:{port}: {cause_of(error)}: set [intake] port to a free one, "
                "to 0 for any free one, or to -1 for none"
            ) from error
        if self.port is not None:
            log.info("taking events over HTTP", port=self.port, topic=self._topic, key=self._key is not None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Stop listening; what was acknowledged is in Kafka."""
        self._listener.stop()
        with self._lock:
            if self._producer is not None:
                Connection.drop(self._producer)
                self._producer = None

    def take(self, path: str, headers: Mapping[str, str], body: Any) -> tuple[HTTPStatus, str]:
        """Answer one request, whose body is read from the stream `body`; return the status and a sentence."""
        try:
            self._check(path, headers)
            with self._place():
                self._write(_body_of(headers, body, self._limit), headers)
        except _TurnedAwayError as refused:
            self._metrics.taken_in(refused.status)
            return refused.status, str(refused)
        self._metrics.taken_in(HTTPStatus.ACCEPTED)
        return HTTPStatus.ACCEPTED, "taken"

    def _check(self, path: str, headers: Mapping[str, str]) -> None:
        if path.partition("?")[0].rstrip("/") not in PATHS:
            raise _TurnedAwayError(HTTPStatus.NOT_FOUND, f"not found; there are {', '.join(sorted(PATHS))}")
        if self._key is None:
            return
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        given = headers.get("x-api-key") or bearer
        if not hmac.compare_digest(given.encode(), self._key.encode()):
            raise _TurnedAwayError(HTTPStatus.UNAUTHORIZED, "the key of the intake is missing or wrong")

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise _TurnedAwayError(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests wait for Kafka: send it again")
        try:
            yield
        finally:
            self._places.release()

    def _connected(self) -> Any:
        """Return the producer; it is made for the first request, since Kafka may be away when the service starts."""
        with self._lock:
            if self._producer is None:
                self._producer = self._connection.producer(linger_ms=LINGER_MS)
            return self._producer

    def _write(self, value: bytes, headers: Mapping[str, str]) -> None:
        kept = [(f"ce_{name[3:]}", text.encode()) for name, text in headers.items() if name.startswith("ce-")]
        if kind := headers.get("content-type"):
            kept.append(("content-type", kind.encode()))
        try:
            self._connected().send(self._topic, value=value, headers=kept).get(timeout=PATIENCE_S)
        except MessageSizeTooLargeError:
            raise _TurnedAwayError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "larger than Kafka takes") from None
        except (KafkaError, ServiceError) as error:
            log.warning("a request of the intake was not written", cause=str(error) or type(error).__name__)
            raise _TurnedAwayError(HTTPStatus.SERVICE_UNAVAILABLE, "Kafka did not take it: send it again") from None


def _body_of(headers: Mapping[str, str], body: Any, limit: int) -> bytes:
    length = headers.get("content-length", "")
    if not length.isdecimal():
        raise _TurnedAwayError(HTTPStatus.LENGTH_REQUIRED, "say how long the body is: Content-Length")
    if len(length) > 12 or int(length) > limit:
        raise _TurnedAwayError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{length} bytes, more than the limit of {limit}")
    read = _read(body, int(length))
    encoding = headers.get("content-encoding", "identity").lower()
    if encoding in {"gzip", "deflate"}:
        read = _inflated(read, limit)
    elif encoding != "identity":
        raise _TurnedAwayError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Encoding may be gzip, deflate or identity")
    if not read.strip():
        raise _TurnedAwayError(HTTPStatus.BAD_REQUEST, "the body is empty")
    return read


def _read(body: Any, length: int) -> bytes:
    """Read a body; whoever sends it byte by byte may hold a place for `PATIENCE_S` in all."""
    until = time.monotonic() + PATIENCE_S
    read = bytearray()
    try:
        while len(read) < length and (part := body.read1(length - len(read))):
            read += part
            if time.monotonic() > until:
                raise TimeoutError
    except OSError:
        raise _TurnedAwayError(HTTPStatus.REQUEST_TIMEOUT, "the body did not come in time") from None
    if len(read) < length:
        raise _TurnedAwayError(HTTPStatus.BAD_REQUEST, "the body ended early")
    return bytes(read)


def _inflated(packed: bytes, limit: int) -> bytes:
    inflate = zlib.decompressobj(wbits=47)  # gzip or zlib, as its first bytes say
    try:
        found = inflate.decompress(packed, limit + 1)
    except zlib.error as error:
        raise _TurnedAwayError(HTTPStatus.BAD_REQUEST, f"the compressed body is damaged: {error}") from None
    if len(found) > limit:
        raise _TurnedAwayError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"decompressed more than the limit of {limit} bytes")
    if not inflate.eof:
        raise _TurnedAwayError(HTTPStatus.BAD_REQUEST, "the compressed body ends early")
    return found


def _handler(intake: Intake) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = PATIENCE_S
        disable_nagle_algorithm = True  # the answer is two small segments: the second would wait 40 ms for the first's receipt
        server_version = "detector"
        sys_version = ""

        def do_POST(self) -> None:
            headers = {name.lower(): text for name, text in self.headers.items()}
            status, said = intake.take(self.path, headers, self.rfile)
            body = f"{said}\n".encode()
            if status != HTTPStatus.ACCEPTED:
                self.close_connection = True  # its body may not have been read
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            if status == HTTPStatus.SERVICE_UNAVAILABLE:
                self.send_header("Retry-After", str(RETRY_AFTER_S))
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the parent's name
            """Log nothing: requests are counted."""

    return Handler
