"""A real LiteLLM proxy before a language model, whose calls it logs over HTTP."""

import json
from collections.abc import Mapping, Sequence
from typing import ClassVar

from tests.servers.serving.server import Serving

__all__ = ["LocalLitellm"]


class LocalLitellm(Serving):
    """Proxies the models `chat` and `embedder` to `model_url`, an API like OpenAI's, and posts its log to `log_url`.

    The log is posted twice: as arrays and as lines. Every key that begins with ``sk-`` is valid: keys of LiteLLM's own need a
    database.
    """

    NAME: ClassVar[str] = "the LiteLLM proxy"
    ONE: ClassVar[str] = "a LiteLLM proxy"
    PREFIX: ClassVar[str] = "detector-litellm-"
    PROGRAM: ClassVar[str] = "litellm"
    HEALTH: ClassVar[str] = "/health/liveliness"

    def __init__(self, model_url: str, log_url: str, log_key: str) -> None:
        """Describe a proxy; `start` (or ``with``) starts it."""
        super().__init__()
        self._model_url = model_url
        self._log_url = log_url
        self._log_key = log_key

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
            "litellm_settings": {"callbacks": ["arrays", "lines"]},
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
    return UserAPIKeyAuth(api_key=api_key)
"""
