"""A worker: one process that runs one stage or both until it is told to stop.

A broker that is away is not an end: the worker says so, waits, and tries again, twice as long each time up to half a minute.
Settings that cannot work (wrong password, missing topic, state of another baseline) end it at the start, with a sentence.
"""

import threading
import time
from dataclasses import dataclass
from enum import StrEnum

import structlog
from kafka.errors import FencedInstanceIdError, KafkaError

from detector.clock import Clock
from detector.config import Config
from detector.errors import ServiceError
from detector.models.baseline import Baseline
from detector.service import topics as topics_of
from detector.service.connection import Connection
from detector.service.detect import DetectStage
from detector.service.ingest import IngestStage
from detector.service.metrics import Metrics
from detector.service.topics import Topics

POLL_MS = 20
LONGEST_PAUSE_S = 30.0

log = structlog.get_logger(__name__)


class Stage(StrEnum):
    """What a worker does."""

    ALL = "all"
    INGEST = "ingest"
    DETECT = "detect"


@dataclass(frozen=True, slots=True)
class Status:
    """How a worker is, for health checks: `ticked_s` is when its loop last came round (monotonic seconds)."""

    ticked_s: float
    ready: bool
    read: int
    processed: int
    partitions: tuple[int, ...]


class Worker:
    """Runs the stages in turn, in one thread; see the module's text. `member` makes it a static member of its groups."""

    def __init__(
        self,
        config: Config,
        baseline: Baseline | None,
        clock: Clock,
        *,
        stage: Stage = Stage.ALL,
        member: str | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._config = config
        self._baseline = baseline
        self._clock = clock
        self._stage = Stage.DETECT if config.kafka.keyed else stage
        self._member = member
        self._topics = Topics.under(config.kafka.prefix)
        self._ingest: IngestStage | None = None
        self._detect: DetectStage | None = None
        self._metrics = metrics or Metrics()

    def status(self) -> Status:
        """Return how the worker is; may be called from another thread."""
        detect = self._detect
        ingest = self._ingest
        started = (ingest is not None or self._stage == Stage.DETECT) and (detect is not None or self._stage == Stage.INGEST)
        return Status(
            ticked_s=self._metrics.beat_s,
            ready=started and (detect is None or detect.ready),
            read=ingest.read if ingest is not None else 0,
            processed=detect.processed if detect is not None else 0,
            partitions=tuple(detect.partitions) if detect is not None else (),
        )

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set, then commit and leave.

        Raises `ServiceError` at the start when Kafka cannot be used as it is set up, and later when another process bears the
        same member name; `SnapshotError` when the saved state cannot be used.
        """
        connection = Connection(self._config.kafka)
        admin = connection.admin()
        try:
            inputs = () if self._stage == Stage.DETECT and not self._config.kafka.keyed else self._config.kafka.input_topics
            topics_of.check(admin, self._topics, inputs=inputs, keyed=self._config.kafka.keyed)
        finally:
            admin.close()
        pause_s = 1.0
        try:
            while not stop.is_set():
                try:
                    self._open(connection)
                    while not stop.is_set():
                        self._turn()
                        pause_s = 1.0
                except FencedInstanceIdError as error:
                    self._abandon()
                    raise ServiceError(
                        f"another process took over as member {self._member!r} of group {self._config.kafka.group_id!r}: "
                        "give each process a member name of its own"
                    ) from error
                except (ServiceError, KafkaError) as error:
                    log.warning("Kafka is away, trying again", cause=str(error), in_seconds=pause_s)
                    self._abandon()
                    self._pause(stop, pause_s)
                    pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        finally:
            self._close()

    def _pause(self, stop: threading.Event, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not stop.is_set() and (left := until - time.monotonic()) > 0:
            self._metrics.beat()  # waiting is not being stuck
            stop.wait(min(left, 1.0))

    def _open(self, connection: Connection) -> None:
        if self._stage in {Stage.ALL, Stage.INGEST} and self._ingest is None:
            known = self._baseline.models if self._baseline else {}
            self._ingest = IngestStage(self._config, connection, self._topics, self._clock, known, self._metrics, self._member)
            self._metrics.beat()
        if self._stage in {Stage.ALL, Stage.DETECT} and self._detect is None:
            self._detect = DetectStage(
                self._config, self._baseline, connection, self._topics, self._clock, self._member, self._metrics
            )

    def _turn(self) -> None:
        self._metrics.beat()
        if self._ingest is not None:
            self._ingest.step(POLL_MS if self._detect is None else POLL_MS // 2)
        if self._detect is not None:
            self._detect.step(POLL_MS if self._ingest is None else POLL_MS // 2)

    def _abandon(self) -> None:
        """Drop the stages without committing; what they did since the last commit is done again."""
        for stage in (self._ingest, self._detect):
            if stage is not None:
                stage.abandon()
        self._ingest = self._detect = None

    def _close(self) -> None:
        for stage in (self._ingest, self._detect):
            if stage is not None:
                try:
                    stage.close()
                except (ServiceError, KafkaError) as error:
                    log.warning("left without a last commit", cause=str(error))
        self._ingest = self._detect = None
