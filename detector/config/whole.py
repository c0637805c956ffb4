"""All sections together, and what others take from them: the engine's settings, a version, what people may see."""

import hashlib
from pathlib import Path
from typing import Any

from pydantic import field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from detector.config.detection import BaselineSection, EngineSection, ModelSection, PolicySection
from detector.config.service import KafkaSection, ServiceSection
from detector.config.siem import DeliverySection, ElasticsearchSection
from detector.names import origin_of

PREFIX = "DETECTOR_"
SHORTEST_SECRET_PATH = 16  # letters


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
                "engine": {"seed", "seed_file"},
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
        if content["engine"]["seed"] is not None:
            content["engine"]["seed"] = "***"
        content["deliveries"] = {entry.name: entry.shown() for entry in self.deliveries}
        return content

    def delivery_secrets(self) -> tuple[str, ...]:
        """Return what deliveries log in with, addresses included; raises `ConfigError` when one cannot be read."""
        posting = [entry for entry in self.deliveries if entry.kind in {"splunk", "webhook"}]
        urls = [entry.url for entry in posting if entry.url is not None]
        hidden = [url.removeprefix(origin_of(url)) for url in urls]
        # A path of a few letters is in many lines, and no secret.
        return (*(entry.secret_text() for entry in posting), *(path for path in hidden if len(path) >= SHORTEST_SECRET_PATH))

    def dimensions(self) -> dict[str, int]:
        """Return the input dimension of each model for which one is declared."""
        return {model: section.dimension for model, section in self.models.items() if section.dimension is not None}
