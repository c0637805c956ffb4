"""SageMaker Data Capture: a line a call, in files under ``<endpoint>/<variant>/yyyy/mm/dd/hh/``.

The model is the endpoint and variant of the path. There is no client, address or status: the client stands in
``customAttributes`` by convention only, such as ``client=acme``. Times are whole seconds. Capture may be sampled, without a
word of it in the record: set ``[ingest] sampled_rate``. Source: AWS documentation of Data Capture.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

from detector.ingest.formats.call import Call, Payload
from detector.ingest.formats.decoder import Format, Record, Surroundings
from detector.ingest.formats.fields import mapping, object_of, text
from detector.ingest.formats.serving import Found, ServingDecoder

__all__ = ["FORMAT"]

_PATH: Final = re.compile(r"([^/]+)/([^/]+)/\d{4}/\d{2}/\d{2}/\d{2}/[^/]+$")
_LONGEST_PATH: Final = 512  # characters: what is looked at of a path, at its end


class SagemakerDecoder(ServingDecoder):
    """Decodes lines with ``captureData`` and ``eventMetadata``."""

    def __init__(self, known: Surroundings) -> None:
        """Follow the configuration of `known`."""
        super().__init__(known)
        self._topic = ""  # of the last record, and its model: a file is read record by record
        self._endpoint: str | None = None

    def calls(self, record: Record, document: Any) -> Iterable[Found]:
        """Return the call of one line."""
        captured, about = object_of(document, "captureData"), mapping(document.get("eventMetadata"))
        yield Call(
            id=text(about.get("eventId")) or text(about.get("inferenceId")) or "",
            time=about.get("inferenceTime"),
            model=self._model_of(record.topic),
            request=_captured(captured.get("endpointInput")),
            response=_captured(captured.get("endpointOutput")),
            document=document,
        )

    def _model_of(self, topic: str) -> str | None:
        if topic != self._topic:
            path = _PATH.search(topic[-_LONGEST_PATH:])
            self._topic, self._endpoint = topic, None if path is None else f"{path[1]}/{path[2]}"
        return self._endpoint


def _captured(part: Any) -> Payload | None:
    if not isinstance(part, dict) or part.get("data") is None:
        return None
    encoding = text(part.get("encoding")) or ""
    kind = (text(part.get("observedContentType")) or "").lower()
    if encoding == "BASE64":
        return Payload(part["data"], "" if "csv" not in kind else kind, base64=True)
    return Payload(part["data"], "text/csv" if encoding == "CSV" else "application/json")


def _recognize(record: Record, document: Any) -> str | None:
    del record
    found = isinstance(document, dict) and "captureData" in document
    return "captureData, as SageMaker Data Capture writes it" if found else None


FORMAT = Format("sagemaker", "SageMaker Data Capture", SagemakerDecoder, _recognize)
