"""Hooks for the LiteLLM proxy: who is stopped is refused before the call, and who is perturbed gets no probabilities of tokens.

In LiteLLM's configuration, with this in `detector_hook.py` beside it:

    from detector.perturb.litellm import hook
    proxy_handler_instance = hook()

LiteLLM runs the hooks before the call for every route it knows, and those after it neither for a stream nor for what it passes
through: so all is decided before. The text of an answer is out of scope.

Blind to: whose verdict it is. The gateway before LiteLLM sets ``X-Detector-Action``; without one give `hook` a function that
asks.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NoReturn

from detector.perturb.bodies import LOGPROBS

__all__ = ["ACTION", "Verdict", "action_of", "before_call", "hook"]

ACTION: Final = "x-detector-action"
RETRY_S: Final = "60"

Verdict = Callable[[Any, Mapping[str, Any]], Awaitable[str]]
"""Takes LiteLLM's key (`user_api_key_dict`) and the request; returns the action in force, such as ``block``."""


async def action_of(key: Any, request: Mapping[str, Any]) -> str:
    """Return the action that the gateway has written into the request's headers; ``allow`` without one."""
    del key
    asked = request.get("proxy_server_request")
    headers = asked.get("headers") if isinstance(asked, Mapping) else None
    if not isinstance(headers, Mapping):
        return "allow"
    return next((str(value).strip().lower() for name, value in headers.items() if str(name).lower() == ACTION), "allow")


def before_call(request: dict[str, Any], action: str, refuse: Callable[[int, dict[str, str]], NoReturn]) -> dict[str, Any]:
    """Return the request as it may be made; `refuse` is called with a status and headers where it may not."""
    if action == "block":
        refuse(403, {})
    if action == "throttle":  # whoever sent it on was let through by the gateway, which counts: nothing is left to do
        return request
    if action == "perturb":
        for name in LOGPROBS & request.keys():
            del request[name]
        extra = request.get("extra_body")
        if isinstance(extra, dict):
            request["extra_body"] = {name: value for name, value in extra.items() if name not in LOGPROBS}
    return request


def hook(verdict: Verdict = action_of) -> Any:
    """Return the object that LiteLLM's configuration names as callback. Needs LiteLLM. `verdict` says what is in force.

    Raises ImportError where LiteLLM is not installed.
    """
    from fastapi import HTTPException  # noqa: PLC0415  # both are LiteLLM's, and only there
    from litellm.integrations.custom_logger import CustomLogger  # noqa: PLC0415

    def refuse(status: int, headers: dict[str, str]) -> NoReturn:
        raise HTTPException(status, detail={"error": "Access suspended."}, headers=headers)

    class DetectorHook(CustomLogger):  # type: ignore[misc]  # shipped without types
        async def async_pre_call_hook(self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str) -> Any:
            del cache, call_type
            return before_call(data, await verdict(user_api_key_dict, data), refuse)

    return DetectorHook()
