"""Configuration: a TOML file, the environment over it, and messages that say where the mistake is.

Environment variables are named ``DETECTOR_<SECTION>__<KEY>``, such as ``DETECTOR_POLICY__SHADOW=false``. Everything has a
default, so an empty file, or none, is a valid configuration.
"""

import hashlib
import json
import os
import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from detector.contracts.ecs import Severity
from detector.engine import EngineSettings
from detector.errors import ConfigError
from detector.policy import Terms

PREFIX = "DETECTOR_"
Minutes = Annotated[float, Field(gt=0, le=366 * 24 * 60)]


class Section(BaseModel):
    """Base of the sections: unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class BaselineSection(Section):
    """Where the benign reference is kept."""

    path: Path | None = Field(None, description="folder written by `detector baseline fit`")


class ModelSection(Section):
    """What is known of one model's inputs."""

    categorical: tuple[int, ...] = Field((), description="input columns that hold codes, counted from 0")
    dimension: int | None = Field(None, ge=1, description="length of an input; others go to the dead letters")

    @field_validator("categorical")
    @classmethod
    def _columns(cls, columns: tuple[int, ...]) -> tuple[int, ...]:
        if any(column < 0 for column in columns) or len(set(columns)) != len(columns):
            raise ValueError("column numbers start at 0 and must differ")
        return columns


class PolicySection(Section):
    """What may be done, and how many mistakes are allowed."""

    shadow: bool = Field(default=True, description="decide, but mark every decision as simulated")
    false_alerts_per_1000: float = Field(1.0, gt=0, le=1000, description="per 1,000 client-days")
    false_blocks_per_10000: float = Field(1.0, gt=0, le=10000, description="per 10,000 client-days")
    never_block: tuple[str, ...] = Field((), description="clients that are throttled at most")
    throttle_minutes: Minutes = 60.0
    perturb_minutes: Minutes = 360.0
    block_minutes: Minutes = 1440.0
    requests_per_minute: int = Field(30, ge=0, description="what a throttled client may still send")


class EngineSection(Section):
    """How much is remembered."""

    max_clients: int = Field(100_000, ge=2, description="clients kept per model and partition, about 9 KB each")
    lateness_minutes: Minutes = Field(10.0, description="how far behind its client's latest event an event may be")
    max_skew_minutes: Minutes = Field(5.0, description="how far ahead of the clock an event may be")
    max_record_bytes: int = Field(1_048_576, ge=1024, description="longer records go to the dead letters")
    learning_events: int = Field(512, ge=32, le=100_000, description="events to learn a model without baseline from")
    seed: int = Field(0, ge=0, lt=2**63, description="secret: decides which input columns are remembered")


def _names(given: Any) -> Any:
    """Read names separated by commas, or the list of them that JSON has."""
    if not isinstance(given, str):
        return given
    if given.lstrip().startswith("["):
        return json.loads(given)
    return [name.strip() for name in given.split(",") if name.strip()]


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)]  # so that the environment need not be JSON


class OAuthSection(Section):
    """Where the token of SASL OAUTHBEARER comes from: a file that somebody else renews, or an identity provider."""

    token_file: Path | None = Field(None, description="file that holds the token; read again for each login")
    token_url: str | None = Field(None, description="token endpoint of the identity provider (client credentials grant)")
    client_id: str | None = Field(None, description="who we are there")
    client_secret: SecretStr | None = None
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
        return _secret(self.client_secret, self.client_secret_file, "the client's secret")


