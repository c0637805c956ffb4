"""Settings of the detection: models, policy, and limits of the engine."""

import datetime as dt
from pathlib import Path
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from detector.config.section import Minutes, Section, read_secret
from detector.errors import ConfigError

MOST_DIGITS = 19  # of a seed


Kind: TypeAlias = Literal["number", "category", "text", "time", "ignore"]


class BaselineSection(Section):
    """Where the benign reference is kept."""

    path: Path | None = Field(None, description="folder written by `detector baseline fit`")


class ModelSection(Section):
    """What is known of one model's inputs."""

    categorical: tuple[int, ...] = Field((), description="input columns that hold codes, counted from 0")
    dimension: int | None = Field(None, ge=1, description="length of an input; inputs of another length become dead letters")
    shadow: bool | None = Field(
        None, description="whether decisions about this model's clients are simulated; without it [policy] shadow says"
    )
    columns: dict[str, Kind] = Field(
        {},
        description="names of the inputs in order, and the kind of each: number, category, text, time or ignore; without it "
        "`detector baseline fit` learns them",
    )

    @field_validator("categorical")
    @classmethod
    def _columns(cls, columns: tuple[int, ...]) -> tuple[int, ...]:
        if any(column < 0 for column in columns) or len(set(columns)) != len(columns):
            raise ValueError("column numbers start at 0 and must differ")
        return columns

    @model_validator(mode="after")
    def _one_way(self) -> "ModelSection":
        if self.columns and (self.categorical or self.dimension is not None):
            raise ValueError(
                "columns says which inputs are categories and how many there are: leave out categorical and dimension"
            )
        if self.columns and all(kind == "ignore" for kind in self.columns.values()):
            raise ValueError("columns: every input is ignored")
        return self


class PolicySection(Section):
    """What may be done, and how many mistakes are allowed."""

    shadow: bool = Field(default=True, description="decide, but mark every decision as simulated")
    trust_clients: bool | None = Field(
        None,
        description="whether client.id is authenticated where a record does not say (client.trusted); needed without shadow",
    )
    false_alerts_per_1000: float = Field(1.0, gt=0, le=1000, description="budget of false alerts, per 1,000 client-days")
    false_blocks_per_10000: float = Field(1.0, gt=0, le=10000, description="budget of false blocks, per 10,000 client-days")
    never_block: tuple[str, ...] = Field((), description="clients that are throttled at most")
    never_block_organizations: tuple[str, ...] = Field(
        (), description="organisations (client.organization) whose clients are throttled at most"
    )
    shadow_channels: tuple[str, ...] = Field(
        (), description="types of evidence, such as foreign, whose decisions are always simulated"
    )
    new_stops_per_minute: int = Field(
        60,
        ge=0,
        description="new perturbs and blocks in any minute, per model, shared by the partitions, at least 1 each; beyond it "
        "clients are throttled; 0: no limit",
    )
    stopped_share: float = Field(
        0.25,
        gt=0,
        le=1,
        description="share of a model's active clients that may be stopped at one time, in each partition, but always 20; "
        "beyond it clients are throttled; 1: no limit",
    )
    throttle_minutes: Minutes = Field(60.0, description="how long a throttle holds")
    perturb_minutes: Minutes = Field(360.0, description="how long responses are perturbed")
    block_minutes: Minutes = Field(1440.0, description="how long a block holds")
    requests_per_minute: int = Field(30, ge=0, description="what a throttled client may still send")

    @model_validator(mode="after")
    def _said_whom_to_trust(self) -> "PolicySection":
        if not self.shadow and self.trust_clients is None:
            raise ValueError(
                "shadow = false needs trust_clients: true where the gateway authenticates whoever client.id names, so that "
                "nobody can write another's; false where a caller could have written it: such clients are throttled at most, "
                "and only for queries from the same address. It applies to records without client.trusted"
            )
        return self


class EngineSection(Section):
    """What is read of a record, and how much is remembered."""

    max_clients: int = Field(
        100_000,
        ge=2,
        description="clients held in memory per model and partition, about 9 KB each; suspects beyond it are kept on disk",
    )
    lateness_minutes: Minutes = Field(10.0, description="how far behind its client's latest event an event may be")
    max_skew_minutes: Minutes = Field(5.0, description="how far ahead of the clock an event may be")
    max_record_bytes: int = Field(1_048_576, ge=1024, description="longer records become dead letters")
    learning_events: int = Field(512, ge=32, le=100_000, description="events to learn a model without baseline from")
    naive_time_zone: str | None = Field(
        None, description='zone of times without an offset, such as "UTC" or "Europe/Berlin"; without it they are refused'
    )
    seed: int | None = Field(
        None, ge=0, lt=2**63, description="secret: decides which input columns are remembered; a baseline brings its own"
    )
    seed_file: Path | None = Field(None, description="file that holds the seed, instead of it")

    @field_validator("naive_time_zone")
    @classmethod
    def _known_zone(cls, name: str | None) -> str | None:
        if name is not None:
            zone_of(name)
        return name

    @property
    def naive_zone(self) -> dt.tzinfo | None:
        """The time zone of times without an offset, None where such times are refused."""
        return None if self.naive_time_zone is None else zone_of(self.naive_time_zone)

    @model_validator(mode="after")
    def _one_seed(self) -> "EngineSection":
        if self.seed is not None and self.seed_file is not None:
            raise ValueError("give seed or seed_file, not both")
        return self

    def secret(self) -> int | None:
        """Return the seed, from the setting or the file, None without either.

        Raises `ConfigError` when the file cannot be read, or holds anything else.
        """
        if self.seed_file is None:
            return self.seed
        text = read_secret(None, self.seed_file, "the seed") or ""
        if not (text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS and int(text) < 2**63):
            raise ConfigError(f"{self.seed_file}: the seed must be a whole number from 0 to {2**63 - 1}")
        return int(text)


class LinksSection(Section):
    """The search for one theft that is spread over many accounts, of models with a baseline."""

    enabled: bool = Field(default=True, description="look for campaigns: accounts whose queries are made from each other's")
    entries: int = Field(
        32_768,
        ge=1024,
        le=1_048_576,
        description="latest queries of a model that new ones are compared with, 80 to 140 bytes each; campaigns that ask less "
        "often than so many queries of all clients are not seen",
    )
    accounts: int = Field(
        16_384, ge=256, le=1_048_576, description="accounts of a model that are counted, and that groups hold"
    )
    memory_hours: float = Field(
        72.0, gt=0, le=8760, description="groups of accounts are forgotten so long after their last event"
    )


def zone_of(name: str) -> dt.tzinfo:
    """Return a time zone by its IANA name; UTC needs no time zone database.

    Raises ValueError for a name that this machine does not know.
    """
    if name == "UTC":
        return dt.UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError for the name of a folder
        raise ValueError(f'{name!r} is no time zone of this machine: use "UTC" or a name such as "Europe/Berlin"') from None
