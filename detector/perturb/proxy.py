"""A small proxy: the second upstream of a gateway, for the clients whose answers are perturbed.

Everybody else is routed to the model server itself and pays nothing. The proxy listens beside the model server, speaks HTTP/1.1
on both sides, and perturbs every answer that passes: the gateway has chosen who comes here. It holds a whole answer in memory,
`max_body_bytes` at most; server-sent events are told as they come, without the probabilities of tokens. Requests for an upgrade
(web sockets) are refused.

Blind to: who asks. It must not be reachable but by the gateway.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from detector.errors import ConfigError, DetectorError
from detector.perturb.events import Events
from detector.perturb.exchange import REFUSAL, Header, header, kind_of, request_headers, response_headers, unreadable
from detector.perturb.telling import Policy, request_without_logprobs, tell

__all__ = ["Proxy", "Upstream"]

MOST_REQUEST: Final = 16 * 1024 * 1024  # bytes of a request
MOST_HEAD: Final = 64 * 1024  # bytes of the head of a request or a response
IDLE_S: Final = 75.0  # for which a connection may say nothing between two requests
REQUEST_S: Final = 60.0  # from the first byte of a request to the last one of its body
DRAIN_S: Final = 60.0  # for which the gateway may leave what is written unread
DROP_S: Final = 1.0  # for which a refused request is read on: a connection closed before resets, and the refusal is lost
READ: Final = 64 * 1024
_HOP: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"expect"}
)
_REASONS: Final = {
    400: b"Bad Request",
    403: b"Forbidden",
    408: b"Request Timeout",
    413: b"Content Too Large",
    503: b"Service Unavailable",
    502: b"Bad Gateway",
    504: b"Gateway Timeout",
}


@dataclass(frozen=True, slots=True)
class Upstream:
    """The model server, and how long it may be silent."""

    host: str
    port: int
    timeout_s: float = 60.0

    @classmethod
    def of(cls, url: str, timeout_s: float = 60.0) -> "Upstream":
        """Return the server at ``http://host:port``. Raises `ConfigError` for another address."""
        parts = urlsplit(url)
        try:
            port = parts.port or 80
        except ValueError:
            port = -1
        if parts.scheme != "http" or not parts.hostname or port < 1 or parts.path not in {"", "/"}:
            raise ConfigError(f"upstream {url!r}: write it as http://host:port")
        return cls(parts.hostname, port, timeout_s)


@dataclass(slots=True)
class _Message:
    """A request or a response as it is parsed."""

    method: str = ""
    target: bytes = b""
    status: int = 0
    headers: list[Header] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    head: int = 0  # bytes of names and values
    complete: bool = False
    headed: bool = False
    keeps: bool = True


class _FaultError(DetectorError):
    """What is answered instead; does not leave this module."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status


class _Parser:
    """Parses a side of a connection with httptools; complete messages wait in `ready`, the current one is `message`."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self.message = _Message()
        self.ready: deque[_Message] = deque()
        self._parser = make(self)
        self.begun = False  # whether a message has begun that is not complete

    def feed(self, data: bytes) -> None:
        """Parse bytes. Raises httptools' errors where they are no HTTP."""
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.message = _Message()
        self.begun = True

    def on_url(self, url: bytes) -> None:
        self.message.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.message.head += len(name) + len(value)
        if self.message.head > MOST_HEAD:
            raise _FaultError(400)
        self.message.headers.append((name, value))

    def on_headers_complete(self) -> None:
        message = self.message
        message.headed = True
        message.keeps = self._parser.should_keep_alive()
        if hasattr(self._parser, "get_method"):
            message.method = self._parser.get_method().decode("latin-1")
            length = header(message.headers, b"content-length")  # llhttp has seen that it is a number
            if length and int(length) > MOST_REQUEST:
                raise _FaultError(413)  # before its body is sent: a connection closed in the middle resets, and says nothing
        else:
            message.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self.message.body += body

    def on_message_complete(self) -> None:
        self.message.complete = True
        self.begun = False
        self.ready.append(self.message)


