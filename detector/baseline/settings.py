"""The settings of the engine, from the configuration."""

from collections.abc import Mapping

from detector.config import Config, TierTable
from detector.engine.evidence.registry import TYPES
from detector.engine.links.settings import LinkSettings
from detector.engine.policy import Budget, PolicySettings, Tier
from detector.engine.shard import EngineSettings
from detector.errors import ConfigError
from detector.ingest.formats.routing import schemas_for
from detector.ingest.schema import InputSchema


def engine_settings(config: Config, learned: Mapping[str, InputSchema] | None = None) -> EngineSettings:
    """Return the settings of the engine; `learned` are the columns of inputs that the log or the baseline told.

    Raises `ConfigError` when the file of the seed cannot be read, and for an unknown type of evidence.
    """
    engine = config.engine
    return EngineSettings(
        policy=policy_settings(config),
        max_clients=engine.max_clients,
        lateness_ms=int(engine.lateness_minutes * 60_000),
        learning_events=engine.learning_events,
        seed=engine.secret(),
        odometer=config.odometer.enabled,
        categorical={
            **{model: schema.categorical for model, schema in schemas_for(config, learned).items() if schema.categorical},
            **{model: section.categorical for model, section in config.models.items() if section.categorical},
        },
        links=LinkSettings(
            enabled=config.links.enabled,
            entries=config.links.entries,
            accounts=config.links.accounts,
            memory_ms=int(config.links.memory_hours * 3_600_000),
        ),
    )


def policy_settings(config: Config) -> PolicySettings:
    """Return the policy as the engine needs it; raises `ConfigError` for an unknown type of evidence."""
    policy = config.policy
    if unknown := sorted(set(policy.shadow_channels) - set(TYPES)):
        raise ConfigError(f"[policy] shadow_channels: no evidence is called {unknown[0]!r}; known: {', '.join(TYPES)}")
    return PolicySettings(
        shadow=policy.shadow,
        false_alerts_per_1000=policy.false_alerts_per_1000,
        false_blocks_per_10000=policy.false_blocks_per_10000,
        never_block=frozenset(policy.never_block),
        trust_clients=policy.trust_clients is not False,
        throttle_ms=int(policy.throttle_minutes * 60_000),
        perturb_ms=int(policy.perturb_minutes * 60_000),
        block_ms=int(policy.block_minutes * 60_000),
        requests_per_minute=policy.requests_per_minute,
        never_block_organizations=frozenset(policy.never_block_organizations),
        shadow_channels=frozenset(policy.shadow_channels),
        shadow_models=frozenset(model for model, section in config.models.items() if section.shadow is True),
        live_models=frozenset(model for model, section in config.models.items() if section.shadow is False),
        new_stops_per_minute=policy.new_stops_per_minute,
        stopped_share=policy.stopped_share,
        budget=Budget(config.odometer.degrade_at, config.odometer.stop_at),
        tiers=tuple(map(_tier, config.odometer.tiers)),
        throttle_from=config.odometer.throttle_from,
        campaign_stop_at=config.odometer.campaign_stop_at,
        halving_lead=config.odometer.throttle_halves_every,
        least_rate=config.odometer.throttle_floor,
        organizations=Budget(config.odometer.organization_degrade_at, config.odometer.organization_stop_at),
    )


def _tier(table: TierTable) -> Tier:
    models, clients, organizations, types = (
        None if names is None else frozenset(names) for names in (table.models, table.clients, table.organizations, table.types)
    )
    together = Budget(table.organization_degrade_at, table.organization_stop_at)
    return Tier(Budget(table.degrade_at, table.stop_at), models, clients, organizations, types, together)
