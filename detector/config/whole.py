"""All sections together, and what others take from them: the engine's settings, a version, what people may see."""

import hashlib
from pathlib import Path
from typing import Any

from pydantic import model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from detector.config.decisions import DecisionsSection
from detector.config.delivery import DeliveryTable
from detector.config.detection import BaselineSection, EngineSection, ModelSection, PolicySection
from detector.config.elasticsearch import DELIVERY, ElasticsearchSection
from detector.config.gate import GateSection
from detector.config.ingest import IngestSection, InputsSection
from detector.config.perturb import PerturbSection
from detector.config.service import IntakeSection, KafkaSection, ServiceSection

PREFIX = "DETECTOR_"


class Config(BaseSettings):
    """The whole configuration, merged and checked."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, allow_inf_nan=False
    )

    baseline: BaselineSection = BaselineSection()
    models: dict[str, ModelSection] = {}
    policy: PolicySection = PolicySection()
    engine: EngineSection = EngineSection()
    ingest: IngestSection = IngestSection()
    inputs: InputsSection = InputsSection()
    kafka: KafkaSection = KafkaSection()
    elasticsearch: ElasticsearchSection = ElasticsearchSection()
    service: ServiceSection = ServiceSection()
    intake: IntakeSection = IntakeSection()
    decisions: DecisionsSection = DecisionsSection()
    perturb: PerturbSection = PerturbSection()
    gate: GateSection = GateSection()
    deliveries: tuple[DeliveryTable, ...] = ()

    @model_validator(mode="after")
    def _told_apart(self) -> "Config":
        names = [entry.name for entry in self.deliveries]
        if len(set(names)) < len(names):
            raise ValueError("deliveries: each needs a name of its own")
        if self.elasticsearch.hosts and DELIVERY in names:
            raise ValueError(f"deliveries: {DELIVERY!r} is the name of that of [elasticsearch]: choose another one")
        return self

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

    def with_format(self, name: str | None) -> "Config":
        """Return the same configuration with another format of logs, unless `name` is None."""
        return self if name is None else self.model_copy(update={"ingest": self.ingest.model_copy(update={"format": name})})

    @property
    def version(self) -> str:
        """Short digest of everything that influences what is found; paths and secrets are not part of it.

        Nor is how logs are written: the same events in another format lead to the same findings.
        """
        content = self.model_dump_json(
            exclude={
                "baseline": True,
                "decisions": True,
                "engine": {"seed", "seed_file"},
                "gate": True,
                "ingest": True,
                "intake": True,
                "kafka": True,
                "perturb": True,
                "service": True,
                "deliveries": True,
                "elasticsearch": True,
            }
        )
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    def shown(self) -> dict[str, dict[str, Any]]:
        """Return everything as plain data for people to read, with secrets masked."""
        content: dict[str, dict[str, Any]] = self.model_dump(mode="json", exclude={"deliveries"})
        if content["engine"]["seed"] is not None:
            content["engine"]["seed"] = "***"
        content["deliveries"] = {entry.name: entry.shown() for entry in self.deliveries}
        return content

    def delivery_secrets(self) -> tuple[str, ...]:
        """Return what deliveries log in with, addresses included; raises `ConfigError` when one cannot be read."""
        searched = self.elasticsearch.secret()
        return (*([] if searched is None else [searched]), *(secret for entry in self.deliveries for secret in entry.secrets()))

    def dimensions(self) -> dict[str, int]:
        """Return the input dimension of each model for which one is declared."""
        return {model: section.dimension for model, section in self.models.items() if section.dimension is not None}
