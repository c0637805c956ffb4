"""MLServer with Kafka as its transport: requests in one topic and answers in another, joined by the record's key.

MLServer has no payload log of its own; before KServe or Seldon, use those formats. Topics are ``mlserver-input`` and
``mlserver-output`` unless configured otherwise, so which half a record is shows in its body, too. The client is in a header
that the producer sets. Source: mlserver/kafka (1.7.1).
"""

from collections.abc import Iterable
from typing import Any

from detector.ingest.formats.call import Call, Payload
from detector.ingest.formats.decoder import Format, Record
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.identity import headers_of, text_of
from detector.ingest.formats.serving import Found, ServingDecoder

__all__ = ["FORMAT"]


class MlserverDecoder(ServingDecoder):
    """Decodes V2 bodies with the request id as key; the model is ``mlserver-model`` or the answer's ``model_name``."""

    def calls(self, record: Record, document: Any) -> Iterable[Found]:
        """Return one half of a call."""
        if not isinstance(document, dict) or not isinstance(document.get("inputs", document.get("outputs")), list):
            raise UnusableError("schema", "neither a V2 request with inputs nor an answer with outputs")
        headers = headers_of(record)
        key = (record.key or b"").decode(errors="replace") or headers.get("ce-requestid") or headers.get("ce-id") or ""
        asked = "inputs" in document
        call_id = key or text_of(document.get("id")) or ""
        yield Call(
            id=call_id,
            time=None,
            model=headers.get("mlserver-model") or headers.get("ce-modelid") or text_of(document.get("model_name")),
            version=headers.get("mlserver-version") or text_of(document.get("model_version")),
            request=Payload(document) if asked else None,
            response=None if asked else Payload(document),
            headers=headers,
            document=document,
            half="request" if asked else "response",
            join=call_id,
        )


def _recognize(record: Record, document: Any) -> str | None:
    if not isinstance(document, dict):
        return None
    v2 = isinstance(document.get("inputs"), list) or isinstance(document.get("outputs"), list)
    named = (
        record.header("mlserver-model") or record.header("ce-modelid") or record.topic in {"mlserver-input", "mlserver-output"}
    )
    return "V2 bodies with MLServer's headers" if v2 and named else None


FORMAT = Format("mlserver", "MLServer's Kafka transport: input and output topics", MlserverDecoder, _recognize, joins=True)
