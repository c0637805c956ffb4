"""The settings of the engine, from the configuration."""

from collections.abc import Mapping

from detector.config import Config
from detector.engine.policy import PolicySettings
from detector.engine.shard import EngineSettings
from detector.ingest.formats.routing import schemas_for
from detector.ingest.schema import InputSchema


def engine_settings(config: Config, learned: Mapping[str, InputSchema] | None = None) -> EngineSettings:
    """Return the settings of the engine; `learned` are the columns of inputs that the log or the baseline told.

    Raises `ConfigError` when the file of the seed cannot be read.
    """
    policy, engine = config.policy, config.engine
    return EngineSettings(
        policy=PolicySettings(
            shadow=policy.shadow,
            false_alerts_per_1000=policy.false_alerts_per_1000,
            false_blocks_per_10000=policy.false_blocks_per_10000,
            never_block=frozenset(policy.never_block),
            trust_clients=policy.trust_clients is not False,
            throttle_ms=int(policy.throttle_minutes * 60_000),
            perturb_ms=int(policy.perturb_minutes * 60_000),
            block_ms=int(policy.block_minutes * 60_000),
            requests_per_minute=policy.requests_per_minute,
        ),
        max_clients=engine.max_clients,
        lateness_ms=int(engine.lateness_minutes * 60_000),
        learning_events=engine.learning_events,
        seed=engine.secret(),
        categorical={
            **{model: schema.categorical for model, schema in schemas_for(config, learned).items() if schema.categorical},
            **{model: section.categorical for model, section in config.models.items() if section.categorical},
        },
    )
