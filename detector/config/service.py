"""Settings of the service: Kafka, login, and the health server of a worker."""

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from detector.config.section import Names, Section, read_secret


class OAuthSection(Section):
    """The source of the SASL OAUTHBEARER token: a file that another program renews, or an identity provider."""

    token_file: Path | None = Field(None, description="file that holds the token; read again for each login")
    token_url: str | None = Field(None, description="token endpoint of the identity provider (client credentials grant)")
    client_id: str | None = Field(None, description="who we are there")
    client_secret: SecretStr | None = Field(None, description="the client's secret there")
    client_secret_file: Path | None = Field(None, description="file that holds the client's secret, instead of it")
    scope: str | None = Field(None, description="scopes to ask for, separated by spaces")
    ca_file: Path | None = Field(None, description="certificate of the authority that signed the identity provider's")
    extensions: dict[str, str] | None = Field(None, description="SASL extensions that the broker wants, by name")

    @field_validator("token_url")
    @classmethod
    def _url(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "https://localhost")
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
            raise ValueError("write it as https://host/path, without a login")
        if parts.scheme == "http" and parts.hostname not in {"localhost", "127.0.0.1", "::1"}:
            raise ValueError("must be https: the client's secret is sent there")
        return url

    @model_validator(mode="after")
    def _complete(self) -> "OAuthSection":
        if self.token_file is not None and self.token_url is not None:
            raise ValueError("give token_file or token_url, not both")
        if self.client_secret is not None and self.client_secret_file is not None:
            raise ValueError("give client_secret or client_secret_file, not both")
        if self.token_url is not None and (self.client_id is None or not (self.client_secret or self.client_secret_file)):
            raise ValueError("token_url needs client_id and client_secret (or client_secret_file)")
        return self

    def secret(self) -> str | None:
        """Return the client's secret, from the setting or the file.

        Raises `ConfigError` when the file cannot be read.
        """
        return read_secret(self.client_secret, self.client_secret_file, "the client's secret")


class RegistrySection(Section):
    """The schema registry of topics whose records are in Confluent's wire format (Avro, JSON Schema or Protobuf)."""

    url: str | None = Field(None, description="its address, http(s)://host:port; without it such records are refused")
    username: str | None = Field(None, description="who logs in (HTTP basic)")
    password: SecretStr | None = Field(None, description="password of that user")
    password_file: Path | None = Field(None, description="file that holds the password, instead of it")
    ca_file: Path | None = Field(None, description="certificate of the authority that signed the registry's")

    @field_validator("url")
    @classmethod
    def _url(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "https://localhost")
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
            raise ValueError("write it as https://host:port, without a login")
        return url

    @model_validator(mode="after")
    def _complete(self) -> "RegistrySection":
        if self.password is not None and self.password_file is not None:
            raise ValueError("give password or password_file, not both")
        return self

    def secret(self) -> str | None:
        """Return the password, from the setting or the file.

        Raises `ConfigError` when the file cannot be read.
        """
        return read_secret(self.password, self.password_file, "the password of the registry")


