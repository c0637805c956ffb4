"""The middleware, called as a server calls it."""

import asyncio
import json
from typing import Any

import pytest

from detector.perturb.middleware import PerturbMiddleware
from detector.perturb.modes import How
from detector.perturb.telling import Policy, Told

ANSWER = b'{"predictions":[[0.123,0.877]]}'
ASKED = [(b"content-type", b"application/json"), (b"x-detector-action", b"perturb")]


class App:
    """A model server: answers with `body` in parts, and keeps what it was asked."""

    def __init__(self, *parts: bytes, status: int = 200, headers: Any = ((b"content-type", b"application/json"),)) -> None:
        self.parts, self.status, self.headers = parts or (ANSWER,), status, list(headers)
        self.asked = b""
        self.scope: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        more = scope["type"] == "http"
        while more:
            message = await receive()
            self.asked += message.get("body", b"")
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        for at, part in enumerate(self.parts):
            await send({"type": "http.response.body", "body": part, "more_body": at < len(self.parts) - 1})


def serve(app: App, headers: Any = ASKED, body: bytes = b"{}", kind: str = "http", **options: Any) -> tuple[Any, bytes]:
    """Return the start of the response and its body."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    queue = [{"type": "http.request", "body": body[:3], "more_body": True}, {"type": "http.request", "body": body[3:]}]

    async def receive() -> Any:
        return queue.pop(0)

    policy = options.pop("policy", Policy(How("label")))
    scope = {"type": kind, "method": "POST", "path": "/v1/models/m:predict", "headers": headers, "extensions": {"x": {}}}
    asyncio.run(PerturbMiddleware(app, policy, **options)(scope, receive, send))
    return sent[0], b"".join(message.get("body", b"") for message in sent[1:])


def test_only_who_is_under_a_decision_is_perturbed() -> None:
    """Others get the very bytes; whatever case the gateway writes."""
    assert serve(App(), headers=[(b"x-detector-action", b"allow")])[1] == ANSWER
    for headers in (ASKED, [(b"X-Detector-Action", b"allow"), (b"X-DETECTOR-ACTION", b" Perturb ")]):
        start, body = serve(App(ANSWER[:4], ANSWER[4:]), headers=headers)
        assert json.loads(body) == {"predictions": [[0.0, 1.0]]}
        assert dict(start["headers"])[b"content-length"] == str(len(body)).encode()
    assert json.loads(serve(App(), headers=[], always=True)[1]) == {"predictions": [[0.0, 1.0]]}


def test_the_application_is_asked_in_clear() -> None:
    """Without compression, logprobs and ways around the body."""
    app = App()
    serve(app, [*ASKED, (b"accept-encoding", b"gzip")], b'{"x":[1],"logprobs":true}')
    assert json.loads(app.asked) == {"x": [1]}
    headers = dict(app.scope["headers"])
    assert (headers[b"accept-encoding"], headers[b"content-length"]) == (b"identity", str(len(app.asked)).encode())
    assert app.scope["extensions"] == {}


def test_streams_and_errors_pass() -> None:
    """A stream of events is not held; an error says nothing of the model."""
    stream = App(b"data: 1\n\n", b"data: 2\n\n", headers=[(b"content-type", b"text/event-stream")])
    assert serve(stream)[1] == b"data: 1\n\ndata: 2\n\n"
    assert serve(App(b"oops", status=500))[1] == b"oops"
    unread = App(b"data: 1\n\n", headers=[(b"content-type", b"text/event-stream")])
    start, _ = serve(unread, [*ASKED[1:], (b"content-type", b"application/octet-stream")])
    assert start["status"] == 403
    assert serve(unread, body='{"logprobs":true}'.encode("utf-16"))[0]["status"] == 403


@pytest.mark.parametrize(
    ("app", "reason"),
    [
        (App(b"x" * 2_000_000, b"y"), "too_large"),
        (App(b"[312.5]"), "numbers"),
        (App(headers=[(b"content-type", b"image/png")]), "not_json"),
        (App(headers=[(b"content-type", b"application/json"), (b"content-encoding", b"br")]), "encoded"),
    ],
)
def test_the_unknown_is_refused_once(app: App, reason: str) -> None:
    """One response, counted; where it shall be passed, the original."""
    policy = Policy()
    start, body = serve(app, policy=policy)
    assert (start["status"], json.loads(body)) == (403, {"error": "Answers are not available for this request."})
    assert policy.counts.snapshot() == {("refused", reason): 1}


def test_web_sockets_are_closed() -> None:
    """Nobody sees what they carry."""
    start, _ = serve(App(), kind="websocket")
    assert start == {"type": "websocket.close", "code": 1008}


def test_the_log_hears_of_both() -> None:
    """The original for the evidence, and what was told."""
    heard: list[tuple[bytes, Told]] = []
    serve(App(), observer=lambda _, original, told: heard.append((original, told)))
    ((original, told),) = heard
    assert (original, told.outcome) == (ANSWER, "told")
