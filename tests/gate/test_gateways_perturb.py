"""Gateways with the files of deploy/gateways, the real gate and the real proxy: who is perturbed, and who is not."""

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from detector.config import PerturbSection
from tests.gate.decisions import value
from tests.servers.gate import LocalGate
from tests.servers.gateways.gateway import RECIPES, LocalGateway
from tests.servers.gateways.programs import GATEWAYS
from tests.servers.own import LocalPerturb

LATER_MS = 4_000_000_000_000
FULL = [0.123, 0.877]
TOLD = [0.1, 0.9]
EVENTS, PAUSE_S = 4, 0.25


class Model(BaseHTTPRequestHandler):
    """Answers with probabilities, or a stream of events; `seen` are the verdicts that reached it."""

    protocol_version = "HTTP/1.1"
    seen: list[str | None]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.seen.append(self.headers.get("X-Detector-Action"))
        self.send_response(200)
        if self.path.endswith("/stream"):
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for number in range(EVENTS):
                event = b"data: %d\n\n" % number
                self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
                time.sleep(PAUSE_S)
            self.wfile.write(b"0\r\n\r\n")
            return
        body = json.dumps({"predictions": [FULL]}).encode()
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Says nothing when a gateway ends."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def model() -> Iterator[tuple[int, list[str | None]]]:
    """Serve a model; return its port, and the verdicts that reach it."""
    seen: list[str | None] = []
    server = Server(("127.0.0.1", 0), type("Handler", (Model,), {"seen": seen}))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield int(server.server_address[1]), seen
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def perturbed(model: tuple[int, list[str | None]]) -> Iterator[int]:
    """Run `detector perturb proxy` before the model; return its port."""
    with LocalPerturb(model[0]) as proxy:
        yield proxy.port


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run a gate that has acme perturbed; return its port."""
    file = tmp_path_factory.mktemp("decisions") / "decisions.jsonl"
    file.write_bytes(value(action="perturb", models=None, expires_ms=LATER_MS) + b"\n")
    with LocalGate({"decisions_file": str(file)}) as gate:
        gate.wait_until_ready()
        yield gate.port


@pytest.fixture(scope="module", params=GATEWAYS, ids=[kind.NAME for kind in GATEWAYS])
def gateway(
    request: pytest.FixtureRequest,
    installed: Callable[[Any], None],
    gate: int,
    model: tuple[int, list[str | None]],
    perturbed: int,
) -> Iterator[LocalGateway]:
    """Return a gateway as its recipe has it."""
    installed(request.param)
    with request.param(gate=gate, model=model[0], perturbed=perturbed) as running:
        yield running


class Response(NamedTuple):
    """What a caller got, and the seconds after which each part of the body came."""

    status: int
    body: bytes
    parts: list[float]


def ask(gateway: LocalGateway, client: str, path: str, headers: dict[str, str]) -> Response:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    try:
        began = time.monotonic()
        connection.request("POST", path, b'{"instances": [[1.0]]}', {"Authorization": f"Bearer key-of-{client}", **headers})
        response = connection.getresponse()
        parts, body = [], b""
        while part := response.read1():
            parts.append(time.monotonic() - began)
            body += part
        return Response(response.status, body, parts)
    finally:
        connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("lie", [None, "allow", "perturb", "block"])
@pytest.mark.parametrize(("client", "told", "verdict"), [("acme", TOLD, "perturb"), ("beta", FULL, "allow")])
def test_a_perturbed_client_gets_the_coarse_answer_and_others_the_models(
    gateway: LocalGateway,
    model: tuple[int, list[str | None]],
    client: str,
    told: list[float],
    verdict: str,
    lie: str | None,
) -> None:
    """Whatever the caller says of it: nobody perturbs himself, and nobody escapes."""
    model[1].clear()
    lies = {} if lie is None else {"X-Detector-Action": lie}
    response = ask(gateway, client, "/v1/models/fraud:predict", lies)
    assert response.status == 200
    assert json.loads(response.body) == {"predictions": [told]}
    assert model[1] == [verdict]


@pytest.mark.slow
def test_a_caller_cannot_have_headers_of_the_gateway_taken_for_those_of_one_hop(
    gateway: LocalGateway, model: tuple[int, list[str | None]]
) -> None:
    """A gateway may leave out what `Connection` names, also on the way to the gate."""
    model[1].clear()
    response = ask(gateway, "acme", "/v1/models/fraud:predict", {"Connection": "close, X-Client-Id, X-Detector-Action"})
    assert json.loads(response.body) == {"predictions": [TOLD]}
    assert model[1] == ["perturb"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", GATEWAYS, ids=[kind.NAME for kind in GATEWAYS])
def test_while_the_proxy_is_down_perturbed_clients_get_no_answer_in_full(
    kind: type[LocalGateway], installed: Callable[[Any], None], gate: int, model: tuple[int, list[str | None]]
) -> None:
    """What opens while the gate is down must not open then; others are answered."""
    installed(kind)
    with socket.create_server(("127.0.0.1", 0)) as unused:
        nobody = unused.getsockname()[1]
    with kind(gate=gate, model=model[0], perturbed=nobody) as running:
        assert ask(running, "acme", "/v1/models/fraud:predict", {}).status >= 500
        assert ask(running, "beta", "/v1/models/fraud:predict", {}).status == 200


@pytest.mark.slow
@pytest.mark.parametrize("client", ["acme", "beta"])
def test_events_of_a_stream_come_as_they_are_made(gateway: LocalGateway, client: str) -> None:
    """Neither the gateway nor the proxy holds them back."""
    response = ask(gateway, client, "/v1/models/chat/stream", {})
    assert response.body.count(b"data: ") == EVENTS
    assert len(response.parts) >= EVENTS
    assert response.parts[-1] - response.parts[0] > PAUSE_S


@pytest.mark.parametrize("folder", sorted({kind.RECIPE for kind in GATEWAYS}))
def test_each_recipe_names_the_port_of_the_proxy(folder: str) -> None:
    """The proxy listens there unless it is told otherwise; the header is the one that the gate sets."""
    texts = [path.read_text(encoding="utf-8") for path in (RECIPES / folder).iterdir()]
    (text,) = (text for text in texts if "detector perturb proxy" in text)
    assert re.search(rf"127\.0\.0\.1\D+{PerturbSection().port}\b", text)
    assert "x-detector-action" in text.lower()
