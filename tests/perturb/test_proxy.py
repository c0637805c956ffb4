"""The proxy before a real model server: what passes, what is perturbed, and what is refused."""

import asyncio
import gzip
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from detector.errors import ConfigError
from detector.perturb import proxy
from detector.perturb.committed import Committed
from detector.perturb.keys import key_digest
from detector.perturb.marks import Marks
from detector.perturb.modes import How
from detector.perturb.proxy import Proxy
from detector.perturb.telling import Policy
from detector.perturb.tilt import Frame
from detector.perturb.upstream import Upstream

pytest.importorskip("httptools", reason="install httptools (the extra `gate`)")

ANSWER = b'{"predictions":[[0.123,0.877]]}'
LABEL = {"predictions": [[0.0, 1.0]]}


class Model(BaseHTTPRequestHandler):
    """A model server with a path for each way to answer; `seen` are the requests."""

    protocol_version = "HTTP/1.1"
    seen: list[dict[str, Any]]

    def log_message(self, *args: Any) -> None:
        del args

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.seen.append({"path": self.path, "headers": dict(self.headers), "body": body})
        if self.path == "/sse":
            self._send(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})
            for number in range(3):
                event = b"data: %d\n\n" % number
                self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
                time.sleep(0.05)
            self.wfile.write(b"0\r\n\r\n")
        elif self.path == "/chunked":
            self._send(200, {"Content-Type": "application/json", "Transfer-Encoding": "chunked"})
            for part in (ANSWER[:5], ANSWER[5:]):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.write(b"0\r\n\r\n")
        elif self.path == "/endless":
            self._send(200, {"Content-Type": "application/json", "Connection": "close"})
            self.wfile.write(ANSWER)
            self.close_connection = True
        elif self.path == "/closing":
            self._whole(200, ANSWER)
            self.close_connection = True
        elif self.path == "/gzip":
            self._whole(200, gzip.compress(ANSWER), {"Content-Encoding": "gzip"})
        elif self.path == "/large":
            self._whole(200, b'{"predictions":[' + b"[0.1,0.9]," * 200_000 + b"[0.1,0.9]]}")
        elif self.path == "/text":
            self._whole(200, b"x" * (12 << 20), {"Content-Type": "text/plain"})
        elif self.path == "/cut":
            self._send(200, {"Content-Type": "application/json", "Content-Length": "100"})
            self.wfile.write(ANSWER)
            self.close_connection = True
        elif self.path == "/error":
            self._whole(404, b'{"detail":"no such model"}')
        elif self.path == "/regression":
            self._whole(200, b'{"predictions":[312.5]}')
        else:
            self._whole(200, ANSWER, {"ETag": '"abc"', "Digest": "sha-256=xyz"})

    def do_GET(self) -> None:
        self._whole(200, b'{"name":"m","ready":true}')

    def do_HEAD(self) -> None:
        self._send(200, {"Content-Length": "31", "Content-Type": "application/json"})

    def _send(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _whole(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self._send(status, {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})})
        self.wfile.write(body)