class Proxy:
    """Listens from `start` to `close`. Needs httptools.

    It serves `most` requests at a time and refuses others with 503, since each may hold a request and an answer in memory. A
    request counts from its first byte until its answer is written; connections that wait for the next one do not.

    Raises `ConfigError` where httptools is not installed.
    """

    def __init__(self, upstream: Upstream, policy: Policy, most: int = 256) -> None:
        try:
            import httptools  # noqa: PLC0415  # an extra: who does not run the proxy goes without
        except ImportError:
            raise ConfigError("the proxy needs httptools: install it with the extra `gate`") from None
        self._http = httptools
        self._upstream = upstream
        self._policy = policy
        self._most = most
        self._serving = 0
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port. Raises OSError where the address cannot be used."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=READ)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._server.wait_closed(), 1.0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parser = _Parser(self._http.HttpRequestParser)
        upstream = _Connection(self._upstream, self._http)
        keeps = True
        try:
            while keeps and (data := await _first(reader, parser)) is not None:
                with self._place():
                    request = await self._request(data, reader, writer, parser)
                    keeps = request is not None and request.keeps and await self._exchange(request, upstream, writer)
        except _FaultError as fault:
            await _refuse(reader, writer, fault.status)
        except TimeoutError:
            writer.transport.abort()  # else what the gateway does not read would stay in memory
        except (OSError, self._http.HttpParserError, asyncio.IncompleteReadError):
            pass
        finally:
            upstream.close()
            await _close(writer)

    @contextmanager
    def _place(self) -> Iterator[None]:
        """Count a request that is served. Raises `_FaultError` where there are too many."""
        if self._serving >= self._most:
            self._policy.without_answer("connections", None)
            raise _FaultError(503)
        self._serving += 1
        try:
            yield
        finally:
            self._serving -= 1

    async def _request(
        self, data: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, parser: _Parser
    ) -> _Message | None:
        """Read the request that begins with `data`; None where the gateway has closed the connection."""
        try:
            async with asyncio.timeout(REQUEST_S):
                return await self._whole(data, reader, writer, parser)
        except TimeoutError:
            raise _FaultError(408) from None

    async def _whole(
        self, data: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, parser: _Parser
    ) -> _Message | None:
        asked = False
        while True:
            try:
                parser.feed(data)
            except self._http.HttpParserUpgrade:
                raise _FaultError(400) from None
            except self._http.HttpParserError as error:
                # llhttp wraps what a callback raises
                raise error.__context__ if isinstance(error.__context__, _FaultError) else _FaultError(400) from None
            if len(parser.message.body) > MOST_REQUEST:
                raise _FaultError(413)
            if parser.ready:
                return parser.ready.popleft()
            if not asked and parser.message.headed:
                asked = True
                if header(parser.message.headers, b"expect").lower() == "100-continue":
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            data = await reader.read(READ)
            if not data:
                return None

    async def _exchange(self, request: _Message, upstream: "_Connection", writer: asyncio.StreamWriter) -> bool:
        """Ask the model server and answer; return whether the connection goes on."""
        body = bytes(request.body)
        kept_body = request_without_logprobs(body, header(request.headers, b"content-type"))
        body = body if kept_body is None else kept_body
        kept = [(name, value) for name, value in request.headers if name.lower() not in _HOP]
        bodiless = not body and request.method in {"GET", "HEAD", "DELETE", "OPTIONS"}
        headers = request_headers(kept, len(body))
        if bodiless:
            headers = [(name, value) for name, value in headers if name.lower() != b"content-length"]
        head = _head(request.method.encode() + b" " + request.target + b" HTTP/1.1", headers)
        try:
            response = await upstream.ask(head + body, request.method)
        except TimeoutError:
            raise _FaultError(504) from None
        except (OSError, EOFError, self._http.HttpParserError):
            raise _FaultError(502) from None
        try:
            return await self._answer(request, response, upstream, writer, read=kept_body is not None)
        except (EOFError, self._http.HttpParserError):  # the head may have left already
            return False

    async def _answer(
        self, request: _Message, response: _Message, upstream: "_Connection", writer: asyncio.StreamWriter, *, read: bool
    ) -> bool:
        """Answer; `read` tells whether the request is known to ask for no probabilities of tokens."""
        handling = kind_of(request.method, response.status, response.headers)
        if handling == "stream":
            if (reason := unreadable(response.headers, read=read)) is None:
                return await _pass_on(response, upstream, writer, Events(self._policy))
            self._policy.without_answer(reason, None)
            upstream.close()
            headers = response_headers([(b"content-type", b"application/json")], len(REFUSAL))
            writer.write(_head(_line(403), headers) + REFUSAL)
            await _drain(writer)
            return True
        while not response.complete and len(response.body) <= self._policy.most_bytes:
            await upstream.more(response)
        headers = [(name, value) for name, value in response.headers if name.lower() not in _HOP]
        status, body = response.status, bytes(response.body)
        if not response.complete:
            told = self._policy.without_answer("too_large", None)
            upstream.close()
        elif handling == "tell":
            told = tell(
                body,
                self._policy,
                content_type=header(headers, b"content-type"),
                encoding=header(headers, b"content-encoding"),
            )
        else:
            written = headers if request.method == "HEAD" or status in {204, 304} else response_headers(headers, len(body))
            writer.write(_head(_line(status), written) + body)
            await _drain(writer)
            return True
        if told.body is None:
            status, headers, body = 403, [(b"content-type", b"application/json")], REFUSAL
        else:
            body = told.body
        writer.write(_head(_line(status), response_headers(headers, len(body))) + body)
        await _drain(writer)
        return True


