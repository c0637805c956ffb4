"""Seldon Core's logs: halves of calls over Kafka (v1 with plain headers, or CloudEvents), v2's pipeline topics, and documents.

v1 writes headers ``type``, ``requestid``, ``modelid`` and so on, and no time: that of the record counts. v2 writes topics
``seldon.<namespace>.<model|pipeline>.<name>.<inputs|outputs>`` and carries ``x-`` headers along; it logs pipelines only. The
request logger up to 1.5 wrote documents with request and response. No source names the client: a header ``x-...`` (v2), or the
body's ``meta.tags`` (v1). Source: seldon-core/executor/logger/worker.go (1.18.2).
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from detector.ingest.formats.call import Call, Half, Payload, Skip
from detector.ingest.formats.cloudevents import cloud_event_of, is_in_headers, type_of
from detector.ingest.formats.decoder import Format, Record
from detector.ingest.formats.identity import headers_of, text_of
from detector.ingest.formats.kserve import half_of
from detector.ingest.formats.serving import Found, ServingDecoder

__all__ = ["FORMAT"]

_TOPIC: Final = re.compile(r"^seldon\.([^.]+)\.(model|pipeline)\.(.+)\.(inputs|outputs)$")
_TYPE: Final = "io.seldon.serving."


class SeldonDecoder(ServingDecoder):
    """Decodes Seldon's records; the model is ``<inferenceservicename>/<modelid>`` (v1) or ``<namespace>/<name>`` (v2)."""

    def document(self, record: Record) -> Any:
        """Parse what is no body."""
        return None if is_in_headers(record) or _TOPIC.match(record.topic) else self.parsed(record)

    def calls(self, record: Record, document: Any) -> Iterable[Found]:
        """Return one half of a call, or of a document the whole."""
        if (topic := _TOPIC.match(record.topic)) is not None:
            return [_of_topic(record, topic)]
        if isinstance(document, dict) and isinstance(document.get("request"), dict):
            return [_of_document(document)]
        event = cloud_event_of(record, document)
        half = half_of(event)
        if half is None:
            return [Skip(f"an event of type {event.get('type')}")]
        request_id = event.get("requestid") or event.get("id") or ""
        names = (event.get("inferenceservicename"), event.get("modelid"))
        return [
            Call(
                id=request_id,
                time=event.get("time"),
                model="/".join(name for name in names if name) or None,
                request=event.data if half == "request" else None,
                response=event.data if half == "response" else None,
                document={"attributes": dict(event.attributes)},
                half=half,
                join=f"{names}/{request_id}",
            )
        ]


def _of_topic(record: Record, topic: "re.Match[str]") -> Call:
    half: Half = "request" if topic[4] == "inputs" else "response"
    headers = headers_of(record)
    request_id = headers.get("x-request-id") or (record.key or b"").decode(errors="replace")
    body = Payload(record.value)
    return Call(
        id=request_id,
        time=None,
        model=f"{topic[1]}/{topic[3]}",
        version=headers.get("x-pipeline-version"),
        request=body if half == "request" else None,
        response=body if half == "response" else None,
        headers=headers,
        document={"headers": headers},
        half=half,
        join=f"{topic[1]}/{topic[2]}/{topic[3]}/{request_id}",
    )


def _of_document(document: Mapping[str, Any]) -> Call:
    """Read a document of the request logger: one for each instance."""
    request, response = document["request"], document.get("response")
    names = {str(name).lower(): text for name, value in document.items() if (text := text_of(value))}
    where = (names.get("ce-inferenceservicename"), names.get("ce-modelid"))
    return Call(
        id=names.get("requestid") or names.get("ce-requestid") or "",
        time=names.get("@timestamp") or names.get("ce-time"),
        model="/".join(name for name in where if name) or None,
        request=_instance(request),
        response=None if not isinstance(response, dict) else _instance(response),
        document=document,
    )


def _instance(part: Mapping[str, Any]) -> Payload | None:
    found = part.get("instance", part.get("payload"))
    return None if found is None else Payload(found if isinstance(found, str | Mapping) else [found])


def _recognize(record: Record, document: Any) -> str | None:
    if _TOPIC.match(record.topic):
        return "a topic of Seldon Core 2"
    kind = record.header("type") or record.header("ce_type") or record.header("ce-type") or ""
    if record.header("ce-modelid") is not None:  # MLServer's answers name Seldon's types
        return None
    if kind.startswith(_TYPE):
        return "headers of Seldon's request logger"
    if not isinstance(document, dict):
        return None
    if "RequestId" in document and any(str(name).startswith("Ce-") for name in document):
        return "documents of seldon-request-logger"
    return "CloudEvents of Seldon" if type_of(record, document).startswith(_TYPE) else None


FORMAT = Format(
    "seldon", "Seldon Core 1 and 2: Kafka topics, CloudEvents, request logger", SeldonDecoder, _recognize, joins=True
)
