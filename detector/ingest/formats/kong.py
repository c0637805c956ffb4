"""Logs of Kong's ``http-log``, ``file-log``, ``tcp-log`` and ``udp-log``: who asked, when, with which status; no bodies.

The consumer is the gateway's own word, so it is trusted, unless it is the one for anonymous requests. Bodies are never logged:
each query is refused and counts for its consumer. Source: kong/pdk/log.lua.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from detector.ingest.formats.call import Call, Caller
from detector.ingest.formats.decoder import Format, Record
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.fields import as_object
from detector.ingest.formats.identity import lowered, text_of
from detector.ingest.formats.serving import Found, ServingDecoder

__all__ = ["FORMAT"]

_MODEL: Final = re.compile(r"/models/([^/:?]+)")
_MARKS: Final = {"request", "latencies", "started_at"}


class KongDecoder(ServingDecoder):
    """Decodes entries with ``request``, ``latencies`` and ``consumer``; model: the path's, or the service, or the route."""

    def calls(self, record: Record, document: Any) -> Iterable[Found]:
        """Return the call of one entry, which has no bodies."""
        del record
        if not isinstance(document, dict) or not isinstance(document.get("request"), dict):
            raise UnusableError("schema", "request: missing")
        request, response, latencies = (as_object(document.get(name)) for name in ("request", "response", "latencies"))
        headers = lowered(request.get("headers"))
        status, latency, started = response.get("status"), latencies.get("request"), document.get("started_at")
        yield Call(
            id=text_of(request.get("id")) or headers.get("x-request-id", ""),
            time=started if isinstance(started, int | float | str) else None,
            model=_model(document, request),
            caller=_caller(document, headers),
            headers=headers,
            at_gateway=True,
            document=document,
            status=status if isinstance(status, int) else None,
            latency_ms=float(latency) if isinstance(latency, int | float) and 0 <= latency < 1e12 else None,
        )


def _caller(document: Mapping[str, Any], headers: Mapping[str, str]) -> Caller:
    consumer, entity = as_object(document.get("consumer")), as_object(document.get("authenticated_entity"))
    found = (
        consumer.get("id"),
        consumer.get("username"),
        consumer.get("custom_id"),
        entity.get("consumer_id"),
        entity.get("id"),
    )
    name = next((text for value in found if (text := text_of(value))), None)
    anonymous = headers.get("x-anonymous-consumer") == "true"
    kind = "unauthenticated" if anonymous else "api_key"
    ip = text_of(document.get("client_ip"))
    return Caller(ip=ip) if name is None else Caller(id=name, type=kind, trusted=not anonymous, ip=ip)


def _model(document: Mapping[str, Any], request: Mapping[str, Any]) -> str | None:
    path = next((text for name in ("uri", "url") if (text := text_of(request.get(name)))), "")
    if found := _MODEL.search(path):
        return found.group(1)
    named = [as_object(document.get(name)) for name in ("service", "route")]
    return next((text for entry in named for key in ("name", "id") if (text := text_of(entry.get(key)))), None)


def _recognize(record: Record, document: Any) -> str | None:
    del record
    if isinstance(document, dict) and document.keys() >= _MARKS and isinstance(document["latencies"], dict):
        return "request, latencies and started_at, as Kong's log plugins write them"
    return None


FORMAT = Format("kong", "entries of Kong's http-log and the other log plugins; no bodies", KongDecoder, _recognize)
