"""Hooks for the LiteLLM proxy: who is stopped is refused before the call, and who is perturbed gets no probabilities of tokens.

In LiteLLM's configuration, with this in `detector_hook.py` beside it:

    from detector.perturb.litellm import ask_gate, hook
    proxy_handler_instance = hook(ask_gate("http://127.0.0.1:9478"))

LiteLLM then is the gateway: each call asks the gate about the user behind LiteLLM's key. Where another gateway stands before
it, `hook()` takes that one's verdict from ``X-Detector-Action``. LiteLLM runs the hooks before the call for every route it
knows, and those after it neither for a stream nor for what it passes through: so all is decided before. The text of an answer
is out of scope.

Blind to: users that LiteLLM does not know. The user's id must be the client's id of the prediction log.
"""

import asyncio
import http.client
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple, NoReturn
from urllib.parse import urlsplit

import structlog

from detector.errors import ConfigError, UnknownBodyError
from detector.perturb.bodies import LOGPROBS, without_logprobs

__all__ = ["ACTION", "Said", "Verdict", "ask_gate", "before_call", "hook", "said_by_header"]

ACTION: Final = "x-detector-action"

log = structlog.get_logger(__name__)


class Said(NamedTuple):
    """A verdict: the action in force, and the status to refuse with, None where the call may be made."""

    action: str = "allow"
    refused: int | None = None
    retry_after: str | None = None


Verdict = Callable[[Any, Mapping[str, Any]], Awaitable[Said]]
"""Takes LiteLLM's key (`user_api_key_dict`) and the request."""


async def said_by_header(key: Any, request: Mapping[str, Any]) -> Said:
    """Return the verdict that the gateway before LiteLLM wrote into the request's headers; ``allow`` without one."""
    del key
    asked = request.get("proxy_server_request")
    headers = asked.get("headers") if isinstance(asked, Mapping) else None
    if not isinstance(headers, Mapping):
        return Said()
    action = next((str(value).strip().lower() for name, value in headers.items() if str(name).lower() == ACTION), "allow")
    return Said(action, 403 if action == "block" else None)


def ask_gate(
    url: str,
    *,
    client_header: str = "X-Client-Id",
    model_header: str | None = None,
    timeout_s: float = 0.25,
    open_when_down: bool = True,
) -> Verdict:
    """Return what asks the gate at ``http://host:port`` about the user of each call.

    The headers are those that the gate is configured with. While the gate does not answer, calls are made, and a warning is
    logged, or refused with 503 where `open_when_down` is false. Raises `ConfigError` for another address.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ConfigError(f"gate {url!r}: write it as http://host:port")
    host, port = parts.hostname, parts.port

    def ask(client: str, model: str) -> Said:
        connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
        headers = {client_header: client} | ({} if model_header is None else {model_header: model})
        try:
            connection.request("GET", "/auth", headers={name: value.encode() for name, value in headers.items() if value})
            answer = connection.getresponse()
            action = (answer.getheader(ACTION) or "allow").strip().lower()
            return Said(action, None if answer.status < 400 else answer.status, answer.getheader("Retry-After"))
        except ValueError:  # an id that no header can hold: whoever could choose one must not pass by it
            return Said("block", 400)
        except (OSError, http.client.HTTPException) as error:
            log.warning("the gate does not answer", cause=str(error), open=open_when_down)
            return Said() if open_when_down else Said("block", 503)
        finally:
            connection.close()

    async def verdict(key: Any, request: Mapping[str, Any]) -> Said:
        client = getattr(key, "user_id", None) or getattr(key, "key_alias", None) or ""
        return await asyncio.to_thread(ask, str(client), str(request.get("model") or ""))

    return verdict


def before_call(request: dict[str, Any], said: Said, refuse: Callable[[int, dict[str, str]], NoReturn]) -> dict[str, Any]:
    """Return the request as it may be made; `refuse` is called with a status and headers where it may not."""
    if said.refused is not None:
        refuse(said.refused, {} if said.retry_after is None else {"Retry-After": said.retry_after})
    if said.action == "perturb":
        for name in LOGPROBS & request.keys():
            del request[name]
        for name in {"extra_body", "include"} & request.keys():
            try:
                request[name] = without_logprobs({name: request[name]})[name]
            except UnknownBodyError:  # too deep to look into
                del request[name]
    return request


def hook(verdict: Verdict = said_by_header) -> Any:
    """Return the object that LiteLLM's configuration names as callback. Needs LiteLLM.

    Raises ImportError where LiteLLM is not installed.
    """
    from fastapi import HTTPException  # noqa: PLC0415  # both are LiteLLM's, and only there
    from litellm.integrations.custom_logger import CustomLogger  # noqa: PLC0415

    def refuse(status: int, headers: dict[str, str]) -> NoReturn:
        raise HTTPException(status, detail={"error": "Access is limited: contact support."}, headers=headers)

    class DetectorHook(CustomLogger):  # type: ignore[misc]  # shipped without types
        async def async_pre_call_hook(self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str) -> Any:
            del cache, call_type
            return before_call(data, await verdict(user_api_key_dict, data), refuse)

    return DetectorHook()
