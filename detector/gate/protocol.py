"""HTTP as gateways speak it to an authoriser: one event loop, no body, an answer at once.

Frameworks cost two to ten times what the answer itself costs.
"""

import asyncio
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import httptools

from detector.config.gate import GateSection
from detector.gate.judge import Judge, Judged, Question
from detector.gate.metrics import CONTENT_TYPE, GateMetrics
from detector.gate.refusals import RefusalLog
from detector.gate.responses import plain, respond
from detector.gate.shelf import Shelf

__all__ = ["Desk", "GateProtocol"]

NGINX: Final = b"/auth/nginx"
AUTH: Final = b"/auth"
LARGEST: Final = 1 << 20  # bytes of one request, its body included
PATIENCE_S: Final = 20.0  # for a request that has begun
IDLE_S: Final = 300.0  # between two requests of a connection
TEXT: Final = "text/plain; charset=utf-8"


class Desk:
    """What all connections share; it answers requests and probes."""

    def __init__(self, section: GateSection, judge: Judge, shelf: Shelf, metrics: GateMetrics) -> None:
        """Know which headers matter."""
        self._judge = judge
        self._shelf = shelf
        self._metrics = metrics
        self._refusals = RefusalLog(section.refusals_logged_per_second)
        self.open: set[GateProtocol] = set()
        self._client = section.client_header.lower().encode()
        self._model = _lower(section.model_header)
        self._organization = _lower(section.organization_header)
        self._address = _lower(section.address_header)
        self._uri = _lower(section.uri_header)
        optional = (self._model, self._organization, self._address, self._uri)
        self.headers = frozenset({self._client, b"x-original-uri", b"x-forwarded-uri", *filter(None, optional)})

    def answer(self, target: bytes, headers: dict[bytes, list[bytes]], *, keeps: bool, body: bool) -> bytes:
        """Return the response to a request for `target`, of whose headers those that matter are given."""
        path = target.partition(b"?")[0]
        if path == NGINX:
            return self._judged(self._asked(headers, b"x-original-uri"), headers, nginx=True, keeps=keeps, body=body)
        if path == AUTH:
            return self._judged(self._asked(headers, b"x-forwarded-uri"), headers, nginx=False, keeps=keeps, body=body)
        if path.startswith(AUTH + b"/"):  # Envoy puts the caller's path behind ours
            return self._judged(target[len(AUTH) :].decode("latin-1"), headers, nginx=False, keeps=keeps, body=body)
        return self._probed(path, keeps=keeps, body=body)

    def _asked(self, headers: dict[bytes, list[bytes]], usual: bytes) -> str | None:
        found = headers.get(self._uri or usual, ())
        return found[0].decode(errors="replace") if len(found) == 1 else None

    def _judged(self, uri: str | None, headers: dict[bytes, list[bytes]], *, nginx: bool, keeps: bool, body: bool) -> bytes:
        started = time.perf_counter()
        question = Question(
            headers.get(self._client, ()),
            uri,
            headers.get(self._model, ()) if self._model else (),
            headers.get(self._organization, ()) if self._organization else (),
            headers.get(self._address, ()) if self._address else (),
        )
        judged = self._judge.judge(question)
        self._count(judged, time.perf_counter() - started)
        return respond(judged.verdict, nginx=nginx, keeps=keeps, body=body)

    def _count(self, judged: Judged, took_s: float) -> None:
        self._metrics.count(judged.verdict, took_s)
        if judged.simulated is not None:
            self._metrics.simulated[judged.simulated] += 1
        if not judged.verdict.passes:
            self._refusals.add(judged.verdict, judged.client, judged.model, time.monotonic())

    def _probed(self, path: bytes, *, keeps: bool, body: bool) -> bytes:
        trouble = self._shelf.trouble
        match path:
            case b"/healthz":
                return plain(HTTPStatus.OK, b"alive\n", TEXT, keeps=keeps, body=body)
            case b"/readyz" if self._shelf.ready:
                text = "ready\n" if trouble is None else f"ready, degraded: {trouble}\n"
                return plain(HTTPStatus.OK, text.encode(), TEXT, keeps=keeps, body=body)
            case b"/readyz":
                text = f"not ready: {trouble or 'the decisions are being read'}\n"
                return plain(HTTPStatus.SERVICE_UNAVAILABLE, text.encode(), TEXT, keeps=keeps, body=body)
            case b"/metrics":
                return plain(HTTPStatus.OK, self._metrics.text(), CONTENT_TYPE, keeps=keeps, body=body)
        text = "not found; there are /auth, /auth/nginx, /readyz, /healthz and /metrics\n"
        return plain(HTTPStatus.NOT_FOUND, text.encode(), TEXT, keeps=keeps, body=body)

    def sweep(self, now_s: float) -> None:
        """Close connections on which a request came too slowly, or none for long."""
        for connection in list(self.open):
            connection.close_if_stale(now_s)


class GateProtocol(asyncio.Protocol):
    """One connection. Requests on it are answered in their order, as each is complete."""

    def __init__(self, desk: Desk, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Serve at a desk."""
        self._desk = desk
        self._monotonic = monotonic
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: dict[bytes, list[bytes]] = {}
        self._taken = 0  # bytes of the request that has begun
        self._heard_s = monotonic()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport  # type: ignore[assignment]  # of a stream
        self._desk.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # the parent's
        """End."""
        self._desk.open.discard(self)
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Take bytes; what is no HTTP, or too long, ends the connection."""
        if not self._taken:
            self._heard_s = self._monotonic()
        self._taken += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.close()  # it was answered; no other protocol is spoken here
        except httptools.HttpParserError:
            self._write(plain(HTTPStatus.BAD_REQUEST, b"this is no HTTP request\n", TEXT, keeps=False))
            self.close()
        if self._taken > LARGEST:
            self._write(plain(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"too long\n", TEXT, keeps=False))
            self.close()

    def on_message_begin(self) -> None:
        """Forget the request before."""
        self._target = b""
        self._headers = {}

    def on_url(self, url: bytes) -> None:
        """Take the target, or a part of it."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, if it matters."""
        name = name.lower()
        if name in self._desk.headers:
            self._headers.setdefault(name, []).append(value)

    def on_message_complete(self) -> None:
        """Answer."""
        self._taken = 0
        keeps = self._parser.should_keep_alive() and not self._parser.should_upgrade()
        self._write(self._desk.answer(self._target, self._headers, keeps=keeps, body=self._parser.get_method() != b"HEAD"))
        if not keeps:
            self.close()

    def pause_writing(self) -> None:
        """Give up a caller who sends requests and reads no responses."""
        if self._transport is not None:
            self._transport.abort()

    def close_if_stale(self, now_s: float) -> None:
        """Close the connection where a request came too slowly, or none for long."""
        if now_s - self._heard_s > (PATIENCE_S if self._taken else IDLE_S):
            self.close()

    def close(self) -> None:
        """Close the connection behind what was written."""
        if self._transport is not None:
            self._transport.close()

    def _write(self, response: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(response)


def _lower(name: str | None) -> bytes:
    return b"" if name is None else name.lower().encode()