@pytest.fixture(scope="module")
def model() -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """A model server, and what it was asked."""
    seen: list[dict[str, Any]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Seeing", (Model,), {"seen": seen}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server.server_address[1], seen
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def proxied(upstream_port: int, policy: Policy, timeout_s: float = 10.0, most: int = 256) -> Iterator[int]:
    """A proxy in a loop of its own."""
    loop = asyncio.new_event_loop()
    serving = Proxy(Upstream("127.0.0.1", upstream_port, timeout_s), policy, most)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(serving.start("127.0.0.1", 0), loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(serving.close(), loop).result(10)

        async def drain() -> None:
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(drain(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy(How("label"))


@pytest.fixture(scope="module")
def port(model: tuple[int, list[dict[str, Any]]], policy: Policy) -> Iterator[int]:
    with proxied(model[0], policy) as found:
        yield found


Asked = Callable[..., tuple[int, dict[str, str], bytes]]


@pytest.fixture
def ask(port: int) -> Iterator[Asked]:
    """Ask over one kept connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def asked(path: str, body: bytes = b"{}", method: str = "POST", **headers: str) -> tuple[int, dict[str, str], bytes]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body=None if method in {"GET", "HEAD"} else body, headers=named)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    yield asked
    connection.close()


@pytest.mark.parametrize("head", ["POST /predict HTTP/1.1\r\nConnection: close\r\n", "POST /predict HTTP/1.0\r\n"])
def test_who_wants_one_answer_only_gets_it(port: int, head: str) -> None:
    """As nginx asks unless it is told to keep connections; then the connection ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(head.encode() + b"Host: m\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
        told = b""
        while piece := connection.recv(4096):
            told += piece
    assert told.startswith(b"HTTP/1.1 200")
    assert json.loads(told.partition(b"\r\n\r\n")[2]) == LABEL


def test_answers_are_perturbed_over_one_connection(ask: Asked) -> None:
    """However they are framed; validators of the original are dropped."""
    for path in ("/predict", "/chunked", "/endless", "/closing", "/predict", "/predict"):
        status, headers, body = ask(path)
        assert (status, json.loads(body)) == (200, LABEL), path
        assert int(headers["content-length"]) == len(body)
        assert not {"etag", "digest"} & set(headers)


def test_what_is_no_answer_passes(ask: Asked) -> None:
    """Errors, metadata, and answers to HEAD."""
    assert ask("/error")[::2] == (404, b'{"detail":"no such model"}')
    assert json.loads(ask("/v2", method="GET")[2]) == {"name": "m", "ready": True}
    status, headers, body = ask("/predict", method="HEAD")
    assert (status, headers["content-length"], body) == (200, "31", b"")
    assert json.loads(ask("/predict")[2]) == LABEL


def test_a_stream_passes_without_probabilities_of_tokens(ask: Asked, model: tuple[int, list[dict[str, Any]]]) -> None:
    """Events come as they are made, and what was asked has no logprobs."""
    status, headers, body = ask("/sse", b'{"stream":true,"logprobs":true,"top_logprobs":5}', Content_Type="application/json")
    assert (status, body) == (200, b"data: 0\n\ndata: 1\n\ndata: 2\n\n")
    assert headers["transfer-encoding"] == "chunked"
    assert json.loads(model[1][-1]["body"]) == {"stream": True}
    assert json.loads(ask("/predict")[2]) == LABEL
    disguised = '{"stream":true,"logprobs":true}'
    for body, kind in ((disguised.encode(), "text/plain"), (disguised.encode("utf-16"), "application/json")):
        assert ask("/sse", body, Content_Type=kind)[0] == 403, "nobody has seen whether it asks for logprobs"
    assert json.loads(ask("/predict")[2]) == LABEL


def test_other_spellings_of_a_path_mislead_no_other_way(model: tuple[int, list[dict[str, Any]]]) -> None:
    """Else the labels of many spellings could be counted, and most of them are right."""
    policy = Policy(How("mislead", secret=b"0123456789abcdef"))
    with proxied(model[0], policy) as port:
        answers = set()
        for number in range(32):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("POST", f"/predict/{number}", b"{}", {"Content-Type": "application/json"})
            answers.add(connection.getresponse().read())
            connection.close()
    assert len(answers) == 1


def test_what_cannot_be_read_is_refused(ask: Asked, policy: Policy) -> None:
    """Too large, compressed, or no probabilities: the caller sees one and the same refusal."""
    refusals = {ask(path)[::2] for path in ("/large", "/gzip", "/regression")}
    assert refusals == {(403, b'{"error":"Answers are not available for this request."}')}
    assert {reason for (outcome, reason) in policy.counts.snapshot() if outcome == "refused"} >= {
        "too_large",
        "encoded",
        "numbers",
    }
    assert json.loads(ask("/predict")[2]) == LABEL


def test_the_request_is_asked_in_full_and_in_clear(ask: Asked, model: tuple[int, list[dict[str, Any]]]) -> None:
    """No compression, no range, no "if changed": only a whole answer in clear can be judged."""
    ask(
        "/predict",
        b'{"x": 1 }',
        Accept_Encoding="gzip",
        Range="bytes=0-3",
        If_None_Match='"abc"',
        X_Request_Id="7",
        Content_Type="application/json",
    )
    asked = model[1][-1]
    names = {name.lower(): value for name, value in asked["headers"].items()}
    assert names["accept-encoding"] == "identity"
    assert not {"range", "if-none-match"} & set(names)
    assert (names["x-request-id"], asked["body"]) == ("7", b'{"x": 1 }')


def test_a_body_that_is_cut_off_ends_the_connection(ask: Asked) -> None:
    """Half an answer is none."""
    with pytest.raises((http.client.HTTPException, OSError)):
        ask("/cut")


def _raw(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        found = b""
        while part := connection.recv(65536):
            found += part
        return found


def test_requests_in_one_packet_are_answered_in_order(port: int) -> None:
    """Pipelining, as some gateways do it."""
    one = b"POST /predict HTTP/1.1\r\nHost: m\r\nContent-Length: 2\r\n\r\n{}"
    assert _raw(port, one * 3).count(b"HTTP/1.1 200") == 3


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: m\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nHost: m\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused(port: int, data: bytes) -> None:
    """Also what two servers could read differently."""
    assert _raw(port, data).startswith(b"HTTP/1.1 400")


def test_a_request_that_is_too_long(port: int) -> None:
    """It is refused by the length that it announces, before it is sent."""
    head = b"POST /predict HTTP/1.1\r\nHost: m\r\nContent-Length: 99999999\r\n\r\n"
    assert _raw(port, head).startswith(b"HTTP/1.1 413")


def test_the_model_server_is_away() -> None:
    """The gateway is told, in time."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with proxied(silent.getsockname()[1], Policy(), timeout_s=0.3) as port:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("POST", "/predict", body=b"{}")
            assert connection.getresponse().status == 504
            connection.close()
        closed = silent.getsockname()[1]
    with proxied(closed, Policy()) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", "/predict", body=b"{}")
        assert connection.getresponse().status == 502
        connection.close()


HEAD = b"POST %s HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


def test_no_more_requests_than_the_memory_has_room_for(model: tuple[int, list[dict[str, Any]]]) -> None:
    """One too many is told so and counted, before its connection is closed; there is room when another has gone."""
    policy = Policy()
    with proxied(model[0], policy, most=1) as port, socket.create_connection(("127.0.0.1", port), timeout=10) as begun:
        begun.sendall(HEAD % (b"/predict", 2))
        until = time.monotonic() + 10
        while _posted(port) != 503:
            assert time.monotonic() < until
        assert b'outcome="refused",reason="connections"} ' in policy.counts.text()
        with socket.create_connection(("127.0.0.1", port), timeout=10) as large:
            large.sendall(HEAD % (b"/predict", 8 << 20) + b"x" * (8 << 20))
            assert large.recv(1000).startswith(b"HTTP/1.1 503")
        begun.sendall(b"{}")
        assert begun.recv(1000).startswith(b"HTTP/1.1 200")
        assert _posted(port) == 200, "a connection that waits takes no room"


def test_connections_that_wait_take_no_room(model: tuple[int, list[dict[str, Any]]]) -> None:
    """Gateways keep many of them open."""
    with proxied(model[0], Policy(), most=1) as port:
        asked = [http.client.HTTPConnection("127.0.0.1", port, timeout=10) for _ in range(5)]
        for one in asked * 2:
            one.request("POST", "/predict", body=b"{}")
            response = one.getresponse()
            response.read()
            assert response.status == 200
        for one in asked:
            one.close()


@pytest.mark.parametrize("begin", [b"POST", HEAD % (b"/predict", 1000)])
def test_a_request_that_does_not_end_gives_its_room_back(
    model: tuple[int, list[dict[str, Any]]], begin: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it sends a byte."""
    monkeypatch.setattr(proxy, "REQUEST_S", 0.5)
    with proxied(model[0], Policy(), most=1) as port, socket.create_connection(("127.0.0.1", port), timeout=0.05) as slow:
        slow.sendall(begin)
        told, until = b"", time.monotonic() + 10
        while not told:
            assert time.monotonic() < until
            with suppress(TimeoutError):
                told = slow.recv(1000)
            slow.sendall(b" ")
        assert told.startswith(b"HTTP/1.1 408")
        assert _posted(port) == 200


def test_who_does_not_read_gives_its_room_back(
    model: tuple[int, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer of some megabytes that stays where it is would else be held for ever."""
    monkeypatch.setattr(proxy, "DRAIN_S", 0.5)
    with proxied(model[0], Policy(unknown="pass", most_bytes=16 << 20), most=1) as port, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", port))
        deaf.sendall(HEAD % (b"/text", 2) + b"{}")
        until = time.monotonic() + 10
        while _posted(port) != 503:
            assert time.monotonic() < until
        while _posted(port) != 200:
            assert time.monotonic() < until


def _posted(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/predict", body=b"{}")
    status = connection.getresponse().status
    connection.close()
    return status


def test_addresses_of_model_servers() -> None:
    """Plain HTTP beside the proxy, and nothing that would be ignored silently."""
    assert Upstream.of("http://127.0.0.1:8000/") == Upstream("127.0.0.1", 8000)
    for url in ("https://m:1", "http://m/v1", "m:80", "http://m:99999"):
        with pytest.raises(ConfigError):
            Upstream.of(url)


def test_marks_in_the_proxy_refuse_nobody(model: tuple[int, list[dict[str, Any]]]) -> None:
    """In mode none answers bear their client's mark; what is long, unknown or a stream passes as it is."""
    key = b"sixteen bytes or more"
    frame = Frame(np.zeros(2), np.ones(2), 1.0)
    committed = Committed("m", "1", key_digest(key), "now", 2, 1.0, 0.0, frame, 0.02, 500)
    policy = Policy(How("none"), most_bytes=100_000, marks=Marks(committed, key, "suspects"))
    told = []
    with proxied(model[0], policy) as found:
        for client in ("acme", "acme", "other"):
            status, body = posted(found, "/predict", b'{"instances": [[1, 2]]}', client)
            assert status == 200
            told.append(json.loads(body)["predictions"][0])
        assert told[0] == told[1] != told[2]
        assert told[0] != [0.123, 0.877]
        assert posted(found, "/predict", b'{"instances": ["text"]}', "acme") == (200, ANSWER)
        assert posted(found, "/regression", b'{"instances": [[1, 2]]}', "acme") == (200, b'{"predictions":[312.5]}')
        status, body = posted(found, "/large", b'{"instances": [[1, 2]]}', "acme")
        assert (status, len(body)) == (200, 2_000_027)
        assert b"data: 2\n\n" in posted(found, "/sse", b"{}", "acme")[1]
    assert b'outcome="marked",reason=""} 3' in policy.text()


def posted(port: int, path: str, body: bytes, client: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", path, body, {"X-Client-Id": client, "Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
