"""Where alerts and decisions go: an Elasticsearch, and receivers of any number."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from detector.config.section import Names, Section, read_names, read_secret
from detector.contracts.ecs import Severity
from detector.errors import ConfigError
from detector.names import origin_of


class ElasticsearchSection(Section):
    """Where alerts and decisions are searched; the ship stage runs when `hosts` is set."""

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


class DeliverySection(Section):
    """A receiver of alerts and decisions, one of any number: a ``[[deliveries]]`` table."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", description="in logs, metrics and the name of its consumer group")
    kind: Literal["syslog", "splunk", "webhook", "file"] = Field(description="what the receiver is")
    format: Literal["native", "ecs", "ocsf", "cef", "hec"] | None = Field(
        None, description="without one: cef for syslog, hec for splunk, else native"
    )
    send: Annotated[tuple[Literal["alerts", "decisions"], ...], NoDecode, BeforeValidator(read_names)] = Field(
        ("alerts", "decisions"), description="what it is sent"
    )
    min_severity: Severity = Field("low", description="what is less grave is left out; lifting a decision never is")
    address: str | None = Field(None, description="syslog: host:port")
    transport: Literal["udp", "tcp", "tls"] = Field("tls", description="syslog: how it is sent")
    facility: int = Field(13, ge=0, le=23, description="syslog: 13 is audit, 16 to 23 are local0 to local7")
    url: str | None = Field(None, description="splunk, webhook: address to post to")
    secret: SecretStr | None = Field(None, description="splunk: token; webhook: key of the signature")
    secret_file: Path | None = Field(None, description="file that holds the secret, instead of it")
    secret_env: str | None = Field(None, description="environment variable that holds the secret, instead of it")
    ca_file: Path | None = Field(None, description="certificate of the authority that signed the receiver's")
    index: str | None = Field(None, description="splunk: index, where it is not the token's own")
    ack: bool = Field(default=False, description="splunk: wait until indexed; the token must have indexer acknowledgement")
    path: Path | None = Field(None, description="file: where lines are appended")
    timeout_seconds: float = Field(10.0, gt=0, le=600, description="how long a whole exchange may take")

    @model_validator(mode="after")
    def _complete(self) -> "DeliverySection":
        needed = {"syslog": "address", "splunk": "url", "webhook": "url", "file": "path"}[self.kind]
        own: dict[str, set[str]] = {
            "syslog": {"address", "transport", "facility", "ca_file"},
            "splunk": {"url", "secret", "secret_file", "secret_env", "ca_file", "index", "ack"},
            "webhook": {"url", "secret", "secret_file", "secret_env", "ca_file"},
            "file": {"path"},
        }
        if getattr(self, needed) is None:
            raise ValueError(f"a delivery of kind {self.kind} needs {needed}")
        foreign = sorted((self.model_fields_set & set[str]().union(*own.values())) - own[self.kind])
        if foreign:
            raise ValueError(f"a delivery of kind {self.kind} has no {foreign[0]}")
        given = [name for name in ("secret", "secret_file", "secret_env") if getattr(self, name) is not None]
        if self.kind in {"splunk", "webhook"} and len(given) != 1:
            raise ValueError("give one of secret, secret_file and secret_env")
        if self.address is not None and not re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]\s]+):[0-9]{1,5}", self.address):
            raise ValueError("address: write it as host:port")
        if self.url is not None and "@" in urlsplit(self.url).netloc:  # the message must not repeat what holds a password
            raise ValueError("url: an address holds no user and password: set secret instead")
        if self.url is not None and not origin_of(self.url):
            raise ValueError("url: write it as https://host/path")
        if not self.send:
            raise ValueError("send: name alerts, decisions or both")
        return self

    def shown(self) -> dict[str, Any]:
        """Return what is set, as plain data for people; of an address only scheme and host, as its path may be secret."""
        content = self.model_dump(mode="json", exclude_none=True)
        if self.url is not None:
            origin = origin_of(self.url)
            content["url"] = origin if self.url.rstrip("/") == origin else f"{origin}/***"
        return content

    def secret_text(self) -> str:
        """Return the secret, from the setting, the file or the environment.

        Raises `ConfigError` when the file cannot be read, the variable is not set, or the secret is empty.
        """
        if self.secret_env is not None:
            found = os.environ.get(self.secret_env)
            told = f"environment variable {self.secret_env}"
        else:
            found = read_secret(self.secret, self.secret_file, "the secret")
            told = "the secret" if self.secret_file is None else f"{self.secret_file}"
        if not found:
            raise ConfigError(f"delivery {self.name!r}: {told} is not set or empty")
        return found
