"""Kong's log plugins (``http-log``, ``file-log``, ``tcp-log``): requests with their consumer, without bodies.

They serve rate, refusals and identity; for detection the bodies must come from somewhere else, such as the server behind. The
consumer is the gateway's own word. A ``request.body`` and ``response.body`` that a plugin of your own adds are used.
Source: kong/pdk/log.lua.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from detector.ingest.formats.call import Call, Caller
from detector.ingest.formats.decoder import Format, Record
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.fields import mapping, number, payload_of, status_of, text
from detector.ingest.formats.identity import lowered
from detector.ingest.formats.rayserve import NO_PAYLOAD
from detector.ingest.formats.serving import Found, ServingDecoder

__all__ = ["FORMAT"]


class KongDecoder(ServingDecoder):
    """Decodes entries with ``request``, ``response`` and ``latencies``; the model is the service's name, or the route's."""

    def calls(self, record: Record, document: Any) -> Iterable[Found]:
        """Return the call of one entry."""
        del record
        if not isinstance(document, Mapping) or not isinstance(document.get("request"), Mapping):
            raise UnusableError("schema", "request: missing")
        request, response = document["request"], mapping(document.get("response"))
        consumer, entity = mapping(document.get("consumer")), mapping(document.get("authenticated_entity"))
        client = (
            text(consumer.get("username"))
            or text(consumer.get("custom_id"))
            or text(consumer.get("id"))
            or text(entity.get("consumer_id"))
        )
        headers = lowered(request.get("headers"))
        status = status_of(response.get("status"))
        asked = payload_of(request.get("body"), headers.get("content-type", ""))
        refused = status is not None and not 200 <= status < 300
        yield Call(
            id=text(request.get("id")) or headers.get("x-request-id", ""),
            time=document.get("started_at"),
            model=text(mapping(document.get("service")).get("name")) or text(mapping(document.get("route")).get("name")),
            request=asked,
            response=payload_of(response.get("body"), lowered(response.get("headers")).get("content-type", "")),
            caller=Caller(
                id=client,
                type="api_key" if client else None,
                trusted=True if client else None,
                ip=text(document.get("client_ip")),
            ),
            headers=headers,
            document=document,
            status=status,
            latency_ms=number(mapping(document.get("latencies")).get("request")),
            failure=None if asked is not None or refused else NO_PAYLOAD,
        )


def _recognize(record: Record, document: Any) -> str | None:
    del record
    found = isinstance(document, Mapping) and {"request", "response", "latencies"} <= document.keys()
    return "request, response and latencies, as Kong's log plugins write them" if found else None


FORMAT = Format("kong", "Kong's log plugins (no payloads)", KongDecoder, _recognize)
