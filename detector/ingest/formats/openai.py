"""Calls of the OpenAI API as a service or a proxy logs them, and the files of its batch API.

A record holds the two bodies as ``request`` and ``response`` (parsed, as text, or as objects with ``body``). A batch has its
requests in one file and its answers in another: they are joined by ``custom_id``. The API names no client but
``safety_identifier`` and ``user``, which are the caller's word, so they are not trusted: name a field of your log in
``[[ingest.clients]]``.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from detector.ingest.formats.bodies import parsed
from detector.ingest.formats.call import Call, Caller, Half, Payload
from detector.ingest.formats.decoder import Format, Record
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.fields import as_object
from detector.ingest.formats.identity import lowered, text_of
from detector.ingest.formats.prompts import prompts_of
from detector.ingest.formats.serving import Found, ServingDecoder

__all__ = ["FORMAT"]

_TIMES: Final = ("time", "timestamp", "created_at", "start_time", "started_at", "created")
_ASKED: Final = {"messages", "prompt", "input"}


class OpenAIDecoder(ServingDecoder):
    """Decodes records with ``request`` and ``response``, and lines of batch files with ``custom_id``."""

    def calls(self, record: Record, document: Any) -> Iterable[Found]:
        """Return the call of a record, or the half of one that a line of a batch file holds."""
        del record
        if not isinstance(document, dict):
            raise UnusableError("schema", "not an object")
        if _batch_half(document) is not None:
            yield _of_batch(document)
            return
        if not document.keys() & {"request", "response"}:
            raise UnusableError("schema", "request and response: missing")
        yield _of_pair(document)


def _batch_half(document: Mapping[str, Any]) -> Half | None:
    if not isinstance(document.get("custom_id"), str):
        return None
    return "request" if "body" in document else "response" if document.keys() & {"response", "error"} else None


def _of_batch(document: Mapping[str, Any]) -> Call:
    key = document["custom_id"]
    if _batch_half(document) == "request":
        return _call(document, document.get("body"), None, {}, half="request", join=key)
    answer = as_object(document.get("response"))
    return _call(document, None, answer.get("body"), answer, half="response", join=key)


def _of_pair(document: Mapping[str, Any]) -> Call:
    asked, answered = (_opened(document.get(name)) for name in ("request", "response"))
    headers = as_object(asked).get("headers")
    return _call(document, _within(asked), _within(answered), as_object(answered), headers=headers)


def _within(outer: Any) -> Any:
    """Return the body of a logged message, which is the message itself where that has none."""
    return _opened(outer["body"]) if isinstance(outer, dict) and "body" in outer else outer


def _opened(value: Any) -> Any:
    """Return the value of a body that is a text, or the text where it cannot be read: the call is refused for it later."""
    try:
        return parsed(Payload(value)) if isinstance(value, str) and value.strip() else value
    except (UnusableError, RecursionError):
        return value


def _call(
    document: Mapping[str, Any],
    asked: Any,
    answered: Any,
    answer: Mapping[str, Any],
    *,
    headers: Any = None,
    half: Half | None = None,
    join: str = "",
) -> Call:
    request, response = as_object(asked), as_object(answered)
    prompts = prompts_of(request)
    status = next(
        (code for code in (answer.get("status_code"), answer.get("status"), document.get("status_code")) if type(code) is int),
        None,
    )
    error = as_object(document.get("error")) or as_object(response.get("error"))
    latency = document.get("latency_ms", document.get("duration_ms"))
    return Call(
        id=join or text_of(document.get("id")) or text_of(response.get("id")) or "",
        time=_time(document, response),
        model=text_of(request.get("model")) or text_of(response.get("model")),
        request=Payload({"prompt": prompts}) if prompts else Payload(asked) if isinstance(asked, str) and asked else None,
        response=Payload(response or answered) if response or (isinstance(answered, str) and answered) else None,
        caller=_caller(request),
        headers=lowered(headers) or lowered(document.get("headers")),
        document=document,
        status=status,
        latency_ms=float(latency) if isinstance(latency, int | float) and 0 <= latency < 1e12 else None,
        half=half,
        join=join,
        failure=f"error {text_of(error.get('code')) or text_of(error.get('type')) or 'without a code'}" if error else None,
    )


def _time(document: Mapping[str, Any], response: Mapping[str, Any]) -> str | float | None:
    found = [document.get(name) for name in _TIMES] + [response.get("created_at"), response.get("created")]
    return next((time for time in found if isinstance(time, str | int | float) and not isinstance(time, bool)), None)


def _caller(request: Mapping[str, Any]) -> Caller:
    for name in ("safety_identifier", "user"):
        if text := text_of(request.get(name)):
            return Caller(id=text, type="app_user", trusted=False)
    return Caller()


def _recognize(record: Record, document: Any) -> str | None:
    del record
    if not isinstance(document, dict):
        return None
    half = _batch_half(document)
    if half == "request" and isinstance(document["body"], dict) and str(document.get("url", "")).startswith("/v1/"):
        return "custom_id, url and body, as requests of OpenAI's batch API have them"
    if half == "response" and {"id", "response", "error"} <= document.keys():
        return "custom_id, response and error, as answers of OpenAI's batch API have them"
    request, response = (as_object(_within(_opened(document.get(name)))) for name in ("request", "response"))
    known = (
        isinstance(request.get("model"), str) and request.keys() & _ASKED and response.keys() & {"object", "choices", "error"}
    )
    return "request with model and prompt, response with object, as the OpenAI API has them" if known else None


FORMAT = Format(
    "openai", "requests and responses of the OpenAI API, and its batch files", OpenAIDecoder, _recognize, joins=True
)
