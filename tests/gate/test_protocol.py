"""The gate on a real socket: what gateways send, and what only a hostile or broken peer sends."""

import asyncio
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from detector.clock import HeldClock
from detector.config import GateSection
from detector.gate import protocol
from detector.gate.identity import Identity
from detector.gate.judge import Judge
from detector.gate.metrics import GateMetrics
from detector.gate.protocol import Desk, GateProtocol
from detector.gate.responses import respond
from detector.gate.shelf import Shelf
from detector.gate.verdict import Verdict
from tests.gate.decisions import NOW_MS, value


@contextmanager
def serving(**settings: Any) -> Iterator[tuple[int, Desk]]:
    section = GateSection(**settings)
    shelf = Shelf()
    for client in ("block", "perturb", "throttle"):
        shelf.take(shelf.store, None, value(client, client, rate=0), NOW_MS)
    shelf.put(shelf.store)
    judge = Judge(section, shelf, Identity(section), HeldClock(NOW_MS))
    desk = Desk(section, judge, shelf, GateMetrics(lambda: shelf.gauges(knows_addresses=False)))
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(lambda: GateProtocol(desk), "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1], desk
    finally:
        loop.call_soon_threadsafe(server.close)
        for connection in list(desk.open):
            loop.call_soon_threadsafe(connection.close)
        loop.call_soon_threadsafe(lambda: loop.call_later(0.05, loop.stop))
        thread.join()
        loop.close()


@pytest.fixture
def gate() -> Iterator[Callable[..., tuple[int, Desk]]]:
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(serving(**settings))


def exchange(port: int, *pieces: bytes) -> bytes:
    """Send pieces, one after the other; return all that comes until the peer closes or is silent for half a second."""
    with socket.create_connection(("127.0.0.1", port), timeout=0.5) as peer:
        heard = b""
        try:
            for piece in pieces:
                peer.sendall(piece)
            while part := peer.recv(65536):
                heard += part
        except TimeoutError:
            return heard + b"(open)"
        except OSError:
            return heard + b"(reset)"
        return heard


def request(
    client: str = "acme", target: str = "/auth/v1/models/fraud:predict", extra: str = "", version: str = "1.1"
) -> bytes:
    return f"GET {target} HTTP/{version}\r\nHost: gate\r\nx-client-ID: {client}\r\n{extra}\r\n".encode()


def test_the_table_of_dialects(gate: Callable[..., tuple[int, Desk]]) -> None:
    port, _ = gate()
    original = "X-Original-URI: /v1/models/fraud:predict\r\n"
    for client, status, said in (
        ("acme", 200, "allow"),
        ("perturb", 200, "perturb"),
        ("throttle", 429, "throttle"),
        ("block", 403, "block"),
    ):
        other = exchange(port, request(client)).decode()
        nginx = exchange(port, request(client, "/auth/nginx", original)).decode()
        assert other.startswith(f"HTTP/1.1 {status} ")
        assert f"X-Detector-Action: {said}\r\n" in other
        assert nginx.startswith(f"HTTP/1.1 {200 if status == 200 else 403} ")
        assert f"X-Detector-Action: {said}\r\n" in nginx
        assert f"X-Detector-Status: {status}\r\n" in nginx
        assert nginx.endswith("Content-Length: 0\r\n" + nginx.partition("Content-Length: 0\r\n")[2])
        assert "\r\n\r\n(open)" in nginx, "nginx must get no body"
        assert ("Retry-After: 60" in other) == ("Retry-After: 60" in nginx) == (client == "throttle")


def test_the_path_comes_from_the_header_of_the_dialect(gate: Callable[..., tuple[int, Desk]]) -> None:
    port, _ = gate()
    elsewhere, here = "/v1/models/other:predict", "/v1/models/fraud:predict"
    assert b"403" in exchange(port, request("block", "/auth", f"X-Forwarded-Uri: {here}\r\n"))
    assert b"200 OK" in exchange(port, request("block", "/auth", f"X-Forwarded-Uri: {elsewhere}\r\n"))
    assert b"403" in exchange(port, request("block", "/auth/nginx", f"X-Forwarded-Uri: {elsewhere}\r\n"))
    assert b"403" in exchange(port, request("block", "/auth", f"X-Forwarded-Uri: {elsewhere}\r\n" * 2))
    own, _ = gate(uri_header="X-Path")
    assert b"200 OK" in exchange(own, request("block", "/auth", f"X-Path: {elsewhere}\r\nX-Forwarded-Uri: {here}\r\n"))


def test_a_path_in_raw_utf8_names_the_same_model_as_one_that_is_escaped(gate: Callable[..., tuple[int, Desk]]) -> None:
    port, desk = gate()
    desk._shelf.take(desk._shelf.store, None, value("ops", "block", models=("prüfung",)), NOW_MS)
    for path in ("/v1/models/prüfung:predict", "/v1/models/pr%C3%BCfung:predict"):
        assert b"403" in exchange(port, request("ops", "/auth/nginx", f"X-Original-URI: {path}\r\n"))
        assert b"403" in exchange(port, request("ops", "/auth", f"X-Forwarded-Uri: {path}\r\n"))
    broken = request("ops", "/auth", "X-Forwarded-Uri: /v1/models/pr@fung:predict\r\n").replace(b"@", b"\xff")
    assert b"403" in exchange(port, broken), "what is no UTF-8 names no model, so every decision holds"


def test_a_connection_takes_many_requests_and_answers_in_order(gate: Callable[..., tuple[int, Desk]]) -> None:
    port, _ = gate()
    heard = exchange(port, request() + request("block") + request())
    assert [heard.count(b"HTTP/1.1 200"), heard.count(b"HTTP/1.1 403")] == [2, 1]
    assert heard.index(b"403") > heard.index(b"200")
    byte_by_byte = [bytes([each]) for each in request("block")]
    assert exchange(port, *byte_by_byte).startswith(b"HTTP/1.1 403")


def test_a_connection_closes_where_the_peer_asks_for_it(gate: Callable[..., tuple[int, Desk]]) -> None:
    port, _ = gate()
    assert not exchange(port, request(version="1.0")).endswith(b"(open)")
    closed = exchange(port, request(extra="Connection: close\r\n"))
    assert b"Connection: close" in closed
    assert not closed.endswith(b"(open)")
    upgrade = exchange(port, request("block", extra="Connection: Upgrade\r\nUpgrade: websocket\r\n"))
    assert upgrade.startswith(b"HTTP/1.1 403")
    assert not upgrade.endswith(b"(open)")


def test_a_body_is_passed_over(gate: Callable[..., tuple[int, Desk]]) -> None:
    port, _ = gate()
    post = b"POST /auth HTTP/1.1\r\nHost: g\r\nX-Client-Id: block\r\nContent-Length: 5\r\n\r\nhello"
    chunked = b"POST /auth HTTP/1.1\r\nHost: g\r\nX-Client-Id: block\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    assert exchange(port, post + chunked + request()).count(b"HTTP/1.1 403") == 2
    head = exchange(port, b"HEAD /auth HTTP/1.1\r\nHost: g\r\nX-Client-Id: block\r\n\r\n")
    assert head.endswith(b"\r\n\r\n(open)")


def test_what_is_no_http_or_too_long_ends_the_connection(gate: Callable[..., tuple[int, Desk]]) -> None:
    port, _ = gate()
    assert exchange(port, b"\x16\x03\x01 hello\r\n\r\n").startswith(b"HTTP/1.1 400")
    endless = exchange(port, b"GET /auth HTTP/1.1\r\nHost: g\r\nX-A: ", *[b"a" * 65536] * 20)
    assert endless.startswith(b"HTTP/1.1 413") or endless == b"(reset)"


def test_header_twice_and_probes(gate: Callable[..., tuple[int, Desk]]) -> None:
    port, _ = gate()
    assert exchange(port, request(extra="X-Client-Id: other\r\n")).startswith(b"HTTP/1.1 400")
    assert b"\r\n\r\nready\n" in exchange(port, request(target="/readyz"))
    assert b"alive" in exchange(port, request(target="/healthz"))
    assert exchange(port, request(target="/other")).startswith(b"HTTP/1.1 404")
    metrics = exchange(port, request(target="/metrics")).decode()
    assert 'detector_gate_requests_total{action="allow",cause="repeated_identity",result="refused"} 1.0' in metrics
    assert "acme" not in metrics


def test_stale_connections_are_closed(gate: Callable[..., tuple[int, Desk]], monkeypatch: pytest.MonkeyPatch) -> None:
    port, desk = gate()
    monkeypatch.setattr(protocol, "PATIENCE_S", -1.0)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as peer:
        peer.sendall(b"GET /auth HTT")
        while not (begun := [connection for connection in list(desk.open) if connection._taken]):
            pass
        loop = getattr(begun[0]._transport, "_loop")  # noqa: B009
        loop.call_soon_threadsafe(desk.sweep, 1e12)
        assert peer.recv(10) == b""


@pytest.mark.parametrize("status", [200, 400, 401, 403, 429, 451, 499, 503])
def test_every_response_names_the_action_and_only_refusals_have_a_body(status: int) -> None:
    verdict = Verdict("block", status, "decision")
    for nginx in (True, False):
        text = respond(verdict, nginx=nginx, keeps=True)
        assert b"X-Detector-Action: block\r\n" in text
        assert text.endswith(b"\r\n\r\n") == (nginx or status == 200)


def test_every_metric_is_explained(gate: Callable[..., tuple[int, Desk]]) -> None:
    """The page about gateways names each metric that there is, and no other."""
    port, _ = gate()
    text = exchange(port, request(target="/metrics")).decode()
    found = set(re.findall(r"^# TYPE (detector_\w+)", text, re.MULTILINE)) | {"detector_gate_matched_decisions"}
    page = (Path(__file__).parents[2] / "docs" / "pages" / "gateways.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(detector_gate_\w+)`", page)) == found


def test_failures_open_are_counted_from_zero(gate: Callable[..., tuple[int, Desk]]) -> None:
    """Prometheus sees no increase of a counter that begins with its first request."""
    port, _ = gate()
    text = exchange(port, request(target="/metrics")).decode()
    for cause in ("unready", "no_identity", "repeated_identity", "unknown_identity"):
        assert f'detector_gate_requests_total{{action="allow",cause="{cause}",result="passed"}} 0.0' in text
