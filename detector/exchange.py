"""Exchanges over HTTP that end: one deadline from the first packet to the last byte of the answer, and a bounded answer.

A server is not trusted to answer in time or in size. A limit per read is not enough: a byte a second keeps every single read
short. So a connection has a deadline, and whatever it waits for (connecting, TLS, sending, status, headers, body) may take only
what is left until then. The answer is cut off where it becomes longer than anybody needs, before it takes memory. Answers are
not decompressed: nobody asks for compressed ones. Redirects are not followed: they would take secrets to another host.

Only the look-up of a name has limits of its own, those of the system's resolver.
"""

import io
import math
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any, Final

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NameResolutionError, NewConnectionError

LARGEST_ANSWER: Final = 65_536  # bytes; what a receiver says in words or numbers is far shorter
_PIECE: Final = 16_384  # bytes; a TLS record, so that one write never outlasts the deadline
_HEAD: Final = 262_144  # bytes of status and headers besides the body
_ANY_SIZE: Final = 1 << 62


class AnswerTooLargeError(OSError):
    """The answer is longer than it may be."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server said; `whole` is False where the body was cut off."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool = True


class Exchanges:
    """Exchanges with one server, over a connection that is kept; for one thread at a time.

    `timeout_s` is for a whole exchange. Of a body, `most` bytes are read; with `cut` the rest is left, without it a longer one
    is a fault.
    """

    def __init__(
        self,
        *,
        timeout_s: float,
        context: ssl.SSLContext | None = None,
        most: int = LARGEST_ANSWER,
        cut: bool = True,
    ) -> None:
        self._most = most
        self._cut = cut
        self._timeout_s = timeout_s
        self._pool = urllib3.PoolManager(num_pools=1, maxsize=1, retries=False, timeout=timeout_s, ssl_context=context)
        self._pool.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}

    def ask(self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        """Send a request and return the answer, whatever its status.

        Raises urllib3's `HTTPError` or `OSError` when there was none in time; `cause_of` tells the cause.
        """
        answer = self._pool.request(
            method, url, body=body, headers=dict(headers or {}), redirect=False, preload_content=False, decode_content=False
        )
        try:
            content = answer.read(self._most + 1, decode_content=False)
            whole = len(content) <= self._most
            if not whole and not self._cut:
                raise AnswerTooLargeError(f"the answer is longer than {self._most:,} bytes")
            if whole:
                answer.release_conn()
        finally:
            answer.close()  # with the connection, where it was not given back
        return Reply(answer.status, answer.headers, content[: self._most], whole)

    def close(self) -> None:
        """Close the connection."""
        self._pool.clear()


def cause_of(error: BaseException) -> BaseException:
    """Return what is behind an error of urllib3's: the fault of the socket or of TLS where there is one.

    >>> cause_of(urllib3.exceptions.ProtocolError("Connection aborted.", TimeoutError("late")))
    TimeoutError('late')
    """
    while True:
        inner = getattr(error, "reason", None) or next((one for one in error.args[1:] if isinstance(one, BaseException)), None)
        if inner is None and isinstance(error, urllib3.exceptions.SSLError) and error.args:
            inner = error.args[0]
        if inner is None and isinstance(error, HTTPError):
            inner = error.__cause__
        if not isinstance(inner, BaseException) or inner is error:
            return error
        error = inner


def left_s(until: float) -> float:
    """Return the seconds left until a monotonic time; raises TimeoutError where there are none."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("not done in time")
    return left


def dial(host: str, port: int, until: float) -> socket.socket:
    """Connect to the first address of a host that answers; all of them together have until the deadline.

    The socket's timeout is what is left. Raises OSError, of the last address that was tried.
    """
    failure: OSError = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        made = socket.socket(family, kind, protocol)
        try:
            made.settimeout(_limit(until))
            made.connect(address)
            made.settimeout(_limit(until))
        except OSError as error:
            made.close()
            failure = error
        else:
            return made
    raise failure


def send_all(connection: socket.socket, data: bytes, until: float) -> None:
    """Send all of it by the deadline, whatever pace the other end reads at; raises TimeoutError."""
    view = memoryview(data)
    for at in range(0, len(view), _PIECE):
        connection.settimeout(_limit(until))
        connection.sendall(view[at : at + _PIECE])


def _limit(until: float) -> float | None:
    return None if until == math.inf else left_s(until)


class _Raw(io.RawIOBase):
    """The bytes of one answer: reads end at the deadline, and no more than `most` are given out."""

    def __init__(self, connection: socket.socket, until: float, most: int) -> None:
        self._connection = connection
        self._until = until
        self._left = most
        # The socket stays open until this is closed, even when the connection gives it up before.
        self._raw = connection.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        if self._left <= 0:
            raise AnswerTooLargeError("the answer is longer than it may be")
        self._connection.settimeout(_limit(self._until))
        view = memoryview(buffer)[: self._left]
        count = self._raw.readinto(view)
        self._left -= count or 0
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _Answer(HTTPResponse):
    """An answer that says in its headers already when it is too large, before anybody makes room for it."""

    largest: int = _ANY_SIZE

    def begin(self) -> None:
        super().begin()
        if self.largest == _ANY_SIZE:  # who reads it takes care
            return
        if (self.length or 0) > self.largest:
            raise AnswerTooLargeError(f"the answer is longer than {self.largest:,} bytes")
        if (self.headers.get("Content-Encoding") or "identity").lower() != "identity":
            raise AnswerTooLargeError("the answer is compressed, which nobody asked for: unpacked it could be of any size")


class _Bounded:
    """What the two kinds of connection have in common; `largest` is how many bytes of an answer are ever read."""

    largest: int = _ANY_SIZE
    timeout: float | None
    sock: socket.socket | None
    _dns_host: str
    host: str
    port: int
    _until: float = math.inf
    _begun: bool = False  # whether an exchange is under way whose deadline is set

    def _begin(self) -> None:
        self._until = math.inf if self.timeout is None else time.monotonic() + self.timeout
        self._begun = True

    def connect(self) -> None:
        self._begin()
        super().connect()  # type: ignore[misc]

    def _new_conn(self) -> socket.socket:
        try:
            made = dial(self._dns_host, self.port, self._until)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error  # type: ignore[arg-type]
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"no connection to {self.host} within {self.timeout:g} s") from error
        except OSError as error:
            raise NewConnectionError(self, f"Failed to establish a new connection: {error}") from error  # type: ignore[arg-type]
        return made

    def request(self, *given: Any, **options: Any) -> None:
        if not self._begun:
            self._begin()
        super().request(*given, **options)  # type: ignore[misc]

    def send(self, data: bytes) -> None:
        if self.sock is None:
            self.connect()
        assert self.sock is not None  # noqa: S101  # connected just now
        send_all(self.sock, data, self._until)

    def response_class(self, connection: socket.socket, **options: Any) -> HTTPResponse:
        self._begun = False
        response = _Answer(connection, **options)
        response.largest = self.largest
        response.fp.close()
        response.fp = io.BufferedReader(_Raw(connection, self._until, self.largest + _HEAD))
        return response


class PlainConnection(_Bounded, HTTPConnection):  # type: ignore[misc]  # it takes bytes only
    """HTTP with a deadline."""


class TlsConnection(_Bounded, HTTPSConnection):  # type: ignore[misc]  # its base is untyped as well
    """HTTPS with a deadline."""


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = PlainConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = TlsConnection