class KafkaSection(Section):
    """Where the streams are; the service runs on Kafka when `bootstrap_servers` is set."""

    client: Literal["kafka-python", "confluent"] = Field(
        "kafka-python", description="what detection reads with; confluent is faster and has to be installed"
    )
    bootstrap_servers: Names = Field((), description="host:port, several separated by commas")
    input_topics: Names = Field((), description="prediction logs")
    keyed: bool = Field(default=False, description="input topics are native and keyed by client: no ingest stage")
    prefix: str = Field("detector.", description="of the service's own topics")
    group_id: str = Field("detector", min_length=1)
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = "SCRAM-SHA-512"
    username: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = Field(None, description="file that holds the password, instead of it")
    oauth: OAuthSection = OAuthSection()
    ca_file: Path | None = Field(None, description="certificate of the authority that signed the broker's")
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "none"
    session_seconds: float = Field(45.0, ge=1, le=1800, description="a worker that is silent for longer loses its partitions")
    checkpoint_seconds: float = Field(5.0, gt=0, le=3600, description="between two commits of client state and offsets")
    lost_state: Literal["refuse", "rebuild"] = Field(
        "refuse", description="state is gone: end, or rebuild it from what is left"
    )
    dead_letter_ratio: float = Field(
        0.5, gt=0, le=1, description="stop when more of the last 10,000 records than this were refused; 1: never"
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
        return _secret(self.password, self.password_file, "the password")

    def secrets(self) -> tuple[str | None, ...]:
        """Return everything that must never be shown; raises `ConfigError` when a file cannot be read."""
        return (self.secret(), self.oauth.secret())


def _secret(given: SecretStr | None, file: Path | None, what: str) -> str | None:
    if file is None:
        return None if given is None else given.get_secret_value()
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"{file}: cannot read {what}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: cannot read {what}: it is not UTF-8 text") from error


class ElasticsearchSection(Section):
    """Where alerts and decisions are searched; the ship stage runs when `hosts` is set."""

    hosts: Names = Field((), description="addresses such as https://host:9200, several separated by commas")
    username: str | None = None
    password: SecretStr | None = None
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
            return _secret(self.api_key, self.api_key_file, "the API key")
        return _secret(self.password, self.password_file, "the password")


