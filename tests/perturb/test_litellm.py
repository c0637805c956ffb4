"""The hooks of LiteLLM: decided before the call, since nothing is certain to run after it."""

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from detector.errors import ConfigError
from detector.perturb.litellm import Said, ask_gate, before_call, hook, said_by_header


class Refused(Exception):  # noqa: N818  # a test's own
    """What the hook raises, with status and headers."""


def refuse(status: int, headers: dict[str, str]) -> NoReturn:
    raise Refused(status, headers)


def request(action: str | None) -> dict[str, Any]:
    headers = {} if action is None else {"X-Detector-Action": action}
    return {
        "model": "m",
        "logprobs": True,
        "top_logprobs": 5,
        "extra_body": {"prompt_logprobs": 1, "seed": 7},
        "include": ["message.output_text.logprobs"],
        "proxy_server_request": {"headers": headers},
    }


class Gate(BaseHTTPRequestHandler):
    """Answers as the gate does on /auth."""

    def log_message(self, *args: object) -> None:
        del args

    def do_GET(self) -> None:
        client = self.headers.get("X-Client-Id")
        action = {"thief": "block", "hasty": "throttle", "suspect": "perturb"}.get(str(client), "allow")
        self.send_response({"block": 403, "throttle": 429}.get(action, 200))
        self.send_header("X-Detector-Action", action)
        self.send_header("Content-Length", "0")
        if action == "throttle":
            self.send_header("Retry-After", "12")
        self.end_headers()


@pytest.fixture(scope="module")
def gate() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Gate)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def ask(url: str, user: str | None, **options: Any) -> Said:
    async def asked() -> Said:
        return await ask_gate(url, timeout_s=10.0, **options)(SimpleNamespace(user_id=user), {"model": "m"})

    return asyncio.run(asked())


@pytest.mark.parametrize(
    ("said", "found"),
    [(None, Said()), ("Perturb", Said("perturb")), ("block", Said("block", 403)), ("throttle", Said("throttle"))],
)
def test_the_action_is_the_gateways(said: str | None, found: Said) -> None:
    """Taken from the request's headers, whatever their case; without one, allow. The gateway itself keeps the rate."""
    assert asyncio.run(said_by_header(None, request(said))) == found
    assert asyncio.run(said_by_header(None, {"proxy_server_request": None})) == Said()


def test_the_gate_is_asked_about_the_user(gate: str) -> None:
    """Its status is what the caller gets."""
    assert ask(gate, "thief") == Said("block", 403)
    assert ask(gate, "hasty") == Said("throttle", 429, "12")
    assert ask(gate, "suspect") == Said("perturb")
    assert ask(gate, None) == Said()


def test_while_the_gate_is_away() -> None:
    """Calls are made, unless the operator wants them refused; an id that no header can hold does not pass unseen."""
    closed = "http://127.0.0.1:9"
    assert ask(closed, "thief") == Said()
    assert ask(closed, "thief", open_when_down=False) == Said("block", 503)
    assert ask(closed, "evil\r\nX-Client-Id: other") == Said("block", 400)
    with pytest.raises(ConfigError):
        ask_gate("gate:9478")


def test_who_is_perturbed_asks_for_no_probabilities() -> None:
    """Neither by the usual names nor by the server's own."""
    asked = before_call(request("perturb"), Said("perturb"), refuse)
    assert set(asked) == {"model", "extra_body", "include", "proxy_server_request"}
    assert asked["include"] == []
    assert asked["extra_body"] == {"seed": 7}
    assert before_call(request(None), Said(), refuse) == request(None)


def test_who_is_stopped_is_refused() -> None:
    """With a status that LiteLLM hands on, and when to come back."""
    for said, headers in ((Said("block", 403), {}), (Said("throttle", 429, "12"), {"Retry-After": "12"})):
        with pytest.raises(Refused) as refused:
            before_call(request("block"), said, refuse)
        assert refused.value.args == (said.refused, headers)


def test_the_hook_is_litellms() -> None:
    """Where LiteLLM is installed, the object is one of its callbacks."""
    pytest.importorskip("litellm", reason="install litellm[proxy]")
    with pytest.raises(Exception, match="403"):
        asyncio.run(hook().async_pre_call_hook(None, None, request("block"), "completion"))
