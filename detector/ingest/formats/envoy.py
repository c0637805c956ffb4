"""Envoy's access log as JSON, with the keys of Envoy AI Gateway's documentation: no bodies.

It serves rate and identity. The client is there where the gateway writes it: ``consumer.id`` (verified), a claim, or a
header's value under a key that the operator chose, see ``[[ingest.clients]]``. Source: Envoy AI Gateway, accesslogs.md.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from detector.ingest.formats.call import Call, Caller
from detector.ingest.formats.decoder import Format, Record
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.fields import number, payload_of, status_of, text
from detector.ingest.formats.rayserve import NO_PAYLOAD
from detector.ingest.formats.serving import Found, ServingDecoder

__all__ = ["FORMAT"]

_SIGNS: Final = frozenset({"response_code", "response_flags", "duration", "start_time", "x-envoy-origin-path"})


class EnvoyDecoder(ServingDecoder):
    """Decodes access-log lines; the model is the one asked for (``gen_ai.request.model``), or the route."""

    def calls(self, record: Record, document: Any) -> Iterable[Found]:
        """Return a call, nearly always without payloads."""
        del record
        if not isinstance(document, Mapping) or "response_code" not in document:
            raise UnusableError("schema", "response_code: missing")
        verified = text(document.get("consumer.id")) or text(document.get("consumer_id"))
        address = text(document.get("downstream_remote_address"))
        status = status_of(document.get("response_code"))
        asked = payload_of(document.get("request_body"))
        refused = status is not None and not 200 <= status < 300
        yield Call(
            id=text(document.get("x-request-id")) or text(document.get("request_id")) or "",
            time=document.get("start_time"),
            model=text(document.get("gen_ai.request.model"))
            or text(document.get("gen_ai.response.model"))
            or text(document.get("route_name")),
            request=asked,
            response=payload_of(document.get("response_body")),
            caller=Caller(
                id=verified,
                trusted=True if verified else None,
                ip=None if address is None else address.rpartition(":")[0].strip("[]") or address,
                user_agent=text(document.get("user-agent") or document.get("user_agent")),
            ),
            headers={str(name).lower(): found for name, value in document.items() if (found := text(value)) is not None},
            document=document,
            status=status,
            latency_ms=number(document.get("duration")),
            failure=None if asked is not None or refused else NO_PAYLOAD,
        )


def _recognize(record: Record, document: Any) -> str | None:
    del record
    found = isinstance(document, Mapping) and "response_code" in document and len(_SIGNS & document.keys()) > 2
    return "response_code, duration and start_time, as Envoy's access log has them" if found else None


FORMAT = Format("envoy", "Envoy's access log, Envoy AI Gateway's included (no payloads)", EnvoyDecoder, _recognize)
