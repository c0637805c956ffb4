"""Records with requests and answers of OpenAI's API: chat completions, completions, responses and embeddings, and batch files.

Whoever keeps them (a proxy, a wrapper, an evaluation) has the request's body beside the answer's. The field ``user`` of a
request is the caller's own word: it is the client where nothing better is configured, and not trusted. Batch files have only
one half each. Source: OpenAI's API reference.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from detector.ingest.formats.call import Call, Caller, Half, Payload
from detector.ingest.formats.decoder import Format, Record
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.fields import mapping, number, status_of, text
from detector.ingest.formats.identity import lowered
from detector.ingest.formats.serving import Found, ServingDecoder

__all__ = ["FORMAT"]

_ASKED: Final = ("messages", "prompt", "input")
_TOLD: Final = ("choices", "output", "data")


class OpenaiDecoder(ServingDecoder):
    """Decodes objects with ``request`` and ``response``, and lines of batch files, which are joined by ``custom_id``."""

    def calls(self, record: Record, document: Any) -> Iterable[Found]:
        """Return the call of one record."""
        del record
        if not isinstance(document, Mapping):
            raise UnusableError("schema", "not an object")
        half: Half | None = None
        if "custom_id" in document:
            half = "request" if "body" in document else "response"
        asked = mapping(document.get("request", document.get("body", {})))
        told = mapping(document.get("response", {}))
        asked, told = mapping(asked.get("body")) or asked, mapping(told.get("body")) or told
        error = document.get("error") or told.get("error")
        headers = lowered(document.get("headers") or mapping(document.get("request")).get("headers"))
        yield Call(
            id=text(document.get("custom_id")) or text(document.get("id")) or text(told.get("id")) or "",
            time=_time(document, told),
            model=text(asked.get("model")) or text(told.get("model")),
            version=text(told.get("system_fingerprint")),
            request=_request(asked) if half != "response" else None,
            response=_response(told) if half != "request" else None,
            caller=Caller(id=text(asked.get("user")) or text(asked.get("safety_identifier")), type="user", trusted=False),
            headers=headers,
            document=document,
            status=status_of(document.get("status") or mapping(document.get("response")).get("status_code")),
            latency_ms=number(document.get("latency_ms")),
            half=half,
            join=text(document.get("custom_id")) or "",
            failure=f"the call failed: {text(mapping(error).get('code')) or 'error'}" if error else None,
        )


def _time(document: Mapping[str, Any], told: Mapping[str, Any]) -> Any:
    names = ("timestamp", "time", "created_at", "start_time", "created")
    return (
        next((document[name] for name in names if document.get(name) is not None), None)
        or told.get("created")
        or told.get("created_at")
    )


def _request(asked: Mapping[str, Any]) -> Payload | None:
    found = next((name for name in _ASKED if asked.get(name)), None)
    if found is None:
        return None
    return Payload({"messages" if isinstance(asked[found], list) else "prompt": asked[found]})


def _response(told: Mapping[str, Any]) -> Payload | None:
    if "choices" in told or "data" in told:
        return Payload(told)
    output = told.get("output")
    if isinstance(output, list):  # of the responses API: items, of which messages have content
        said = [
            part
            for item in output
            if isinstance(item, Mapping) and isinstance(item.get("content"), list)
            for part in item["content"]
        ]
        texts = [part["text"] for part in said if isinstance(part, Mapping) and isinstance(part.get("text"), str)]
        return Payload({"predictions": [{"text": "".join(texts)}]}) if texts else None
    return Payload({"predictions": [{"text": output}]}) if isinstance(output, str) and output else None


def _recognize(record: Record, document: Any) -> str | None:
    del record
    if not isinstance(document, Mapping) or "call_type" in document:
        return None
    asked, told = mapping(document.get("request", document.get("body"))), mapping(document.get("response"))
    asked, told = mapping(asked.get("body")) or asked, mapping(told.get("body")) or told
    if "custom_id" in document and ("model" in asked or "choices" in told or "data" in told or "output" in told):
        return "custom_id, as OpenAI's batch files have it"
    both = "model" in asked and not set(_ASKED).isdisjoint(asked) and not set(_TOLD).isdisjoint(told)
    return "request with model and messages, response with choices: OpenAI's API" if both else None


FORMAT = Format("openai", "requests and answers of OpenAI's API", OpenaiDecoder, _recognize)
