"""Verdicts as HTTP responses, in the two dialects that gateways understand.

``/auth/nginx``: nginx takes 2xx, 401 and 403 from an authoriser and makes an error 500 of anything else. So every refusal is a
403, and ``X-Detector-Status`` says what the caller shall get. ``/auth``: the response itself goes to the caller.

Every response names the action, ``allow`` too: only then does a gateway overwrite what the caller sent under that name. A
response of 2xx has no body, or nginx closes the connection after each.
"""

from functools import lru_cache
from http import HTTPStatus
from typing import Final

from detector.gate.verdict import Verdict

__all__ = ["plain", "respond"]

_REFUSALS: Final = {
    "throttle": "too many requests: try again later",
    "block": "access is suspended: contact support",
    "allow": "the request cannot be admitted",
}


@lru_cache(4096)
def respond(verdict: Verdict, *, nginx: bool, keeps: bool, body: bool = True) -> bytes:
    """Return the response to a sub-request; `keeps` says whether the connection stays, `body` whether one may be sent."""
    status = verdict.status
    said = b"" if verdict.passes or nginx or not body else _REFUSALS.get(verdict.action, _REFUSALS["allow"]).encode() + b"\n"
    headers = [f"X-Detector-Action: {verdict.action}"]
    if nginx:
        headers.append(f"X-Detector-Status: {status}")
        status = HTTPStatus.OK if verdict.passes else HTTPStatus.FORBIDDEN
    if verdict.retry_after:
        headers.append(f"Retry-After: {verdict.retry_after}")
    if said:
        headers.append("Content-Type: text/plain")
    return _joined(status, headers, said, keeps=keeps)


def plain(status: HTTPStatus, text: bytes, kind: str, *, keeps: bool, body: bool = True) -> bytes:
    """Return the response to a probe."""
    headers = [f"Content-Type: {kind}", "Cache-Control: no-store"]
    return _joined(status, headers, text if body else b"", keeps=keeps)


def _joined(status: int, headers: list[str], body: bytes, *, keeps: bool) -> bytes:
    reason = HTTPStatus(status).phrase if status in _KNOWN else "Refused"
    lines = [f"HTTP/1.1 {int(status)} {reason}", f"Content-Length: {len(body)}", *headers]
    if not keeps:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode() + body


_KNOWN: Final = frozenset(int(status) for status in HTTPStatus)
