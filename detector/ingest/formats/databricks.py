"""Databricks inference tables: a row a request, exported as JSON or Parquet; all three kinds of table.

The client is ``requester`` in tables of the AI gateway, and empty for route-optimised endpoints; the legacy table has none,
only ``client_request_id``, which the caller chooses. Rows may be sampled (``sampling_fraction``), and bodies left out for
their size (``logging_error_codes``). Source: column comments of the tables.
"""

from collections.abc import Iterable
from typing import Any

from detector.ingest.formats.call import Call, Caller
from detector.ingest.formats.decoder import Format, Record
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.fields import mapping, number, payload_of, status_of, text, weight_of
from detector.ingest.formats.serving import Found, ServingDecoder

__all__ = ["FORMAT"]


class DatabricksDecoder(ServingDecoder):
    """Decodes rows with ``request`` and ``response``; the model is that of ``request_metadata``, or the served entity."""

    def calls(self, record: Record, document: Any) -> Iterable[Found]:
        """Return the call of one row."""
        del record
        if not isinstance(document, dict) or "request" not in document:
            raise UnusableError("schema", "request: missing")
        about = mapping(document.get("request_metadata"))
        requester = text(document.get("requester"))
        lost = str(document.get("logging_error_codes") or "")
        yield Call(
            id=text(document.get("databricks_request_id")) or "",
            time=document.get("request_time") or document.get("timestamp_ms") or document.get("timestamp"),
            model=text(about.get("model_name"))
            or text(document.get("served_entity_name"))
            or text(document.get("served_entity_id"))
            or text(about.get("endpoint_name")),
            version=text(about.get("model_version")),
            request=payload_of(document["request"], cut="MAX_REQUEST" in lost),
            response=payload_of(document.get("response"), cut="MAX_RESPONSE" in lost),
            caller=Caller(id=requester, type="service_account" if requester else None, trusted=True if requester else None),
            document=document,
            status=status_of(document.get("status_code")),
            latency_ms=number(document.get("execution_duration_ms", document.get("execution_time_ms"))),
            sampled_rate=weight_of(document.get("sampling_fraction")),
        )


def _recognize(record: Record, document: Any) -> str | None:
    del record
    found = isinstance(document, dict) and {"databricks_request_id", "request"} <= document.keys()
    return "columns databricks_request_id and request" if found else None


FORMAT = Format("databricks", "Databricks inference tables", DatabricksDecoder, _recognize)
