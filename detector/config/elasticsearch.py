"""The Elasticsearch of the table ``[elasticsearch]``."""

import re
from pathlib import Path
from typing import Final

from pydantic import Field, SecretStr, field_validator, model_validator

from detector.config.section import Names, Section, read_secret

DELIVERY: Final = "elasticsearch"
"""What the delivery of ``[elasticsearch]`` is called."""


class ElasticsearchSection(Section):
    """Where alerts and decisions are searched: with `hosts` set this is the delivery called ``elasticsearch``."""

    hosts: Names = Field((), description="addresses such as https://host:9200, several separated by commas")
    username: str | None = Field(None, description="who logs in")
    password: SecretStr | None = Field(None, description="password of that user")
    password_file: Path | None = Field(None, description="file that holds the password, instead of it")
    api_key: SecretStr | None = Field(None, description="encoded API key, instead of username and password")
    api_key_file: Path | None = Field(None, description="file that holds the API key, instead of it")
    ca_file: Path | None = Field(None, description="certificate of the authority that signed the server's")
    namespace: str = Field("default", pattern=r"^[a-z0-9_.]{1,100}$", description="last part of the data streams' names")
    timeout_seconds: float = Field(10.0, gt=0, le=600, description="how long one request may take")

    @field_validator("hosts")
    @classmethod
    def _addresses(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if "@" in host:  # the message must not repeat what holds a password
                raise ValueError("an address holds no user and password: set username and password instead")
            if re.fullmatch(r"https?://[^\s/?#]+:[0-9]{1,5}(/[^\s?#]*)?", host) is None:
                raise ValueError(f"write an address with scheme and port, such as https://host:9200, not {host!r}")
        return hosts

    @model_validator(mode="after")
    def _one_login(self) -> "ElasticsearchSection":
        for name in ("password", "api_key"):
            if getattr(self, name) is not None and getattr(self, f"{name}_file") is not None:
                raise ValueError(f"give {name} or {name}_file, not both")
        keyed = self.api_key is not None or self.api_key_file is not None
        has_password = self.password is not None or self.password_file is not None
        if keyed and (self.username is not None or has_password):
            raise ValueError("give an API key or username and password, not both")
        if (self.username is not None) != has_password:
            raise ValueError("username and password go together")
        return self

    @property
    def keyed(self) -> bool:
        """Whether we log in with an API key."""
        return self.api_key is not None or self.api_key_file is not None

    def secret(self) -> str | None:
        """Return the password or the API key, from the setting or the file; None where there is no login.

        Raises `ConfigError` when the file cannot be read.
        """
        if self.keyed:
            return read_secret(self.api_key, self.api_key_file, "the API key")
        return read_secret(self.password, self.password_file, "the password")
