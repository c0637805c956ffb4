"""The files of deploy/gateways on real gateways: what a caller gets, and what a model sees."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from typer.testing import CliRunner

from detector.cli import app
from detector.contracts.decision import LADDER
from tests.gate.decisions import value
from tests.servers.gate import LocalGate
from tests.servers.gateways.gateway import RECIPES, LocalGateway
from tests.servers.gateways.programs import GATEWAYS
from tests.servers.process import free_port

pytestmark = pytest.mark.slow

LATER_MS = 4_000_000_000_000
PATH = "/v1/models/fraud:predict"


class Answer(NamedTuple):
    """What a caller got; `backend` and `seen` are the model's name and the headers that reached it."""

    status: int
    headers: dict[str, str]
    backend: str | None
    seen: dict[str, str]


class Model:
    """A model that tells which headers reached it."""

    def __init__(self, name: str) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
                seen = {key.lower(): text for key, text in self.headers.items()}
                body = json.dumps({"backend": name, "seen": seen}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = _any  # noqa: N815  # the parent's names

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """Say nothing: a gateway has ended."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Stage(NamedTuple):
    """What runs behind the gateways."""

    gate: LocalGate
    model: int
    perturbed: int


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Run a gate and two models for all gateways; the clients of the recipes are mapped to one action each by their models."""
    file = tmp_path_factory.mktemp("decisions") / "decisions.jsonl"
    lines = [value(action=action, models=(action,), revision=1, rate=0, expires_ms=LATER_MS) for action in LADDER]
    file.write_bytes(b"\n".join(lines) + b"\n")
    model, perturbed = Model("model"), Model("perturbed")
    with LocalGate({"decisions_file": str(file), "refusals_logged_per_second": 100}) as gate:
        gate.wait_until_ready()
        yield Stage(gate, model.port, perturbed.port)
    model.close()
    perturbed.close()


@pytest.fixture(scope="module", params=GATEWAYS, ids=[kind.NAME for kind in GATEWAYS])
def kind(request: pytest.FixtureRequest, installed: Callable[[Any], None]) -> type[LocalGateway]:
    """Return a kind of gateway that can be had here."""
    installed(request.param)
    found: type[LocalGateway] = request.param
    return found


@pytest.fixture(scope="module")
def start(kind: type[LocalGateway], stage: Stage) -> Iterator[Callable[..., LocalGateway]]:
    """Return a starter of that kind of gateway."""
    with ExitStack() as stack:

        def begin(gate: int | None = None, *, is_closed: bool = False) -> LocalGateway:
            port = stage.gate.port if gate is None else gate
            made = kind(gate=port, model=stage.model, perturbed=stage.perturbed, is_closed=is_closed)
            return stack.enter_context(made)

        yield begin


@pytest.fixture(scope="module")
def gateway(start: Callable[..., LocalGateway]) -> LocalGateway:
    """Return a gateway as the recipe has it."""
    return start()


def ask(gateway: LocalGateway, path: str, key: str = "key-of-acme", **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    sent = {"Authorization": f"Bearer {key}"} | {name.replace("_", "-"): text for name, text in headers.items()}
    try:
        connection.request("POST", path, b'{"instances": [[1.0]]}', sent)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    found = {name.lower(): text for name, text in response.getheaders()}
    try:
        told = json.loads(body)
        return Answer(response.status, found, told["backend"], told["seen"])
    except ValueError:
        return Answer(response.status, found, None, {})


def test_each_action(gateway: LocalGateway) -> None:
    found = {action: ask(gateway, f"/v1/models/{action}:predict") for action in LADDER}
    assert {action: (answer.status, answer.backend) for action, answer in found.items()} == {
        "allow": (200, "model"),
        "alert": (200, "model"),
        "throttle": (429, None),
        "perturb": (200, "perturbed"),
        "block": (403, None),
    }
    assert found["throttle"].headers["retry-after"] == "60"
    for action in ("allow", "alert", "perturb"):
        assert found[action].seen["x-detector-action"] == action
        assert found[action].seen["x-client-id"] == "acme"


@pytest.mark.parametrize("lie", ["allow", "perturb", "block"])
def test_a_callers_own_verdict_and_name_count_for_nothing(gateway: LocalGateway, lie: str) -> None:
    lies = {"X_Detector_Action": lie, "X_Detector_Status": "200", "X_Client_Id": "beta"}
    allowed = ask(gateway, "/v1/models/allow:predict", **lies)
    assert (allowed.backend, allowed.seen["x-detector-action"], allowed.seen["x-client-id"]) == ("model", "allow", "acme")
    perturbed = ask(gateway, "/v1/models/perturb:predict", **lies)
    assert (perturbed.backend, perturbed.seen["x-detector-action"]) == ("perturbed", "perturb")
    assert ask(gateway, "/v1/models/block:predict", **lies).status == 403


def test_a_callers_own_idea_of_the_path_counts_for_nothing(gateway: LocalGateway) -> None:
    lies = {"X_Original_URI": "/v1/models/allow:predict", "X_Forwarded_Uri": "/v1/models/allow:predict"}
    assert ask(gateway, "/v1/models/block:predict", **lies).status == 403


def test_another_client_is_not_met(gateway: LocalGateway) -> None:
    assert ask(gateway, "/v1/models/block:predict", key="key-of-beta").backend == "model"


def test_while_the_gate_is_down_callers_pass_without_a_verdict(start: Callable[..., LocalGateway]) -> None:
    gateway = start(free_port())
    began = time.monotonic()
    answer = ask(gateway, PATH, X_Detector_Action="perturb")
    assert time.monotonic() - began < 2.0, "each caller would wait for it"
    assert (answer.status, answer.backend) == (200, "model")
    assert not answer.seen.get("x-detector-action")


def test_closed_while_the_gate_is_down_callers_are_refused(start: Callable[..., LocalGateway], stage: Stage) -> None:
    assert ask(start(free_port(), is_closed=True), PATH).status in {403, 500, 502, 503}
    assert ask(start(stage.gate.port, is_closed=True), "/v1/models/allow:predict").status == 200


def test_a_gate_that_hangs_is_not_waited_for(start: Callable[..., LocalGateway]) -> None:

    with socket.create_server(("127.0.0.1", 0)) as silent:
        gateway = start(silent.getsockname()[1])
        began = time.monotonic()
        assert ask(gateway, PATH).backend == "model"
        assert time.monotonic() - began < 5.0


def test_connections_to_the_gate_are_kept(gateway: LocalGateway, stage: Stage) -> None:
    before = _connections(stage.gate.port)
    for _ in range(30):
        assert ask(gateway, "/v1/models/allow:predict").status == 200
        assert ask(gateway, "/v1/models/block:predict").status == 403
    after = _connections(stage.gate.port)
    opened = after - before
    assert after
    assert len(opened) <= 10, "each request opens one"


def _connections(port: int) -> set[str]:
    """Return the peers of connections to a port of this machine, those included that were closed a moment ago."""
    rows = [line.split()[1:3] for line in Path("/proc/net/tcp").read_text(encoding="utf-8").splitlines()[1:]]
    ours = f":{port:04X}"
    return {far for near, far in rows if near.endswith(ours)} | {near for near, far in rows if far.endswith(ours)}


def test_the_check_finds_a_gateway_that_obeys_and_one_that_does_not(
    gateway: LocalGateway, start: Callable[..., LocalGateway]
) -> None:
    credentials = ["--blocked", "Authorization: Bearer key-of-the-canary", "--allowed", "Authorization: Bearer key-of-beta"]
    url = f"http://127.0.0.1:{gateway.port}{PATH}"
    right = CliRunner().invoke(app, ["gate", "check", url, *credentials])
    assert right.exit_code == 0, right.output
    assert "WRONG" not in right.output
    swapped = CliRunner().invoke(app, ["gate", "check", url, "--blocked", credentials[3], "--allowed", credentials[1]])
    assert swapped.exit_code != 0
    blind = start(free_port())
    wrong = CliRunner().invoke(app, ["gate", "check", f"http://127.0.0.1:{blind.port}{PATH}", *credentials, "--json"])
    assert wrong.exit_code != 0
    assert [entry["right"] for entry in json.loads(wrong.stdout)] == [True, False, False, False, False]


NOT_RUN = ("traefik", "apisix", "kong", "istio")


@pytest.mark.parametrize("folder", NOT_RUN)
def test_what_did_not_run_says_so_and_can_be_read(folder: str) -> None:
    for file in (RECIPES / folder).iterdir():
        text = file.read_text(encoding="utf-8")
        assert text.startswith("# Not run here")
        assert [entry for entry in yaml.safe_load_all(text) if entry]
        assert "9478" in text


def test_every_folder_of_recipes_runs_or_says_that_it_does_not() -> None:
    assert {path.name for path in RECIPES.iterdir()} == {*NOT_RUN, *(kind.RECIPE for kind in GATEWAYS)}
