"""Logs that APISIX's ``kafka-logger`` (or ``http-logger``, ``file-logger``) writes: request and response in one entry.

Entries come in arrays where ``batch_max_size`` is not 1. Bodies are there with ``include_req_body`` and ``include_resp_body``,
and are cut at 512 KiB. The consumer is the gateway's own word, so it is trusted. Source: apisix/utils/log-util.lua.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from detector.ingest.formats.call import Call, Caller, Payload
from detector.ingest.formats.decoder import Format, Record
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.identity import lowered
from detector.ingest.formats.serving import Found, ServingDecoder

__all__ = ["FORMAT"]

_MODEL: Final = re.compile(r"/models/([^/:?]+)")


class ApisixDecoder(ServingDecoder):
    """Decodes entries with ``request``, ``response`` and ``consumer``; model: ``service_id``, the path's or ``route_id``."""

    def calls(self, record: Record, document: Any) -> Iterable[Found]:
        """Return the call of one entry."""
        del record
        if not isinstance(document, dict) or not isinstance(document.get("request"), dict):
            raise UnusableError("schema", "request: missing")
        request, response = document["request"], document.get("response")
        response = response if isinstance(response, dict) else {}
        headers = lowered(request.get("headers"))
        consumer = document.get("consumer")
        name = consumer.get("username") if isinstance(consumer, dict) else None
        status = response.get("status")
        latency = document.get("latency")
        yield Call(
            id=headers.get("x-request-id", ""),
            time=document.get("start_time"),
            model=_model(document, request),
            request=_payload(request.get("body"), headers.get("content-type", "")),
            response=_payload(response.get("body"), lowered(response.get("headers")).get("content-type", "")),
            caller=Caller(
                id=name if isinstance(name, str) else None,
                type="api_key" if name else None,
                trusted=True if name else None,
                ip=_text(document.get("client_ip")),
            ),
            headers=headers,
            at_gateway=True,
            document=document,
            status=status if isinstance(status, int) else None,
            latency_ms=float(latency) if isinstance(latency, int | float) and 0 <= latency < 1e12 else None,
        )


def _payload(body: Any, content_type: str) -> Payload | None:
    return None if body is None or body == "" else Payload(body, content_type)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _model(document: Mapping[str, Any], request: Mapping[str, Any]) -> str | None:
    found = _MODEL.search(str(request.get("uri", "")))
    for name in (document.get("service_id"), found and found.group(1), document.get("route_id")):
        if isinstance(name, str) and name:
            return name
    return None


def _recognize(record: Record, document: Any) -> str | None:
    del record
    if isinstance(document, dict) and {"request", "response", "server"} <= document.keys() and "start_time" in document:
        return "request, response, server and start_time, as APISIX's loggers write them"
    return None


FORMAT = Format("apisix", "entries of APISIX's kafka-logger, http-logger and file-logger", ApisixDecoder, _recognize)
