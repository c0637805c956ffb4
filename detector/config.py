"""Configuration: a TOML file, the environment over it, and messages that say where the mistake is.

Environment variables are named ``DETECTOR_<SECTION>__<KEY>``, such as ``DETECTOR_POLICY__SHADOW=false``. Everything has a
default, so an empty file, or none, is a valid configuration.
"""

import hashlib
import json
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

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


class KafkaSection(Section):
    """Where the streams are; the service runs on Kafka when `bootstrap_servers` is set."""

    bootstrap_servers: Names = Field((), description="host:port, several separated by commas")
    input_topics: Names = Field((), description="prediction logs")
    keyed: bool = Field(default=False, description="input topics are native and keyed by client: no ingest stage")
    prefix: str = Field("detector.", description="of the service's own topics")
    group_id: str = Field("detector", min_length=1)
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = Field(None, description="file that holds the password, instead of it")
    ca_file: Path | None = Field(None, description="certificate of the authority that signed the broker's")
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "none"
    session_seconds: float = Field(45.0, ge=1, le=1800, description="a worker that is silent for longer loses its partitions")
    checkpoint_seconds: float = Field(5.0, gt=0, le=3600, description="between two commits of client state and offsets")

    @model_validator(mode="after")
    def _complete(self) -> "KafkaSection":
        if self.security_protocol.startswith("SASL") and self.username is None:
            raise ValueError("SASL needs a username")
        if self.password is not None and self.password_file is not None:
            raise ValueError("give password or password_file, not both")
        return self

    def secret(self) -> str | None:
        """Return the password, from the setting or the file.

        Raises `ConfigError` when the file cannot be read.
        """
        if self.password_file is None:
            return None if self.password is None else self.password.get_secret_value()
        try:
            return self.password_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigError(f"{self.password_file}: cannot read the password: {error.strerror}") from error


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
    service: ServiceSection = ServiceSection()

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
        content = self.model_dump_json(exclude={"baseline": True, "engine": {"seed"}, "kafka": True, "service": True})
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    def shown(self) -> dict[str, dict[str, Any]]:
        """Return everything as plain data for people to read, with secrets masked."""
        content: dict[str, dict[str, Any]] = self.model_dump(mode="json")
        if content["engine"]["seed"]:
            content["engine"]["seed"] = "***"
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
        if depth == 1 and place[0] == "models":
            model = ModelSection
            continue
        field = model.model_fields.get(part) if hasattr(model, "model_fields") else None
        model = field.annotation if field else None
    return sorted(model.model_fields) if hasattr(model, "model_fields") else []


def _line(place: tuple[Any, ...], text: str) -> int:
    """Return the line where the value at `place` is written, or its section, counted from 1."""
    parts = [str(part) for part in place if not isinstance(part, int)]
    section: list[str] = []
    best = (0, 1)
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        header = re.fullmatch(r"\[\s*(.+?)\s*\]\s*(#.*)?", stripped)
        if header:
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
