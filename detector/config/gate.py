"""Settings of the gate, which answers a gateway's authorisation sub-requests."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from detector.config.section import Section

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")

Answer = Literal["allow", "refuse"]
Rate = Annotated[float, Field(gt=0, le=1_000_000)]


def header_name(name: str | None) -> str | None:
    """Return the name of a header, or None. Raises ValueError for what is none."""
    if name is not None and _HEADER.fullmatch(name) is None:
        raise ValueError("is no name of an HTTP header")
    return name


class GateSection(Section):
    """What `detector gate` listens on, how it knows clients and models, and what it does when it cannot know."""

    host: str = Field("127.0.0.1", min_length=1, description="address to listen on; only gateways should reach it")
    port: int = Field(9478, ge=0, le=65535, description="its port, also of /readyz, /healthz and /metrics; 0: any")
    decisions_file: Path | None = Field(
        None, description="follow this decisions.jsonl of `detector run LOG --out` instead of Kafka"
    )
    snapshot_file: Path | None = Field(
        None, description="keep the decisions here, so that a restarted gate has them while Kafka is away"
    )
    snapshot_seconds: float = Field(60.0, ge=1, le=86_400, description="between two snapshots, where something changed")
    client_header: str = Field("X-Client-Id", description="header with the client; the gateway sets it from the verified login")
    identity: Literal["header", "sha256", "mapping"] = Field(
        "header", description="the header's value is the client, the client's SHA-256 is, or `mapping_file` says whose it is"
    )
    mapping_file: Path | None = Field(None, description="JSON object: a credential or sha256:HEX of it, and its client")
    missing_identity: Answer = Field("allow", description="answer to a request without a client")
    repeated_identity: Answer = Field("refuse", description="answer to a request that has the client's header twice")
    organization_header: str | None = Field(None, description="header with the client's organisation, set by the gateway")
    address_header: str | None = Field(
        None, description="header with the caller's address, set by the gateway; without it decisions bound to one do not hold"
    )
    uri_header: str | None = Field(
        None, description="header with the path asked for; by default X-Original-URI for nginx, else X-Forwarded-Uri"
    )
    model_header: str | None = Field(None, description="header with the model, set by the gateway; without it the path says")
    model_pattern: str | None = Field(
        None, description="regular expression that finds (?P<model>...) in the path, where it is not KServe's"
    )
    unready: Answer = Field("allow", description="answer while no decisions were read yet: fail open, or closed")
    requests_per_second: Rate | None = Field(None, description="ceiling for each client and model, throttled or not")
    model_requests_per_second: Rate | None = Field(None, description="ceiling for all clients of a model together")
    replicas: int = Field(1, ge=1, le=10_000, description="gates that share the load: each takes this share of every rate")
    refusals_logged_per_second: float = Field(1.0, ge=0, le=1000, description="at most so many refusals are logged")
    canary: str = Field("detector-canary", min_length=1, description="client that is always blocked; for `detector gate check`")

    @field_validator("client_header", "organization_header", "address_header", "uri_header", "model_header")
    @classmethod
    def _header(cls, name: str | None) -> str | None:
        return header_name(name)

    @field_validator("model_pattern")
    @classmethod
    def _pattern(cls, pattern: str | None) -> str | None:
        try:
            found = re.compile(pattern or "(?P<model>)")
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from error
        if "model" not in found.groupindex:
            raise ValueError("must have a group named model, as in ^/predict/(?P<model>[^/]+)")
        return pattern

    @model_validator(mode="after")
    def _complete(self) -> "GateSection":
        if (self.identity == "mapping") != (self.mapping_file is not None):
            raise ValueError('identity = "mapping" and mapping_file need each other')
        if self.model_header is not None and self.model_pattern is not None:
            raise ValueError("give model_header or model_pattern, not both")
        return self