class DeliverySection(Section):
    """A receiver of alerts and decisions, one of any number: a ``[[deliveries]]`` table."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", description="in logs, metrics and the name of its consumer group")
    kind: Literal["syslog", "splunk", "webhook", "file"]
    format: Literal["native", "ecs", "ocsf", "cef", "hec"] | None = Field(
        None, description="without one: cef for syslog, hec for splunk, else native"
    )
    send: Annotated[tuple[Literal["alerts", "decisions"], ...], NoDecode, BeforeValidator(_names)] = ("alerts", "decisions")
    min_severity: Severity = Field("low", description="what is less grave is left out; lifting a decision never is")
    address: str | None = Field(None, description="syslog: host:port")
    transport: Literal["udp", "tcp", "tls"] = "tls"
    facility: int = Field(13, ge=0, le=23, description="syslog: 13 is audit, 16 to 23 are local0 to local7")
    url: str | None = Field(None, description="splunk, webhook: address to post to")
    secret: SecretStr | None = Field(None, description="splunk: token; webhook: key of the signature")
    secret_file: Path | None = Field(None, description="file that holds the secret, instead of it")
    secret_env: str | None = Field(None, description="environment variable that holds the secret, instead of it")
    ca_file: Path | None = Field(None, description="certificate of the authority that signed the receiver's")
    index: str | None = Field(None, description="splunk: index, where it is not the token's own")
    ack: bool = Field(default=False, description="splunk: wait until indexed; the token must have indexer acknowledgement")
    path: Path | None = Field(None, description="file: where lines are appended")
    timeout_seconds: float = Field(10.0, gt=0, le=600)

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
        if self.url is not None and urlsplit(self.url).scheme not in {"http", "https"}:
            raise ValueError("url: write it as https://host/path")
        if not self.send:
            raise ValueError("send: name alerts, decisions or both")
        return self

    def secret_text(self) -> str:
        """Return the secret, from the setting, the file or the environment.

        Raises `ConfigError` when the file cannot be read, the variable is not set, or the secret is empty.
        """
        if self.secret_env is not None:
            found = os.environ.get(self.secret_env)
            told = f"environment variable {self.secret_env}"
        else:
            found = _secret(self.secret, self.secret_file, "the secret")
            told = "the secret" if self.secret_file is None else f"{self.secret_file}"
        if not found:
            raise ConfigError(f"delivery {self.name!r}: {told} is not set or empty")
        return found


class ServiceSection(Section):
    """How a worker shows itself."""

    host: str = Field("127.0.0.1", min_length=1, description="address of /livez, /readyz and /metrics; 0.0.0.0 for every one")
    port: int = Field(9477, ge=-1, le=65535, description="their port; workers after the first add 1, 2, ...; 0: any; -1: none")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="debug shows ids of clients")


class Config(BaseSettings):
    """The whole configuration, merged and checked."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, allow_inf_nan=False
    )

    baseline: BaselineSection = BaselineSection()
    models: dict[str, ModelSection] = {}
    policy: PolicySection = PolicySection()
    engine: EngineSection = EngineSection()
    kafka: KafkaSection = KafkaSection()
    elasticsearch: ElasticsearchSection = ElasticsearchSection()
    service: ServiceSection = ServiceSection()
    deliveries: tuple[DeliverySection, ...] = ()

    @field_validator("deliveries")
    @classmethod
    def _told_apart(cls, deliveries: tuple[DeliverySection, ...]) -> tuple[DeliverySection, ...]:
        if len({entry.name for entry in deliveries}) < len(deliveries):
            raise ValueError("each delivery needs a name of its own")
        return deliveries

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the environment over the file."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings

    def with_baseline(self, folder: Path | None) -> "Config":
        """Return the same configuration with another baseline, unless `folder` is None."""
        return self if folder is None else self.model_copy(update={"baseline": BaselineSection(path=folder)})

    @property
    def version(self) -> str:
        """Short digest of everything that influences what is found; paths and secrets are not part of it."""
        content = self.model_dump_json(
            exclude={
                "baseline": True,
                "engine": {"seed"},
                "kafka": True,
                "service": True,
                "deliveries": True,
                "elasticsearch": True,
            }
        )
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    def shown(self) -> dict[str, dict[str, Any]]:
        """Return everything as plain data for people to read, with secrets masked."""
        content: dict[str, dict[str, Any]] = self.model_dump(mode="json")
        if content["engine"]["seed"]:
            content["engine"]["seed"] = "***"
        content["deliveries"] = {entry.name: entry.model_dump(mode="json", exclude_none=True) for entry in self.deliveries}
        return content

    def engine_settings(self) -> EngineSettings:
        """Return what the engine needs to know."""
        policy, engine = self.policy, self.engine
        return EngineSettings(
            terms=Terms(
                shadow=policy.shadow,
                false_alerts_per_1000=policy.false_alerts_per_1000,
                false_blocks_per_10000=policy.false_blocks_per_10000,
                never_block=frozenset(policy.never_block),
                throttle_ms=int(policy.throttle_minutes * 60_000),
                perturb_ms=int(policy.perturb_minutes * 60_000),
                block_ms=int(policy.block_minutes * 60_000),
                requests_per_minute=policy.requests_per_minute,
            ),
            max_clients=engine.max_clients,
            lateness_ms=int(engine.lateness_minutes * 60_000),
            learning_events=engine.learning_events,
            seed=engine.seed,
            categorical={model: section.categorical for model, section in self.models.items() if section.categorical},
        )

    def delivery_secrets(self) -> tuple[str, ...]:
        """Return what deliveries log in with; raises `ConfigError` when one cannot be read."""
        return tuple(entry.secret_text() for entry in self.deliveries if entry.kind in {"splunk", "webhook"})

    def dimensions(self) -> dict[str, int]:
        """Return the input dimension of each model for which one is declared."""
        return {model: section.dimension for model, section in self.models.items() if section.dimension is not None}


