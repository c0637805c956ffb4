"""A small proxy: the second upstream of a gateway, for the clients whose answers are perturbed.

Everybody else is routed to the model server itself and pays nothing. The proxy listens beside the model server, speaks HTTP/1.1
on both sides, and perturbs every answer that passes: the gateway has chosen who comes here. It holds a whole answer in memory,
`max_body_bytes` at most; server-sent events are told as they come, without the probabilities of tokens. Requests for an upgrade
(web sockets) are refused.

Blind to: who asks. It must not be reachable but by the gateway.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from detector.errors import ConfigError
from detector.perturb.events import Events
from detector.perturb.exchange import REFUSAL, header, kind_of, request_headers, response_headers, unreadable
from detector.perturb.marks import Marking
from detector.perturb.message import MOST_REQUEST, REASONS, FaultError, Message, Parser, head_of, status_line
from detector.perturb.telling import Policy, request_without_logprobs, tell
from detector.perturb.upstream import READ, Connection, Upstream

__all__ = ["Proxy"]

IDLE_S: Final = 75.0  # for which a connection may say nothing between two requests
REQUEST_S: Final = 60.0  # from the first byte of a request to the last one of its body
DRAIN_S: Final = 60.0  # for which the gateway may leave what is written unread
DROP_S: Final = 1.0  # for which a refused request is read on: a connection closed before resets, and the refusal is lost
_HOP: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"expect"}
)


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
        parser = Parser(self._http.HttpRequestParser)
        upstream = Connection(self._upstream, self._http)
        keeps = True
        try:
            while keeps and (data := await _first(reader, parser)) is not None:
                with self._place():
                    request = await self._request(data, reader, writer, parser)
                    keeps = request is not None and await self._exchange(request, upstream, writer) and request.keeps
        except FaultError as fault:
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
        """Count a request that is served. Raises `FaultError` where there are too many."""
        if self._serving >= self._most:
            self._policy.without_answer("connections", None)
            raise FaultError(503)
        self._serving += 1
        try:
            yield
        finally:
            self._serving -= 1

    async def _request(
        self, data: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, parser: Parser
    ) -> Message | None:
        """Read the request that begins with `data`; None where the gateway has closed the connection."""
        try:
            async with asyncio.timeout(REQUEST_S):
                return await self._whole(data, reader, writer, parser)
        except TimeoutError:
            raise FaultError(408) from None

    async def _whole(
        self, data: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, parser: Parser
    ) -> Message | None:
        asked = False
        while True:
            try:
                parser.feed(data)
            except self._http.HttpParserUpgrade:
                raise FaultError(400) from None
            except self._http.HttpParserError as error:
                # llhttp wraps what a callback raises
                raise error.__context__ if isinstance(error.__context__, FaultError) else FaultError(400) from None
            if len(parser.message.body) > MOST_REQUEST:
                raise FaultError(413)
            if parser.ready:
                return parser.ready.popleft()
            if not asked and parser.message.headed:
                asked = True
                if header(parser.message.headers, b"expect").lower() == "100-continue":
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            data = await reader.read(READ)
            if not data:
                return None

    async def _exchange(self, request: Message, upstream: "Connection", writer: asyncio.StreamWriter) -> bool:
        """Ask the model server and answer; return whether the connection goes on."""
        body = bytes(request.body)
        marks = self._policy.marks
        marking = marks.begin(request.headers, body) if marks is not None and body else None  # all that comes here is suspected
        kept_body = (
            body if self._policy.only_marks else request_without_logprobs(body, header(request.headers, b"content-type"))
        )
        body = body if kept_body is None else kept_body
        kept = [(name, value) for name, value in request.headers if name.lower() not in _HOP]
        bodiless = not body and request.method in {"GET", "HEAD", "DELETE", "OPTIONS"}
        headers = request_headers(kept, len(body))
        if bodiless:
            headers = [(name, value) for name, value in headers if name.lower() != b"content-length"]
        head = head_of(request.method.encode() + b" " + request.target + b" HTTP/1.1", headers)
        try:
            response = await upstream.ask(head + body, request.method)
        except TimeoutError:
            raise FaultError(504) from None
        except (OSError, EOFError, self._http.HttpParserError):
            raise FaultError(502) from None
        try:
            return await self._answer(request, response, upstream, writer, read=kept_body is not None, marking=marking)
        except (EOFError, self._http.HttpParserError):  # the head may have left already
            return False

    async def _answer(
        self,
        request: Message,
        response: Message,
        upstream: "Connection",
        writer: asyncio.StreamWriter,
        *,
        read: bool,
        marking: Marking | None,
    ) -> bool:
        """Answer; `read` tells whether the request is known to ask for no probabilities of tokens."""
        handling = kind_of(request.method, response.status, response.headers)
        if handling == "stream" and self._policy.only_marks:
            return await _pass_on(response, upstream, writer, None)
        if handling == "stream":
            if (reason := unreadable(response.headers, read=read)) is None:
                return await _pass_on(response, upstream, writer, Events(self._policy))
            self._policy.without_answer(reason, None)
            upstream.close()
            headers = response_headers([(b"content-type", b"application/json")], len(REFUSAL))
            writer.write(head_of(status_line(403), headers) + REFUSAL)
            await _drain(writer)
            return True
        while not response.complete and len(response.body) <= self._policy.most_bytes:
            await upstream.more(response)
        headers = [(name, value) for name, value in response.headers if name.lower() not in _HOP]
        status, body = response.status, bytes(response.body)
        if not response.complete and self._policy.only_marks:
            self._policy.without_answer("too_large", b"")
            return await _pass_on(response, upstream, writer, None)
        if not response.complete:
            told = self._policy.without_answer("too_large", None)
            upstream.close()
        elif handling == "tell":
            told = tell(
                body,
                self._policy,
                content_type=header(headers, b"content-type"),
                encoding=header(headers, b"content-encoding"),
                marking=marking,
            )
        else:
            written = headers if request.method == "HEAD" or status in {204, 304} else response_headers(headers, len(body))
            writer.write(head_of(status_line(status), written) + body)
            await _drain(writer)
            return True
        if told.body is None:
            status, headers, body = 403, [(b"content-type", b"application/json")], REFUSAL
        else:
            body = told.body
        writer.write(head_of(status_line(status), response_headers(headers, len(body))) + body)
        await _drain(writer)
        return True


async def _pass_on(response: Message, upstream: Connection, writer: asyncio.StreamWriter, events: Events | None) -> bool:
    """Pass a stream of events on as it is told, in chunks; as it is, where it is told to nobody."""
    headers = [(name, value) for name, value in response.headers if name.lower() not in _HOP | {b"content-length"}]
    writer.write(head_of(status_line(response.status), [*headers, (b"transfer-encoding", b"chunked")]))
    while True:
        body = bytes(response.body)
        told = body if events is None else events.told(body, last=response.complete)
        response.body.clear()
        if told:
            writer.write(f"{len(told):x}\r\n".encode() + told + b"\r\n")
        await _drain(writer)
        ended = events is not None and events.ended
        if ended:
            upstream.close()
        if response.complete or ended:
            break
        await upstream.more(response)
    writer.write(b"0\r\n\r\n")
    await _drain(writer)
    return True


async def _first(reader: asyncio.StreamReader, parser: Parser) -> bytes | None:
    """Wait for a request and return its first bytes: none where they are parsed already. None where no request comes."""
    if parser.ready or parser.begun:
        return b""
    return await asyncio.wait_for(reader.read(READ), IDLE_S) or None


async def _drain(writer: asyncio.StreamWriter) -> None:
    await asyncio.wait_for(writer.drain(), DRAIN_S)


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, status: int) -> None:
    body = b'{"error":"%s"}' % REASONS[status]
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), (b"connection", b"close")]
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(DROP_S):
            writer.write(head_of(status_line(status), headers) + body)
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
