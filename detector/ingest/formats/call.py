"""A call of a model server: one request with its answer, as a log holds it, before it is taken apart into events.

Every format of a real server is read into calls, see `serving`. One call may hold many instances (a batch).
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from detector.ingest.batch import Sender

__all__ = ["Call", "Caller", "Half", "Kept", "Payload", "Skip"]

Half: TypeAlias = Literal["request", "response"]


class Payload(msgspec.Struct, frozen=True):
    """The body of a request or an answer.

    `content` is bytes or text as it was sent, or the value that it means where the log holds it parsed (lists, objects,
    arrays of numpy). `content_type` says how text is read: JSON where it does not say, and CSV where it says so or JSON fails.
    `base64` says that the content is so encoded. `cut` says that the log kept its beginning only. `json_bytes` is how many
    bytes of a V2 body are JSON (header ``inference-header-content-length``) where tensors follow in binary.
    """

    content: Any
    content_type: str = ""
    base64: bool = False
    cut: bool = False
    json_bytes: int | None = None


class Caller(msgspec.Struct, frozen=True):
    """Who asked, as the format itself says; all None where it does not. `trusted` is about `id`: who vouches for it."""

    id: str | None = None
    type: str | None = None
    trusted: bool | None = None
    organization: str | None = None
    ip: str | None = None
    user_agent: str | None = None

    @property
    def sender(self) -> Sender:
        """What goes with the id into alerts."""
        return Sender(self.type, self.trusted, self.organization, self.ip, self.user_agent)


class Call(msgspec.Struct, frozen=True):
    """A request and its answer, or one half of them where `half` says so: the other half has the same `join` key.

    `time` is as logged: text, or a number in the unit that its size tells. `headers` are those of the request, with names in
    lower case, and `document` is the record, parsed: what configured rules look in for the client. `status` is that of HTTP.
    `sampled_rate` is how many calls this one stands for. `at_gateway` says that the log is the gateway's own: it names the
    caller itself, and the headers are what the caller sent.
    """

    id: str
    time: str | float | None
    model: str | None
    request: Payload | None = None
    response: Payload | None = None
    version: str | None = None
    caller: Caller = msgspec.field(default_factory=Caller)
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    document: Any = None
    status: int | None = None
    latency_ms: float | None = None
    sampled_rate: float | None = None
    half: Half | None = None
    join: str = ""
    at_gateway: bool = False
    failure: str | None = None
    """Why there is no answer, where the log says so."""


class Skip(msgspec.Struct, frozen=True):
    """A record that is no query at all and is meant to be there: other spans, schema lines, feedback. It is left out."""

    why: str


class Kept(msgspec.Struct, frozen=True):
    """A part of a call that the decoder keeps until the rest has come."""
