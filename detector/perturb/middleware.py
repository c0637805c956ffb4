"""ASGI middleware for model servers in Python: FastAPI, BentoML, Ray Serve, MLServer's REST side and the like.

It acts on requests that carry ``X-Detector-Action: perturb``, which the gateway sets over the caller's own value, and on those
whose answers bear a mark of ownership. All others go through untouched. Server-sent events are told as they come; the
probabilities of tokens are removed from what was asked.

    app.add_middleware(PerturbMiddleware, policy=policy)

Blind to: what the server sends over a web socket (refused, unless unknown responses are passed), and servers that callers reach
without the gateway: who can choose the header can leave it out.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import replace
from typing import Any, TypeAlias

from detector.perturb.events import Events
from detector.perturb.exchange import (
    REFUSAL,
    Header,
    asks_for_it,
    header,
    kind_of,
    request_headers,
    response_headers,
    unreadable,
)
from detector.perturb.marks import Marking
from detector.perturb.modes import How
from detector.perturb.telling import Policy, Told, is_json, request_without_logprobs, tell

__all__ = ["PerturbMiddleware"]

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
Observer: TypeAlias = Callable[[MutableMapping[str, Any], bytes, Told], None]
"""Is told the scope, the original body and what was told, for the prediction log; it must not raise."""


class PerturbMiddleware:
    """Wraps an ASGI application. `always` perturbs every answer, whatever the gateway says."""

    def __init__(self, app: App, policy: Policy, *, always: bool = False, observer: Observer | None = None) -> None:
        self._app = app
        self._policy = policy
        self._marking = replace(policy, how=How("none"))  # of who is not under a perturb decision
        self._always = always
        self._observer = observer

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request."""
        kind = scope["type"]
        headers = scope["headers"] if kind in {"http", "websocket"} else []
        marks = self._policy.marks
        perturbs = kind in {"http", "websocket"} and (self._always or asks_for_it(headers))
        policy = self._policy if perturbs else self._marking
        marked = marks is not None and kind == "http" and marks.wants(headers)
        if not marked and (not perturbs or policy.only_marks):
            await self._app(scope, receive, send)
        elif kind == "websocket":
            await self._socket(scope, receive, send)
        else:
            asked = await _asked(receive, headers, policy)
            marking = marks.begin(headers, asked.body) if marks is not None and marked and asked.whole else None
            inner = {
                **scope,
                "headers": request_headers(scope["headers"], len(asked.body) if asked.whole else None),
                "extensions": {},  # else a server may send a file, which nobody here would see
            }
            answer = _Answer(scope, send, policy, asked, self._observer, marking)
            await self._app(inner, asked.receive, answer.send)

    async def _socket(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        told = self._policy.without_answer("socket", b"")
        if told.body is not None:
            await self._app(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.close", "code": 1008})


class _Asked:
    """A request: `whole` where its body is at hand, `read` where that asks for no probabilities of tokens."""

    def __init__(self, body: bytes, receive: Receive, *, whole: bool, read: bool = False) -> None:
        self.body = body
        self.whole = whole
        self.read = read
        self._later = receive
        self._given = False

    async def receive(self) -> Message:
        if self._given:
            return await self._later()
        self._given = True
        return {"type": "http.request", "body": self.body, "more_body": not self.whole}


async def _asked(receive: Receive, headers: list[Header], policy: Policy) -> _Asked:
    """Read a JSON request to its end; other requests, and longer ones, are handed on as they come."""
    if not is_json(header(headers, b"content-type") or "application/json"):
        return _Asked(b"", receive, whole=False)
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":  # the caller is gone
            break
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if more and len(body) > policy.most_bytes:
            return _Asked(bytes(body), receive, whole=False)
    if policy.only_marks:
        return _Asked(bytes(body), receive, whole=True, read=True)
    kept = request_without_logprobs(bytes(body))
    return _Asked(bytes(body) if kept is None else kept, receive, whole=True, read=kept is not None)


class _Answer:
    """The response of the application, held until it is complete."""

    def __init__(
        self,
        scope: MutableMapping[str, Any],
        send: Send,
        policy: Policy,
        asked: _Asked,
        observer: Observer | None,
        marking: Marking | None,
    ) -> None:
        self._marking = marking
        self._scope = scope
        self._send = send
        self._policy = policy
        self._asked = asked
        self._observer = observer
        self._start: Message | None = None
        self._events: Events | None = None
        self._body = bytearray()
        self._done = False

    async def send(self, message: Message) -> None:
        """Take a message of the application."""
        if message["type"] == "http.response.start":
            handling = kind_of(self._scope["method"], message["status"], message.get("headers", ()))
            headers = message.get("headers", ())
            if handling == "tell":
                self._start = message
                return
            if handling == "stream" and self._policy.only_marks:
                handling = "as_it_is"
            if handling == "stream" and (reason := unreadable(headers, read=self._asked.read)) is not None:
                self._start = message
                await self._end(self._policy.without_answer(reason, None))
                return
            if handling == "stream":
                self._events = Events(self._policy)
                message = {**message, "headers": [entry for entry in headers if entry[0].lower() != b"content-length"]}
        if self._events is not None and message["type"] == "http.response.body":
            await self._event(message, self._events)
            return
        if self._start is None:
            await self._send(message)
            return
        if message["type"] != "http.response.body" or self._done:
            return
        self._body += message.get("body", b"")
        if len(self._body) > self._policy.most_bytes and self._policy.only_marks:
            await self._let_go(message)
        elif len(self._body) > self._policy.most_bytes:
            await self._end(self._policy.without_answer("too_large", None))
        elif not message.get("more_body", False):
            headers = self._start.get("headers", ())
            told = tell(
                bytes(self._body),
                self._policy,
                content_type=header(headers, b"content-type"),
                encoding=header(headers, b"content-encoding"),
                marking=self._marking,
            )
            await self._end(told)

    async def _let_go(self, message: Message) -> None:
        """Pass on what was held of an answer that is too long to be marked; the rest goes by as it comes."""
        start, self._start = self._start, None
        self._policy.without_answer("too_large", b"")
        await self._send(start or {})
        await self._send({**message, "body": bytes(self._body)})
        self._body.clear()

    async def _event(self, message: Message, events: Events) -> None:
        """Pass a part of a stream on as it is told."""
        if self._done:
            return
        last = not message.get("more_body", False)
        body = events.told(message.get("body", b""), last=last)
        self._done = last or events.ended
        await self._send({"type": "http.response.body", "body": body, "more_body": not self._done})

    async def _end(self, told: Told) -> None:
        self._done = True
        start = self._start or {}
        if self._observer is not None:
            self._observer(self._scope, bytes(self._body), told)
        body = REFUSAL if told.body is None else told.body
        headers = [(b"content-type", b"application/json")] if told.body is None else list(start.get("headers", ()))
        status = 403 if told.body is None else start["status"]
        self._body.clear()
        await self._send({"type": "http.response.start", "status": status, "headers": response_headers(headers, len(body))})
        await self._send({"type": "http.response.body", "body": body})