class KafkaSection(Section):
    """Where the streams are; the service runs on Kafka when `bootstrap_servers` is set."""

    client: Literal["auto", "kafka-python", "confluent"] = Field(
        "auto",
        description="what the stages read and write with; auto: confluent (librdkafka), which costs less, if installed, "
        "but kafka-python for input topics: librdkafka unpacks gzip without a limit",
    )
    bootstrap_servers: Names = Field((), description="host:port, several separated by commas")
    input_topics: Names = Field((), description="prediction logs")
    keyed: bool = Field(default=False, description="input topics are native and keyed by client: no ingest stage")
    prefix: str = Field("detector.", description="beginning of the names of the service's own topics")
    group_id: str = Field("detector", min_length=1, description="beginning of the names of consumer groups and transactions")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="whether connections are encrypted (SSL) and log in (SASL)"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = Field(
        "SCRAM-SHA-512", description="how to log in; OAUTHBEARER takes its token from [kafka.oauth]"
    )
    username: str | None = Field(None, description="who logs in, by PLAIN or SCRAM")
    password: SecretStr | None = Field(None, description="password of that user")
    password_file: Path | None = Field(None, description="file that holds the password, instead of it")
    oauth: OAuthSection = OAuthSection()
    registry: RegistrySection = RegistrySection()
    ca_file: Path | None = Field(None, description="certificate of the authority that signed the broker's")
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = Field(
        "none", description="of what the service writes; snappy and lz4 need their Python packages"
    )
    session_seconds: float = Field(45.0, ge=1, le=1800, description="a worker that is silent for longer loses its partitions")
    checkpoint_seconds: float = Field(5.0, gt=0, le=3600, description="between two commits of client state and offsets")
    lost_state: Literal["refuse", "rebuild"] = Field(
        "refuse", description="when saved state is missing: refuse to start, or rebuild it from the events left"
    )
    dead_letter_ratio: float = Field(
        0.5,
        gt=0,
        le=1,
        description="report the service as degraded when more than this share of the clients have most of their records "
        "refused, or all records of a model or a partition are refused; 1: never",
    )

    @model_validator(mode="after")
    def _complete(self) -> "KafkaSection":
        bearer = self.sasl_mechanism == "OAUTHBEARER"
        if self.security_protocol.startswith("SASL") and self.username is None and not bearer:
            raise ValueError("SASL needs a username")
        if bearer and self.oauth.token_file is None and self.oauth.token_url is None:
            raise ValueError("OAUTHBEARER needs a token: set oauth.token_file or oauth.token_url")
        if self.password is not None and self.password_file is not None:
            raise ValueError("give password or password_file, not both")
        return self

    def secret(self) -> str | None:
        """Return the password, from the setting or the file.

        Raises `ConfigError` when the file cannot be read.
        """
        return read_secret(self.password, self.password_file, "the password")

    def secrets(self) -> tuple[str | None, ...]:
        """Return everything that must never be shown; raises `ConfigError` when a file cannot be read."""
        return (self.secret(), self.oauth.secret(), self.registry.secret())


class ServiceSection(Section):
    """The health server and the log of a worker."""

    host: str = Field("127.0.0.1", min_length=1, description="address of /livez, /readyz and /metrics; 0.0.0.0 for every one")
    port: int = Field(9477, ge=-1, le=65535, description="their port; workers after the first add 1, 2, ...; 0: any; -1: none")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="debug shows ids of clients")


class IntakeSection(Section):
    """HTTP intake for loggers that cannot write to Kafka: each request becomes a record of an input topic."""

    host: str = Field("127.0.0.1", min_length=1, description="address to listen on; 0.0.0.0 for every one, which needs a key")
    port: int = Field(-1, ge=-1, le=65535, description="its port; workers after the first add 1, 2, ...; 0: any; -1: none")
    topic: str | None = Field(None, min_length=1, description="topic to write to; by default the first of [kafka] input_topics")
    api_key: SecretStr | None = Field(None, description="what callers send as `Authorization: Bearer KEY` or `X-API-Key: KEY`")
    api_key_file: Path | None = Field(None, description="file that holds the key, instead of it")

    @model_validator(mode="after")
    def _guarded(self) -> "IntakeSection":
        if self.api_key is not None and self.api_key_file is not None:
            raise ValueError("give api_key or api_key_file, not both")
        keyless = self.api_key is None and self.api_key_file is None
        if self.port >= 0 and keyless and self.host not in {"localhost", "127.0.0.1", "::1"}:
            raise ValueError("needs an api_key: whoever reaches it could write queries in anybody's name")
        return self

    def secret(self) -> str | None:
        """Return the key, from the setting or the file.

        Raises `ConfigError` when the file cannot be read.
        """
        return read_secret(self.api_key, self.api_key_file, "the key of the intake")
