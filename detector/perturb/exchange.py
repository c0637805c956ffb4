"""The exchange: what is changed of a request and of a response besides the body, wherever the perturbation stands."""

from collections.abc import Iterable
from typing import Final, Literal

__all__ = ["ACTION", "REFUSAL", "asks_for_it", "kind_of", "request_headers", "response_headers", "unreadable"]

Header = tuple[bytes, bytes]
Handling = Literal["as_it_is", "stream", "tell"]

ACTION: Final = b"x-detector-action"
"""Header that a gateway sets from its verdict, over the caller's own."""

REFUSAL: Final = b'{"error":"Answers are not available for this request."}'

# A compressed answer cannot be read, a part of one cannot be judged, and "not modified" would confirm an earlier, full one.
_NOT_ASKED: Final = frozenset({b"accept-encoding", b"range", b"if-range", b"if-none-match", b"if-modified-since"})
# They describe the body that the server wrote; a validator would also tell two originals of one coarse answer apart.
_NOT_TOLD: Final = frozenset(
    {b"content-length", b"etag", b"last-modified", b"digest", b"content-digest", b"repr-digest", b"content-md5"}
)


def asks_for_it(headers: Iterable[Header]) -> bool:
    """Tell whether the gateway's verdict is to perturb. One such value among several is enough."""
    return any(name.lower() == ACTION and value.strip().lower() == b"perturb" for name, value in headers)


def request_headers(headers: Iterable[Header], length: int | None = None) -> list[Header]:
    """Return the headers to ask the model server with; `length` is that of the body, where it was changed."""
    left_out = _NOT_ASKED if length is None else _NOT_ASKED | {b"content-length", b"transfer-encoding"}
    kept = [(name, value) for name, value in headers if name.lower() not in left_out]
    kept.append((b"accept-encoding", b"identity"))
    return kept if length is None else [*kept, (b"content-length", str(length).encode())]


def response_headers(headers: Iterable[Header], length: int) -> list[Header]:
    """Return the headers of a response whose body was written anew."""
    kept = [(name, value) for name, value in headers if name.lower() not in _NOT_TOLD]
    return [*kept, (b"content-length", str(length).encode())]


def header(headers: Iterable[Header], wanted: bytes) -> str:
    """Return the value of a header, empty where it is missing."""
    return next((value.decode("latin-1") for name, value in headers if name.lower() == wanted), "")


def kind_of(method: str, status: int, headers: Iterable[Header]) -> Handling:
    """Tell what becomes of a response: errors and empty ones stay, events of a stream are told one by one, others whole.

    >>> kind_of("POST", 200, [(b"Content-Type", b"text/event-stream")]), kind_of("POST", 404, [])
    ('stream', 'as_it_is')
    """
    if method == "HEAD" or status in {204, 304} or status < 200 or status >= 400:
        return "as_it_is"
    return "stream" if header(headers, b"content-type").lower().startswith("text/event-stream") else "tell"


def unreadable(headers: Iterable[Header], *, read: bool) -> str | None:
    """Return why a stream of events cannot be told, None where it can; `read` says whether the request was read."""
    if not read:  # nobody has seen whether it asks for probabilities of tokens
        return "unread_request"
    return None if header(headers, b"content-encoding").strip().lower() in {"", "identity"} else "encoded"
