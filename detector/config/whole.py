"""All sections together, and what others take from them: the engine's settings, a version, what people may see."""

import hashlib
from pathlib import Path
from typing import Any

from pydantic import model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from detector.config.cost import CostSection
from detector.config.decisions import DecisionsSection
from detector.config.delivery import DeliveryTable
from detector.config.detection import BaselineSection, EngineSection, LinksSection, ModelSection, PolicySection
from detector.config.elasticsearch import DELIVERY, ElasticsearchSection
from detector.config.gate import GateSection
from detector.config.ingest import IngestSection, InputsSection
from detector.config.odometer import OdometerSection
from detector.config.ownership import OwnershipSection
from detector.config.perturb import PerturbSection
from detector.config.service import IntakeSection, KafkaSection, ServiceSection

PREFIX = "DETECTOR_"
KEPT = frozenset({"shadow", "trust_clients"})  # of policy, for as long as a service runs
MEASURED = frozenset({"enabled"})  # of the odometer, likewise
IRRELEVANT: dict[str, Any] = {  # to what is found
    "baseline": True,
    "cost": True,
    "decisions": True,
    "engine": {"seed", "seed_file"},
    "gate": True,
    "ingest": True,
    "intake": True,
    "kafka": True,
    "ownership": True,
    "perturb": True,
    "service": True,
    "deliveries": True,
    "elasticsearch": True,
}


class Config(BaseSettings):
    """The whole configuration, merged and checked."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, allow_inf_nan=False
    )

    baseline: BaselineSection = BaselineSection()
    models: dict[str, ModelSection] = {}
    policy: PolicySection = PolicySection()
    odometer: OdometerSection = OdometerSection()
    cost: CostSection = CostSection()
    engine: EngineSection = EngineSection()
    links: LinksSection = LinksSection()
    ingest: IngestSection = IngestSection()
    inputs: InputsSection = InputsSection()
    kafka: KafkaSection = KafkaSection()
    elasticsearch: ElasticsearchSection = ElasticsearchSection()
    service: ServiceSection = ServiceSection()
    intake: IntakeSection = IntakeSection()
    decisions: DecisionsSection = DecisionsSection()
    perturb: PerturbSection = PerturbSection()
    ownership: OwnershipSection = OwnershipSection()
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

    @model_validator(mode="after")
    def _said_whom_to_trust(self) -> "Config":
        live = next((model for model, section in self.models.items() if section.shadow is False), None)
        if live is not None and self.policy.trust_clients is None:
            raise ValueError(f"models: {live!r} has shadow = false, which needs [policy] trust_clients, true or false")
        return self

    @property
    def enforces(self) -> bool:
        """Whether any decision may be real: shadow mode is off, or off for a model."""
        return not self.policy.shadow or any(section.shadow is False for section in self.models.values())

    def simulates(self, model: str) -> bool:
        """Return whether all decisions about a model's clients are simulated."""
        own = self.models[model].shadow if model in self.models else None
        return self.policy.shadow if own is None else own

    def with_policy(self, other: "Config") -> "Config":
        """Return the same configuration with the policy of another one, as far as that may change under a running service.

        The budgets of `[odometer]` are policy. `[policy] shadow` and `trust_clients` stay, and `[odometer] enabled`: the state
        of clients and the group of workers depend on them.
        """
        kept = {name: getattr(self.policy, name) for name in KEPT}
        models = {}
        for model in {**self.models, **other.models}:
            shadow = other.models[model].shadow if model in other.models else None
            section = self.models.get(model, ModelSection()).model_copy(update={"shadow": shadow})
            if model in other.models or section != ModelSection():
                models[model] = section
        measured = {name: getattr(self.odometer, name) for name in MEASURED}
        changed = {
            "policy": other.policy.model_copy(update=kept),
            "odometer": other.odometer.model_copy(update=measured),
            "models": models,
        }
        return self.model_copy(update=changed)

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
        return _digest(self, {})

    @property
    def fixed_version(self) -> str:
        """Short digest like `version`, of what does not change under a running service: without policy; see `with_policy`."""
        changing = set(PolicySection.model_fields) - KEPT
        budgets = set(OdometerSection.model_fields) - MEASURED
        plain = {model: section.model_copy(update={"shadow": None}) for model, section in self.models.items()}
        models = {model: section for model, section in plain.items() if section != ModelSection()}
        return _digest(self.model_copy(update={"models": models}), {"policy": changing, "odometer": budgets})

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


def _digest(config: Config, left_out: dict[str, Any]) -> str:
    content = config.model_dump_json(exclude=IRRELEVANT | left_out)
    return hashlib.sha256(content.encode()).hexdigest()[:12]
