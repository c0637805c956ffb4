"""What a stage is given, what it reads, and what it has understood of records: the forms that all stages share."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from detector.baseline.store import Baseline
from detector.clock import Clock
from detector.config import Config, KafkaSection
from detector.engine.findings import Outputs
from detector.service.kafka.connection import Connection
from detector.service.kafka.results import Result
from detector.service.kafka.topics import Topics
from detector.service.refusals import Refused
from detector.service.telemetry.metrics import Metrics, StageName


@dataclass(frozen=True, slots=True)
class Given:
    """What a stage works with; `stop` ends a restore that is running, `member` makes it a static member of its group.

    State is spread over `partitions`.
    """

    config: Config
    baseline: Baseline | None
    connection: Connection
    topics: Topics
    partitions: int
    clock: Clock
    member: str | None
    metrics: Metrics
    stop: threading.Event


@dataclass(frozen=True, slots=True)
class Reading:
    """What a stage reads, and where its state is: `section` names its group, `topics.state` the topic of its state.

    `closed` says that added partitions of the source would move keys away from their state, so they are refused. `foreign` says
    that others write to the source.
    """

    stage: StageName
    section: KafkaSection
    topics: Topics
    sources: Sequence[str]
    most_records: int
    linger_ms: int
    closed: bool = False
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Understood:
    """The outcome of processing records, before anything is sent: refusals and results.

    `unreadable` records were refused before the engine saw them, `refused` ones by it.
    """

    unreadable: Sequence[Refused]
    refused: Sequence[Refused]
    outputs: Outputs
    results: Sequence[Result]
