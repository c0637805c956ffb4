"""Ray Serve's access log as JSON: who called which route, without what was asked.

It serves rate and identity only: each query counts for its client as one without an answer. Join it with a payload log, or log
in the deployment in the native format. Source: Ray Serve, "Logging" (``encoding="JSON"``).
"""

from collections.abc import Iterable
from typing import Any

from detector.ingest.formats.call import Call, Caller
from detector.ingest.formats.decoder import Format, Record
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.fields import number, status_of, text
from detector.ingest.formats.identity import lowered
from detector.ingest.formats.serving import Found, ServingDecoder

__all__ = ["FORMAT", "NO_PAYLOAD"]

NO_PAYLOAD = "this log holds no input and no answer: log bodies in the gateway or the service"


class RayserveDecoder(ServingDecoder):
    """Decodes access-log lines; the model is the application, deployment or route."""

    def calls(self, record: Record, document: Any) -> Iterable[Found]:
        """Return a call without payloads."""
        del record
        if not isinstance(document, dict) or "route" not in document:
            raise UnusableError("schema", "route: missing")
        yield Call(
            id=text(document.get("request_id")) or "",
            time=document.get("timestamp") or document.get("asctime") or document.get("timestamp_ns"),
            model=text(document.get("application")) or text(document.get("deployment")) or text(document.get("route")),
            caller=Caller(ip=text(document.get("client")) or text(document.get("client_ip"))),
            headers=lowered(document.get("headers")),
            document=document,
            status=status_of(document.get("status") or document.get("status_code")),
            latency_ms=number(document.get("latency_ms") or document.get("latency")),
            failure=NO_PAYLOAD,
        )


def _recognize(record: Record, document: Any) -> str | None:
    del record
    found = (
        isinstance(document, dict) and "route" in document and not {"replica", "deployment", "application"}.isdisjoint(document)
    )
    return "route beside replica, deployment or application, as Ray Serve logs them" if found else None


FORMAT = Format("rayserve", "Ray Serve's access log (no payloads)", RayserveDecoder, _recognize)