class _Connection:
    """The connection to the model server that belongs to one of the gateway's."""

    def __init__(self, upstream: Upstream, http: Any) -> None:
        self._upstream = upstream
        self._http = http
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._parser: _Parser | None = None

    async def ask(self, data: bytes, method: str) -> _Message:
        """Send a request and return the response once its head is there.

        A kept connection that the server has closed is opened anew: it closes idle ones when it likes. Raises OSError, EOFError
        and TimeoutError.
        """
        kept = self._writer is not None
        try:
            return await self._ask(data, method)
        except (OSError, EOFError):
            self.close()
            if not kept:
                raise
            return await self._ask(data, method)

    async def _ask(self, data: bytes, method: str) -> _Message:
        writer = self._writer or await self._open()
        self._parser = _Parser(self._http.HttpResponseParser)
        writer.write(data)
        await asyncio.wait_for(writer.drain(), self._upstream.timeout_s)
        while True:
            response = self._parser.message
            if response.headed and response.status >= 200:
                if method == "HEAD":
                    response.complete = True
                    self.close()  # the parser would wait for the body that the length promises
                return response
            await self._read()

    async def _open(self) -> asyncio.StreamWriter:
        there = asyncio.open_connection(self._upstream.host, self._upstream.port)
        opened = await asyncio.wait_for(there, self._upstream.timeout_s)
        self._reader, self._writer = opened
        return opened[1]

    async def more(self, response: _Message) -> None:
        """Read on. Raises EOFError where the server ends before its answer does."""
        try:
            await self._read()
        except EOFError:
            if header(response.headers, b"content-length") or b"transfer-encoding" in {n.lower() for n, _ in response.headers}:
                raise
            response.complete = True  # an answer without a length ends with its connection
            self.close()

    async def _read(self) -> None:
        if self._reader is None or self._parser is None:
            raise EOFError
        data = await asyncio.wait_for(self._reader.read(READ), self._upstream.timeout_s)
        if not data:
            raise EOFError
        with suppress(self._http.HttpParserUpgrade):
            self._parser.feed(data)
        if self._parser.message.complete and not self._parser.message.keeps:
            self.close()

    def close(self) -> None:
        """Close it; the next request opens another."""
        if self._writer is not None:
            with suppress(OSError, RuntimeError):
                self._writer.close()
        self._reader = self._writer = None


async def _pass_on(response: _Message, upstream: _Connection, writer: asyncio.StreamWriter, events: Events) -> bool:
    """Pass a stream of events on as it is told, in chunks."""
    headers = [(name, value) for name, value in response.headers if name.lower() not in _HOP | {b"content-length"}]
    writer.write(_head(_line(response.status), [*headers, (b"transfer-encoding", b"chunked")]))
    while True:
        told = events.told(bytes(response.body), last=response.complete)
        response.body.clear()
        if told:
            writer.write(f"{len(told):x}\r\n".encode() + told + b"\r\n")
        await _drain(writer)
        if events.ended:
            upstream.close()
        if response.complete or events.ended:
            break
        await upstream.more(response)
    writer.write(b"0\r\n\r\n")
    await _drain(writer)
    return True


def _head(line: bytes, headers: list[Header]) -> bytes:
    return line + b"\r\n" + b"".join(name + b": " + value + b"\r\n" for name, value in headers) + b"\r\n"


def _line(status: int) -> bytes:
    return b"HTTP/1.1 %d %s" % (status, _REASONS.get(status, b"OK" if status < 300 else b"Error"))


async def _first(reader: asyncio.StreamReader, parser: _Parser) -> bytes | None:
    """Wait for a request and return its first bytes: none where they are parsed already. None where no request comes."""
    if parser.ready or parser.begun:
        return b""
    return await asyncio.wait_for(reader.read(READ), IDLE_S) or None


async def _drain(writer: asyncio.StreamWriter) -> None:
    await asyncio.wait_for(writer.drain(), DRAIN_S)


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, status: int) -> None:
    body = b'{"error":"%s"}' % _REASONS[status]
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), (b"connection", b"close")]
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(DROP_S):
            writer.write(_head(_line(status), headers) + body)
            await writer.drain()
            writer.write_eof()
            while await reader.read(READ):
                pass


async def _close(writer: asyncio.StreamWriter) -> None:
    """Close a connection, also one whose other end does not read what is written."""
    with suppress(OSError, RuntimeError):
        writer.close()
        try:
            await asyncio.wait_for(writer.wait_closed(), DRAIN_S)
        except TimeoutError:
            writer.transport.abort()
