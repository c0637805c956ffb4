"""A real LiteLLM proxy before a language model, whose calls it logs over HTTP."""

import json
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from tests.servers.serving.server import Serving

__all__ = ["LocalLitellm"]

ROOT = Path(__file__).parents[3]
HOOK = "detector_hook.proxy_handler_instance"


class LocalLitellm(Serving):
    """Proxies the models `chat` and `embedder` to `model_url`, an API like OpenAI's, and posts its log to `log_url`.

    The log is posted twice: as arrays and as lines. Every key that begins with ``sk-`` is valid: keys of LiteLLM's own need a
    database. One that begins with ``sk-user-`` belongs to a user, the rest of it. With a `gate_url` each call asks the gate
    about its user, by the hook of this project.
    """

    NAME: ClassVar[str] = "the LiteLLM proxy"
    ONE: ClassVar[str] = "a LiteLLM proxy"
    PREFIX: ClassVar[str] = "detector-litellm-"
    PROGRAM: ClassVar[str] = "litellm"
    HEALTH: ClassVar[str] = "/health/liveliness"

    def __init__(self, model_url: str, log_url: str, log_key: str, gate_url: str | None = None) -> None:
        """Describe a proxy; `start` (or ``with``) starts it."""
        super().__init__()
        self._model_url = model_url
        self._log_url = log_url
        self._log_key = log_key
        self._gate_url = gate_url

    def _furnish(self) -> None:
        models = [
            {
                "model_name": name,
                "litellm_params": {"model": f"openai/{name}-1", "api_base": self._model_url, "api_key": "none"},
            }
            for name in ("chat", "embedder")
        ]
        config = {
            "model_list": models,
            "litellm_settings": {"callbacks": ["arrays", "lines", *([] if self._gate_url is None else [HOOK])]},
            "callback_settings": {
                name: {
                    "callback_type": "generic_api",
                    "endpoint": self._log_url,
                    "headers": {"Authorization": f"Bearer {self._log_key}"},
                    "log_format": log_format,
                    "max_retries": 3,
                }
                for name, log_format in (("arrays", "json_array"), ("lines", "ndjson"))
            },
            "general_settings": {"master_key": "sk-a-master-key-that-nobody-uses", "custom_auth": "gate.check"},
        }
        (self.folder / "config.yaml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
        (self.folder / "gate.py").write_text(_GATE, encoding="utf-8")
        hook = _HOOK.format(ours=[str(ROOT), sysconfig.get_path("purelib")], gate=self._gate_url)
        (self.folder / "detector_hook.py").write_text(hook, encoding="utf-8")

    def _arguments(self) -> Sequence[str]:
        place = ["--host", "127.0.0.1", "--port", str(self.port)]
        return ["-c", "from litellm import run_server; run_server()", "--config", str(self.folder / "config.yaml"), *place]

    def _variables(self) -> Mapping[str, str]:
        return {
            "DEFAULT_BATCH_SIZE": "50",  # 512 records are 6.5 MB, more than the intake and Kafka take
            "DEFAULT_FLUSH_INTERVAL_SECONDS": "1",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it asks the network for prices
        }


_GATE = """
from litellm.proxy._types import UserAPIKeyAuth


async def check(request, api_key: str) -> UserAPIKeyAuth:
    if not api_key.startswith("sk-"):
        raise PermissionError("no such key")
    _, _, user = api_key.partition("sk-user-")
    return UserAPIKeyAuth(api_key=api_key, user_id=user or None)
"""

# Our packages come behind the proxy's own, so that it keeps its versions.
_HOOK = """
import sys

sys.path += {ours!r}

from detector.perturb.litellm import ask_gate, hook

proxy_handler_instance = hook(ask_gate({gate!r}, timeout_s=20.0))
"""
