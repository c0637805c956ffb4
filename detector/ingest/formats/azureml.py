"""Azure ML's data collector: inputs and outputs as structured CloudEvents in two collections, joined by ``correlationid``.

There is no client in it. A payload of more than 256 KB is replaced by a path. Source: Microsoft, "Collect production data from
models deployed for real-time inferencing".
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from detector.ingest.formats.call import Call, Half, Payload, Skip
from detector.ingest.formats.decoder import Format, Record
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.fields import text
from detector.ingest.formats.serving import Found, ServingDecoder

__all__ = ["FORMAT"]

_SOURCE: Final = re.compile(r"onlineEndpoints/([^/]+)(?:/deployments/([^/]+))?", re.IGNORECASE)
_HALVES: Final[Mapping[str, Half]] = {"inputs": "request", "outputs": "response"}


class AzuremlDecoder(ServingDecoder):
    """Decodes the collector's events; the model is ``<endpoint>/<deployment>`` of their source."""

    def calls(self, record: Record, document: Any) -> Iterable[Found]:
        """Return one half of a call; ``inputs_outputs`` is a whole one."""
        del record
        kind = text(document.get("type")) if isinstance(document, dict) else None
        if kind is None or not kind.startswith("azureml.inference."):
            raise UnusableError("schema", "type: not of azureml.inference")
        key = text(document.get("correlationid")) or text(document.get("id")) or ""
        half = _HALVES.get(kind.rpartition(".")[2])
        if half is None:
            return [Skip(f"an event of type {kind}")]
        source = _SOURCE.search(text(document.get("source")) or "")
        data = document.get("data")
        body = Payload(data, cut=isinstance(data, str) and "://" in data) if data is not None else None
        return [
            Call(
                id=key,
                time=document.get("time"),
                model=None if source is None else "/".join(name for name in source.groups() if name),
                version=text(document.get("modelversion")),
                request=body if half == "request" else None,
                response=body if half == "response" else None,
                document=document,
                half=half,
                join=key,
            )
        ]


def _recognize(record: Record, document: Any) -> str | None:
    del record
    kind = document.get("type") if isinstance(document, dict) else None
    return "events of type azureml.inference" if isinstance(kind, str) and kind.startswith("azureml.inference.") else None


FORMAT = Format("azureml", "Azure Machine Learning's data collector", AzuremlDecoder, _recognize, joins=True)
