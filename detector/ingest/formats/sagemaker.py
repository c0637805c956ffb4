"""SageMaker Data Capture: a line a call, in files under ``<endpoint>/<variant>/yyyy/mm/dd/hh/``.

The model is the endpoint and variant of the path. There is no client, address or status: the client stands in
``customAttributes`` by convention only, such as ``client=acme``. Times are whole seconds. Capture may be sampled, without a
word of it in the record: set ``[ingest] sampled_rate``. Source: AWS documentation of Data Capture.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from detector.ingest.formats.call import Call, Payload
from detector.ingest.formats.decoder import Format, Record
from detector.ingest.formats.fields import mapping, object_of, text
from detector.ingest.formats.serving import Found, ServingDecoder

__all__ = ["FORMAT"]

_PATH: Final = re.compile(r"([^/]+)/([^/]+)/\d{4}/\d{2}/\d{2}/\d{2}/[^/]+$")


class SagemakerDecoder(ServingDecoder):
    """Decodes lines with ``captureData`` and ``eventMetadata``."""

    def calls(self, record: Record, document: Any) -> Iterable[Found]:
        """Return the call of one line."""
        captured, about = object_of(document, "captureData"), mapping(document.get("eventMetadata"))
        path = _PATH.search(record.topic)
        yield Call(
            id=text(about.get("eventId")) or text(about.get("inferenceId")) or "",
            time=about.get("inferenceTime"),
            model=None if path is None else f"{path[1]}/{path[2]}",
            request=_captured(captured.get("endpointInput")),
            response=_captured(captured.get("endpointOutput")),
            document=document,
        )


def _captured(part: Any) -> Payload | None:
    if not isinstance(part, Mapping) or part.get("data") is None:
        return None
    encoding = text(part.get("encoding")) or ""
    kind = (text(part.get("observedContentType")) or "").lower()
    if encoding == "BASE64":
        return Payload(part["data"], "" if "csv" not in kind else kind, base64=True)
    return Payload(part["data"], "text/csv" if encoding == "CSV" else "application/json")


def _recognize(record: Record, document: Any) -> str | None:
    del record
    found = isinstance(document, Mapping) and "captureData" in document
    return "captureData, as SageMaker Data Capture writes it" if found else None


FORMAT = Format("sagemaker", "SageMaker Data Capture", SagemakerDecoder, _recognize)
