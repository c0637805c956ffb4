"""Access logs of Envoy, Envoy Gateway and Envoy AI Gateway in JSON: address, model, time and status; no bodies.

The operator chooses the keys; known are those of the documentation. The client is ``consumer.id``, where the gateway is told to
log it; another key is named in ``[[ingest.clients]]``. Each query is refused, since there is nothing to detect with, and counts
for its client.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from detector.ingest.formats.call import Call, Caller
from detector.ingest.formats.decoder import Format, Record
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.identity import text_of
from detector.ingest.formats.serving import Found, ServingDecoder

__all__ = ["FORMAT"]

_MODEL: Final = re.compile(r"/models/([^/:?]+)")
_PATHS: Final = ("x-envoy-origin-path", "x-envoy-original-path", "path", ":path")
_MARKS: Final = {"start_time", "response_code", "response_flags"}


class EnvoyDecoder(ServingDecoder):
    """Decodes lines with ``start_time`` and ``response_code``; model: what was asked for, the path's, or the route."""

    def calls(self, record: Record, document: Any) -> Iterable[Found]:
        """Return the call of one line, which has no bodies."""
        del record
        if not isinstance(document, dict) or not document.keys() & {"response_code", "x-request-id"}:
            raise UnusableError("schema", "response_code: missing")
        known = {name: text for name, value in document.items() if (text := text_of(value)) and text != "-"}
        status, duration = known.get("response_code", ""), known.get("duration", "")
        headers = {name.lower(): text for name, text in known.items() if name == "user-agent" or name.startswith("x-")}
        answered = int(status) if status.isdecimal() and len(status) == 3 else None
        consumer = known.get("consumer.id")
        forwarded = "x-forwarded-for" in known
        yield Call(
            id=known.get("x-request-id", ""),
            time=known.get("start_time"),
            model=_model(known),
            caller=Caller(
                id=consumer,
                type="api_key" if consumer else None,
                ip=None if forwarded else _address(known.get("downstream_remote_address")),
                user_agent=known.get("user-agent"),
            ),
            headers=headers,
            document=document,
            status=answered,
            latency_ms=float(duration) if duration.isdecimal() and len(duration) < 12 else None,
            failure=f"status {status}: no answer" if status == "0" else None,
        )


def _model(known: Mapping[str, str]) -> str | None:
    for name in ("gen_ai.request.model", "gen_ai.response.model"):
        if name in known:
            return known[name]
    for name in _PATHS:
        if found := _MODEL.search(known.get(name, "")):
            return found.group(1)
    return known.get("route_name")


def _address(text: str | None) -> str | None:
    """Return an address without its port.

    >>> _address("203.0.113.7:51820"), _address("[2001:db8::7]:51820")
    ('203.0.113.7', '2001:db8::7')
    """
    if text is None:
        return None
    return text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0] if text.count(":") == 1 else text


def _recognize(record: Record, document: Any) -> str | None:
    del record
    if isinstance(document, dict) and document.keys() >= _MARKS:
        return "start_time, response_code and response_flags, as Envoy's access log has them"
    return None


FORMAT = Format("envoy", "access log of Envoy and Envoy AI Gateway in JSON; no bodies", EnvoyDecoder, _recognize)
