"""The model server behind the proxy of perturbation, and one connection to it."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from detector.errors import ConfigError
from detector.perturb.exchange import header
from detector.perturb.message import Message, Parser

__all__ = ["READ", "Connection", "Upstream"]

READ: Final = 64 * 1024  # bytes read at a time


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


class Connection:
    """The connection to the model server that belongs to one of the gateway's."""

    def __init__(self, upstream: Upstream, http: Any) -> None:
        self._upstream = upstream
        self._http = http
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._parser: Parser | None = None

    async def ask(self, data: bytes, method: str) -> Message:
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

    async def _ask(self, data: bytes, method: str) -> Message:
        writer = self._writer or await self._open()
        self._parser = Parser(self._http.HttpResponseParser)
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

    async def more(self, response: Message) -> None:
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
