"""The hooks of LiteLLM: decided before the call, since nothing is certain to run after it."""

import asyncio
from typing import Any, NoReturn

import pytest

from detector.perturb.litellm import action_of, before_call, hook


class Refused(Exception):  # noqa: N818  # a test's own
    """What the hook raises, with status and headers."""


def refuse(status: int, headers: dict[str, str]) -> NoReturn:
    raise Refused(status, headers)


def request(action: str | None) -> dict[str, Any]:
    headers = {} if action is None else {"X-Detector-Action": action}
    return {
        "model": "m",
        "logprobs": True,
        "top_logprobs": 5,
        "extra_body": {"prompt_logprobs": 1, "seed": 7},
        "proxy_server_request": {"headers": headers},
    }


@pytest.mark.parametrize(("said", "action"), [(None, "allow"), ("Perturb", "perturb"), ("block", "block")])
def test_the_action_is_the_gateways(said: str | None, action: str) -> None:
    """Taken from the request's headers, whatever their case; without one, allow."""
    assert asyncio.run(action_of(None, request(said))) == action
    assert asyncio.run(action_of(None, {"proxy_server_request": None})) == "allow"


def test_who_is_perturbed_asks_for_no_probabilities() -> None:
    """Neither by the usual names nor by the server's own."""
    asked = before_call(request("perturb"), "perturb", refuse)
    assert set(asked) == {"model", "extra_body", "proxy_server_request"}
    assert asked["extra_body"] == {"seed": 7}
    assert before_call(request(None), "allow", refuse) == request(None)


def test_who_is_blocked_is_refused() -> None:
    """With a status that LiteLLM hands on."""
    with pytest.raises(Refused) as refused:
        before_call(request("block"), "block", refuse)
    assert refused.value.args == (403, {})


def test_the_hook_is_litellms() -> None:
    """Where LiteLLM is installed, the object is one of its callbacks."""
    pytest.importorskip("litellm", reason="install litellm[proxy]")
    with pytest.raises(Exception, match="403"):
        asyncio.run(hook().async_pre_call_hook(None, None, request("block"), "completion"))
