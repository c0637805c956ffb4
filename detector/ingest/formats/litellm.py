"""LiteLLM's ``StandardLoggingPayload``, as its callbacks write it (``generic_api``, S3, GCS and others).

The client is the gateway's key hash, which it vouches for; ``end_user`` is the caller's own word, and is used where there is
no key. Prompts and answers are there unless ``turn_off_message_logging`` is set. An embedding call of several texts is several
queries. Failed calls have no answer. Streamed calls, pass-through routes and some S3 records are missing or have placeholders.
Source: litellm/types/utils.py (1.108).
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from detector.ingest.formats.call import Call, Caller, Payload
from detector.ingest.formats.decoder import Format, Record
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.fields import mapping, number, text
from detector.ingest.formats.identity import lowered
from detector.ingest.formats.serving import Found, ServingDecoder

__all__ = ["FORMAT"]

_REDACTED: Final = "redacted-by-litellm"


class LitellmDecoder(ServingDecoder):
    """Decodes payloads; the model is ``model_group``, what the client asked for, or else ``model``."""

    def calls(self, record: Record, document: Any) -> Iterable[Found]:
        """Return the call of one payload."""
        del record
        if not isinstance(document, Mapping) or "call_type" not in document:
            raise UnusableError("schema", "call_type: missing")
        about = mapping(document.get("metadata"))
        failed = document.get("status", "success") not in (None, "success")
        error = mapping(document.get("error_information"))
        started, ended = number(document.get("startTime")), number(document.get("endTime"))
        duration = number(document.get("response_time"))
        seconds = duration if duration is not None else max(0.0, ended - started) if started and ended else None
        said = text(error.get("error_code")) or text(error.get("error_class")) or "failure"
        yield Call(
            id=text(document.get("id")) or text(document.get("litellm_call_id")) or "",
            time=document.get("startTime"),
            model=text(document.get("model_group")) or text(document.get("model")),
            version=text(document.get("model_id")),
            request=_request(document.get("messages")),
            response=_response(document.get("response")),
            caller=_caller(document, about),
            headers=lowered(about.get("requester_custom_headers")),
            document=document,
            latency_ms=None if seconds is None else seconds * 1000.0,
            failure=f"the call failed: {said}" if failed else None,
        )


def _caller(document: Mapping[str, Any], about: Mapping[str, Any]) -> Caller:
    key = text(about.get("user_api_key_hash"))
    return Caller(
        id=key or text(document.get("end_user")) or text(about.get("user_api_key_end_user_id")),
        type="api_key" if key else "user",
        trusted=key is not None,
        organization=text(about.get("user_api_key_org_id")) or text(about.get("user_api_key_team_id")),
        ip=text(document.get("requester_ip_address")) or text(about.get("requester_ip_address")),
        user_agent=text(document.get("user_agent")) or text(about.get("user_agent")),
    )


def _request(messages: Any) -> Payload | None:
    if isinstance(messages, str):
        messages = [messages]
    if not isinstance(messages, list) or not messages:
        return None
    if _REDACTED in str(messages[0])[:200]:
        raise UnusableError("no_query", "the messages are redacted: turn_off_message_logging is set in LiteLLM")
    return Payload({"messages": messages})


def _response(response: Any) -> Payload | None:
    if isinstance(response, str):
        return Payload({"predictions": [{"text": response}]}) if response else None
    return Payload(response) if isinstance(response, Mapping) and response else None


def _recognize(record: Record, document: Any) -> str | None:
    del record
    found = isinstance(document, Mapping) and {"call_type", "model", "messages"} <= document.keys()
    return "call_type, model and messages, as LiteLLM's callbacks write them" if found else None


FORMAT = Format("litellm", "LiteLLM's StandardLoggingPayload", LitellmDecoder, _recognize)
