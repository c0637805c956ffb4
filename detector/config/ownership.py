"""Settings of ownership: whose answers are marked, and with what."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from detector.config.gate import header_name
from detector.config.section import Section, read_secret


class OwnershipSection(Section):
    """Marks in answers by which a copy is recognised, for `detector ownership`, the middleware and the proxy."""

    mark: Literal["off", "suspects", "all"] = Field(
        "off",
        description="whose answers are marked: nobody's, those of clients under a throttle or perturb decision, everybody's",
    )
    commitment: Path | None = Field(
        None, description="file of `detector ownership commit`: strength, scale and epoch of the marks; needed to mark"
    )
    key: SecretStr | None = Field(None, description="master key, 16 bytes or more, from which the key of each subject is made")
    key_file: Path | None = Field(None, description="file that holds the master key, instead of it")
    strength: float | None = Field(
        None,
        gt=0,
        le=4,
        description="of all tilts; left out: for each key the strongest that changes 2% of the labels of the log at most",
    )
    dawn_rate: float = Field(0.0, ge=0, le=0.05, description="share of inputs that are told a wrong label, as a second mark")
    epoch: str = Field("1", min_length=1, max_length=64, description="begin another one where the key or the marks change")
    subject: Literal["client", "organization"] = Field("client", description="who has a key of its own")
    client_header: str = Field("X-Client-Id", description="header with the client, set by the gateway over the caller's own")
    organization_header: str | None = Field(None, description="header with the client's organisation, set by the gateway")
    subjects_file: Path | None = Field(
        None, description='JSON object: a client and whose key its answers bear, as {"acme-7": "campaign:campaign-3f"}'
    )
    told_log: Path | None = Field(None, description="marked answers are appended here, as events of the native format")

    @field_validator("client_header", "organization_header")
    @classmethod
    def _header(cls, name: str | None) -> str | None:
        return header_name(name)

    @model_validator(mode="after")
    def _complete(self) -> "OwnershipSection":
        if self.key is not None and self.key_file is not None:
            raise ValueError("give key or key_file, not both")
        if self.mark != "off" and self.commitment is None:
            raise ValueError(f'mark = "{self.mark}" needs a commitment: write one with `detector ownership commit`')
        if self.mark != "off" and self.key is None and self.key_file is None:
            raise ValueError(f'mark = "{self.mark}" needs a key: set key_file')
        if self.subject == "organization" and self.organization_header is None:
            raise ValueError('subject = "organization" needs organization_header')
        return self

    def secret(self) -> str | None:
        """Return the master key, from the setting or the file. Raises `ConfigError` when the file cannot be read."""
        return read_secret(self.key, self.key_file, "the master key of ownership")