def load(path: Path | None) -> Config:
    """Read the configuration; a relative baseline path is taken from the folder of the file.

    Raises `ConfigError`, with file and line, or the name of the environment variable.
    """
    text = ""
    if path is not None:
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{path}: cannot read the configuration: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: the configuration is not UTF-8 text") from error
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        where = f"{path}:{found[1]}" if found else f"{path}"
        raise ConfigError(f"{where}: not valid TOML: {re.sub(r' [(]at .*', '', str(error))}") from error
    try:
        config = Config(**content)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(entry, path, text) for entry in error.errors())) from error
    except Exception as error:
        # pydantic-settings wraps JSON that it cannot parse in an environment variable.
        raise ConfigError(f"environment: {error}") from error
    _refuse_unknown_variables()
    folder = config.baseline.path
    if path is None or folder is None or folder.is_absolute() or _from_environment(("baseline", "path")):
        return config
    return config.with_baseline(path.parent / folder)


def _refuse_unknown_variables() -> None:
    """Raise `ConfigError` for a variable of a section that does not exist: it is a typing error that would do nothing."""
    for name in sorted(os.environ):
        section, nested, _ = name.upper().removeprefix(PREFIX).partition("__")
        if name.upper().startswith(PREFIX) and nested and section.lower() not in Config.model_fields:
            known = ", ".join(sorted(Config.model_fields))
            raise ConfigError(f"environment variable {name}: there is no such section; known: {known}")


def _from_environment(place: tuple[Any, ...]) -> str | None:
    """Return the environment variable that set the value at `place`, if one did."""
    for depth in range(len(place), 0, -1):
        wanted = (PREFIX + "__".join(map(str, place[:depth]))).upper()
        for name in os.environ:
            if name.upper() == wanted:
                return name
    return None


def _explain(entry: Any, path: Path | None, text: str) -> str:
    place = entry["loc"]
    variable = _from_environment(place)
    message = entry["msg"].removeprefix("Value error, ")
    if entry["type"] == "extra_forbidden":
        known = _known(place[:-1])
        message = f"there is no such key; known here: {', '.join(known)}" if known else "there is no such key"
    name = ".".join(str(part) for part in place)
    if variable is not None:
        return f"environment variable {variable}: {message}"
    return f"{path}:{_line(place, text)}: {name}: {message}"


def _known(place: tuple[Any, ...]) -> list[str]:
    model: Any = Config
    for depth, part in enumerate(place):
        if depth == 1 and place[0] in {"models", "deliveries"}:
            model = ModelSection if place[0] == "models" else DeliverySection
            continue
        field = model.model_fields.get(part) if hasattr(model, "model_fields") else None
        model = field.annotation if field else None
    return sorted(model.model_fields) if hasattr(model, "model_fields") else []


def _line(place: tuple[Any, ...], text: str) -> int:
    """Return the line where the value at `place` is written, or its section, counted from 1."""
    parts = [str(part) for part in place]
    tables: Counter[str] = Counter()
    section: list[str] = []
    best = (0, 1)
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        header = re.fullmatch(r"\[\s*(.+?)\s*\]\s*(#.*)?", stripped)
        entry = re.fullmatch(r"\[\[\s*([\w-]+)\s*\]\]\s*(#.*)?", stripped)
        if entry:
            here = section = [entry[1], str(tables[entry[1]])]
            tables[entry[1]] += 1
        elif header:
            section = [part.strip().strip("\"'") for part in re.findall(r"\"[^\"]*\"|'[^']*'|[^.]+", header[1])]
            here = section
        elif "=" in stripped and not stripped.startswith("#"):
            key = [part.strip().strip("\"'") for part in stripped.split("=", 1)[0].split(".")]
            here = [*section, *key]
        else:
            continue
        common = 0
        while common < min(len(here), len(parts)) and here[common] == parts[common]:
            common += 1
        if common == len(here) and common > best[0]:
            best = (common, number)
    return best[1]
