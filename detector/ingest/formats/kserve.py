"""KServe's inference logger: request and response as two CloudEvents with one id, of the V1 or the V2 protocol.

They come over Kafka (a Knative broker), as dumps of HTTP, as structured JSON, or as rows of blob storage (JSON, CSV, Parquet).
The client is in a request header that the InferenceService must list under ``metadataHeaders``, in Go's canonical spelling.
Answers that are not 200 are not logged, so such a request stays without an answer. Rows of blob storage in CSV and Parquet
have no time. The id may be the caller's (header ``Ce-Id``). Source: kserve/pkg/logger.
"""

from collections.abc import Iterable
from typing import Any, Final

from msgspec.structs import replace

from detector.ingest.formats.call import Call, Half, Skip
from detector.ingest.formats.cloudevents import CloudEvent, cloud_event_of, is_in_headers, type_of
from detector.ingest.formats.decoder import Format, Record, Surroundings
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.identity import lowered
from detector.ingest.formats.jsontext import read_json
from detector.ingest.formats.serving import Found, ServingDecoder
from detector.ingest.formats.tensors import json_bytes_of

__all__ = ["FORMAT", "half_of"]

_TYPE: Final = "org.kubeflow.serving.inference."


class KserveDecoder(ServingDecoder):
    """Decodes the logger's events; the model is ``<namespace>/<inferenceservicename>``, or the latter alone."""

    def __init__(self, known: Surroundings) -> None:
        """Follow the configuration of `known`."""
        super().__init__(known)
        self._shown = self._identity.reads_documents

    def document(self, record: Record) -> Any:
        """Parse what is no body."""
        return None if is_in_headers(record) else self.parsed(record)

    def calls(self, record: Record, document: Any) -> Iterable[Found]:
        """Return one half of a call."""
        event = cloud_event_of(record, document)
        half = half_of(event)
        if half is None:
            return [Skip(f"an event of type {event.get('type')}")]
        name, space = event.get("inferenceservicename"), event.get("namespace")
        status = event.get("statuscode") or ""
        metadata = _parsed(event.get("metadata"))
        headers = lowered(metadata)
        data = event.data
        if half == "request" and data.json_bytes is None:
            data = replace(data, json_bytes=json_bytes_of(headers))
        return [
            Call(
                id=event.get("id") or "",
                time=event.get("time") or event.get("recordedtime"),
                model=f"{space}/{name}" if name and space else name,
                request=data if half == "request" else None,
                response=data if half == "response" else None,
                headers=headers,
                document={"attributes": dict(event.attributes), "metadata": metadata} if self._shown else None,
                status=int(status) if status.isdecimal() and len(status) == 3 else None,
                half=half,
                join=f"{name}/{space}/{event.get('id')}",
            )
        ]


def half_of(event: CloudEvent) -> Half | None:
    """Return which half of a call an event is by the end of its type; None where it is neither. Raises without a type."""
    kind = event.get("type")
    if kind is None:
        raise UnusableError("schema", "type: missing")
    if kind.endswith("inference.request"):
        return "request"
    return "response" if kind.endswith("inference.response") else None


def _parsed(text: str | None) -> Any:
    try:
        return None if text is None else read_json(text)
    except (ValueError, RecursionError):
        return None


def _recognize(record: Record, document: Any) -> str | None:
    if is_in_headers(record):
        kind = record.header("ce_type") or record.header("ce-type") or ""
        return "CloudEvents of KServe's logger in the Kafka headers" if kind.startswith(_TYPE) else None
    if not isinstance(document, dict):
        return None
    if {"bytes", "reqType", "inferenceService"} <= document.keys():
        return "rows of KServe's blob storage: bytes, reqType, inferenceService"
    return "CloudEvents of KServe's logger" if type_of(record, document).startswith(_TYPE) else None


FORMAT = Format(
    "kserve", "KServe's inference logger, over Kafka or HTTP or in blob storage", KserveDecoder, _recognize, joins=True
)
