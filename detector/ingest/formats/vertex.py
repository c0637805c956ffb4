"""Vertex AI's request-response logging: rows of a BigQuery table, exported as JSON or Parquet.

``request_payload`` and ``response_payload`` are lists of JSON texts, one for each instance, or hold one body. There is no
principal, session or address in the table; the audit log has one. Rows are sampled as configured, without a word of it in the
row: set ``[ingest] sampled_rate``. Source: the table's schema.
"""

import json
from collections.abc import Iterable
from typing import Any

from detector.ingest.formats.call import Call, Payload
from detector.ingest.formats.decoder import Format, Record
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.fields import mapping, number, text
from detector.ingest.formats.serving import Found, ServingDecoder

__all__ = ["FORMAT"]


class VertexDecoder(ServingDecoder):
    """Decodes rows with ``request_payload``; the model is ``model``, or ``<endpoint>/<deployed_model_id>``."""

    def calls(self, record: Record, document: Any) -> Iterable[Found]:
        """Return the call of one row."""
        del record
        if not isinstance(document, dict) or not {"request_payload", "full_request"} & document.keys():
            raise UnusableError("schema", "request_payload: missing")
        names = (text(document.get("endpoint")), text(document.get("deployed_model_id")))
        latency = number(mapping(document.get("metadata")).get("request_latency"))
        yield Call(
            id=text(document.get("request_id")) or "",
            time=document.get("logging_time"),
            model=text(document.get("model")) or "/".join(name for name in names if name) or None,
            version=text(document.get("model_version")),
            request=_payload(document.get("request_payload"), document.get("full_request"), "instances"),
            response=_payload(document.get("response_payload"), document.get("full_response"), "predictions"),
            document=document,
            latency_ms=latency,
        )


def _payload(entries: Any, whole: Any, key: str) -> Payload | None:
    """Return the body that the entries are the instances of, or that the only one of them is."""
    if isinstance(entries, str):
        entries = [entries]
    if not isinstance(entries, list) or not entries:
        return None if whole in (None, "") else Payload(whole)
    values = [_value(entry) for entry in entries]
    if len(values) == 1 and isinstance(values[0], dict) and key in values[0]:
        return Payload(values[0])
    return Payload({key: values})


def _value(entry: Any) -> Any:
    if not isinstance(entry, str):
        return entry
    try:
        return json.loads(entry)
    except (ValueError, RecursionError):
        return entry


def _recognize(record: Record, document: Any) -> str | None:
    del record
    found = isinstance(document, dict) and {"request_payload", "response_payload"} <= document.keys()
    return "columns request_payload and response_payload" if found else None


FORMAT = Format("vertex", "Vertex AI request-response logging (BigQuery)", VertexDecoder, _recognize)
