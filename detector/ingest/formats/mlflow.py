"""Records with the bodies of MLflow's scoring protocol, as a wrapper around ``/invocations`` writes them.

``mlflow models serve`` writes no payload log of its own; whoever logs beside it has a request with one of
``dataframe_records``, ``dataframe_split``, ``instances`` or ``inputs`` and an answer with ``predictions``. Other fields are
found by the names that are usual. The client has no usual name: ``[[ingest.clients]]``. Source: MLflow, "Inference Server
Specification".
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from detector.ingest.formats.call import Call, Caller
from detector.ingest.formats.decoder import Format, Record
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.fields import mapping, number, payload_of, status_of, text
from detector.ingest.formats.identity import lowered
from detector.ingest.formats.serving import Found, ServingDecoder

__all__ = ["FORMAT"]

_KEYS: Final = frozenset({"dataframe_records", "dataframe_split", "instances", "inputs"})


def _first(document: Mapping[str, Any], *names: str) -> Any:
    return next((document[name] for name in names if document.get(name) is not None), None)


class MlflowDecoder(ServingDecoder):
    """Decodes objects with a request and a response, or with the keys of both at the top."""

    def calls(self, record: Record, document: Any) -> Iterable[Found]:
        """Return the call of one record."""
        del record
        if not isinstance(document, dict):
            raise UnusableError("schema", "not an object")
        request = _first(document, "request", "input", "request_body")
        response = _first(document, "response", "output", "response_body")
        if request is None and not _KEYS.isdisjoint(document):
            request = {key: document[key] for key in _KEYS & document.keys()}
        if response is None and "predictions" in document:
            response = {"predictions": document["predictions"]}
        yield Call(
            id=text(_first(document, "request_id", "id", "client_request_id")) or "",
            time=_first(document, "timestamp", "time", "timestamp_ms", "request_time"),
            model=text(_first(document, "model", "model_name", "endpoint")),
            version=text(document.get("model_version")),
            request=payload_of(request),
            response=payload_of(response),
            caller=Caller(id=text(_first(document, "client", "client_id", "user", "user_id"))),
            headers=lowered(document.get("headers")),
            document=document,
            status=status_of(_first(document, "status", "status_code")),
            latency_ms=number(document.get("latency_ms")),
        )


def _recognize(record: Record, document: Any) -> str | None:
    del record
    if not isinstance(document, dict) or "databricks_request_id" in document:
        return None
    asked = document if not _KEYS.isdisjoint(document) else mapping(_first(document, "request", "input", "request_body"))
    told = document if "predictions" in document else mapping(_first(document, "response", "output", "response_body"))
    keys = sorted(_KEYS & asked.keys())
    return f"{keys[0]} and predictions, MLflow's protocol" if keys and "predictions" in told else None


FORMAT = Format("mlflow", "records with MLflow's request and answer", MlflowDecoder, _recognize)
