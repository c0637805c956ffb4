"""Logs of the LiteLLM proxy: its ``StandardLoggingPayload``, one in a record or an array of them.

The hash of the API key, ``metadata.user_api_key_hash``, is the gateway's own word, so it is trusted. ``end_user`` is what the
caller wrote into the field ``user``: it names the client only where there is no key, and is not trusted. Messages and answers
are missing where ``turn_off_message_logging`` is on: such a call has nothing to detect with and is refused as no query.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from detector.ingest.formats.call import Call, Caller, Payload
from detector.ingest.formats.decoder import Format, Record
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.identity import lowered, text_of
from detector.ingest.formats.prompts import prompts_of, said
from detector.ingest.formats.serving import Found, ServingDecoder

__all__ = ["FORMAT"]

_MARKS: Final = {"call_type", "startTime"}
_REDACTED: Final = "redacted-by-litellm"


class LitellmDecoder(ServingDecoder):
    """Decodes entries with ``call_type``, ``messages`` and ``response``; model: what was asked for, ``model_group``."""

    def calls(self, record: Record, document: Any) -> Iterable[Found]:
        """Return the call of one entry."""
        del record
        if not isinstance(document, dict) or not document.keys() >= _MARKS:
            raise UnusableError("schema", "call_type and startTime: missing")
        known = document.get("metadata")
        metadata = known if isinstance(known, dict) else {}
        yield Call(
            id=text_of(document.get("id")) or text_of(document.get("litellm_call_id")) or "",
            time=_time(document.get("startTime")),
            model=text_of(document.get("model_group")) or text_of(document.get("model")),
            request=_request(document),
            response=_response(document.get("response")),
            caller=_caller(document, metadata),
            headers=_headers(metadata),
            document=document,
            status=_status(document),
            latency_ms=_latency(document),
            failure=_failure(document),
        )


def _time(value: Any) -> str | float | None:
    return value if isinstance(value, str | float | int) and not isinstance(value, bool) else None


def _caller(document: Mapping[str, Any], metadata: Mapping[str, Any]) -> Caller:
    key = text_of(metadata.get("user_api_key_hash"))
    end_user = text_of(document.get("end_user")) or text_of(metadata.get("user_api_key_end_user_id"))
    return Caller(
        id=key or end_user,
        type="api_key" if key else "app_user" if end_user else None,
        trusted=True if key else False if end_user else None,
        organization=text_of(metadata.get("user_api_key_org_id")) or text_of(metadata.get("user_api_key_team_id")),
        ip=text_of(metadata.get("requester_ip_address")) or text_of(document.get("requester_ip_address")),
        user_agent=text_of(metadata.get("user_agent")) or text_of(document.get("user_agent")),
    )


def _headers(metadata: Mapping[str, Any]) -> dict[str, str]:
    requester = metadata.get("requester_metadata")
    of_request = requester.get("headers") if isinstance(requester, dict) else None
    return lowered(of_request) | lowered(metadata.get("requester_custom_headers"))


def _request(document: Mapping[str, Any]) -> Payload | None:
    """Return what was asked; a call that embeds several texts has an entry in ``messages`` for each."""
    messages = document.get("messages")
    if not isinstance(messages, list) or not any(isinstance(entry, dict) for entry in messages):
        prompts = prompts_of({"prompt": messages})
    elif "embedding" in str(document.get("call_type")):
        prompts = [said(entry) for entry in messages]
    else:
        prompts = prompts_of({"messages": messages})
    if not prompts or all(_REDACTED in prompt for prompt in prompts):
        return None
    return Payload({"prompt": prompts})


def _response(response: Any) -> Payload | None:
    if not isinstance(response, Mapping | str | list) or not response or response == _REDACTED:
        return None
    return Payload({"choices": [{"text": response}]} if isinstance(response, str) else response)


def _status(document: Mapping[str, Any]) -> int | None:
    error = document.get("error_information")
    code = text_of(error.get("error_code")) if isinstance(error, dict) else None
    return int(code) if code is not None and len(code) == 3 and code.isdecimal() else None


def _failure(document: Mapping[str, Any]) -> str | None:
    if document.get("status") != "failure":
        return None
    error = document.get("error_information")
    known: Sequence[Any] = (error.get("error_class"), error.get("error_code")) if isinstance(error, dict) else ()
    return " ".join(["the call failed", *(text for value in known if (text := text_of(value)))])


def _latency(document: Mapping[str, Any]) -> float | None:
    seconds, start, end = (document.get(name) for name in ("response_time", "startTime", "endTime"))
    if not isinstance(seconds, int | float) and isinstance(start, int | float) and isinstance(end, int | float):
        seconds = end - start
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds < 1e9:
        return None
    return round(float(seconds) * 1000.0, 3)


def _recognize(record: Record, document: Any) -> str | None:
    del record
    if isinstance(document, dict) and document.keys() >= _MARKS | {"status"} and "model" in document:
        return "call_type, startTime, status and model, as LiteLLM's StandardLoggingPayload has them"
    return None


FORMAT = Format("litellm", "StandardLoggingPayload of the LiteLLM proxy, single or in arrays", LitellmDecoder, _recognize)
