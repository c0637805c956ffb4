"""Settings of output perturbation."""

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from detector.config.section import Section, read_secret


class PerturbSection(Section):
    """What clients under a perturb decision are told, for the middleware and for `detector perturb proxy`."""

    mode: Literal[
        "top1",
        "label",
        "mislead",
        "none",
        "rounded",
        "reverse_sigmoid",
        "gaussian_noise",
        "high_confidence",
        "class_labels",
    ] = Field(
        "top1",
        description="label and rounded confidence, label only, wrong labels, or none (answers are only marked, see "
        "`[ownership]`); names of ART stand for the nearest",
    )
    decimals: int = Field(1, ge=0, le=2, description="of the confidence")
    allow_wrong_answers: bool = Field(default=False, description="must be true for mode mislead: half of its labels are wrong")
    key: SecretStr | None = Field(None, description="secret that decides which labels mislead; only mode mislead needs it")
    key_file: Path | None = Field(None, description="file that holds the key, instead of it")
    unknown: Literal["refuse", "pass"] = Field("refuse", description="what becomes of a response that is not known")
    max_body_bytes: int = Field(1_048_576, ge=1024, le=1 << 30, description="longer responses are refused")
    upstream: str | None = Field(None, description="of the proxy: the model server, http://host:port")
    host: str = Field("127.0.0.1", min_length=1, description="of the proxy: address to listen on")
    port: int = Field(8081, ge=0, le=65535, description="of the proxy: its port; 0: any")
    metrics_port: int = Field(-1, ge=-1, le=65535, description="of the proxy: port of /metrics; 0: any; -1: none")
    max_connections: int = Field(
        256, ge=1, le=65_536, description="requests that the proxy serves at a time: more are refused with 503"
    )
    timeout_seconds: float = Field(60.0, gt=0, le=3600, description="of the proxy: how long the model server may be silent")

    @field_validator("upstream")
    @classmethod
    def _address(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "http://localhost")
        if parts.scheme != "http" or not parts.hostname or parts.username is not None or parts.path not in {"", "/"}:
            raise ValueError("write it as http://host:port: the proxy stands beside the model server")
        return url

    @model_validator(mode="after")
    def _opted_in(self) -> "PerturbSection":
        if self.key is not None and self.key_file is not None:
            raise ValueError("give key or key_file, not both")
        if self.mode == "mislead" and not self.allow_wrong_answers:
            raise ValueError("mode mislead gives wrong answers: set allow_wrong_answers = true if that is meant")
        return self

    def secret(self) -> str | None:
        """Return the key, from the setting or the file. Raises `ConfigError` when the file cannot be read."""
        return read_secret(self.key, self.key_file, "the key of perturbation")
