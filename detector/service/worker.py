"""A worker: one process that runs one stage or all of them until it is asked to stop.

It survives a broker that is away: it logs that, waits, and tries again, with a pause that doubles up to 30 seconds. It also
waits if nothing listens when it starts. Settings that cannot work (wrong password, missing topic, state of another baseline)
end it with an error message. While another deployment is in force for its groups it stands by; see `deployment`.
"""

import socket
import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import structlog
from kafka.errors import KafkaError

from detector.baseline import unmeasured
from detector.baseline.store import Baseline
from detector.clock import Clock
from detector.config import Config
from detector.errors import FatalError, MemberFencedError, ServiceError
from detector.service import deployment
from detector.service.deliver.dependencies import Dependencies
from detector.service.deliver.stage import SHARE, Deliveries
from detector.service.deployment import Deployment, Peer
from detector.service.detect.stage import DetectStage
from detector.service.ingest.stage import IngestStage
from detector.service.kafka import topics as topics_of
from detector.service.kafka.connection import Connection
from detector.service.kafka.topics import Topics
from detector.service.kafka.watch import TopicMonitor
from detector.service.link.stage import LinkStage, link_group
from detector.service.reload import PolicyReloader
from detector.service.sharded.given import Given
from detector.service.sharded.references import references_of
from detector.service.telemetry.metrics import Metrics, StageName
from detector.sinks.registry import receivers

POLL_MS = 20
TURN_MS = 5  # of a poll where two stages take turns; with no wait at all, polls return fewer records
LONGEST_PAUSE_S = 30.0
LISTEN_S = 5.0
IDLE_S = 10.0  # without a record, after which we check that the broker is there
AWAY = "Kafka is away, trying again"
GONE = "a topic is missing, trying again"

log = structlog.get_logger(__name__)


class Stage(StrEnum):
    """What a worker runs; `SHIP` runs the deliveries, Elasticsearch included."""

    ALL = "all"
    INGEST = "ingest"
    DETECT = "detect"
    LINK = "link"
    SHIP = "ship"


OWN = (Stage.INGEST, Stage.DETECT, Stage.LINK)  # they make decisions, so one deployment at a time is in force for them


@dataclass(frozen=True, slots=True)
class Status:
    """The status of a worker, for health checks: `ticked_s` is when its loop last made progress (monotonic seconds).

    `degraded` says what does not work although the worker is ready; records that wait for it are kept. `refusing` says what is
    refused and goes unwatched.
    """

    ticked_s: float
    ready: bool
    read: int
    processed: int
    partitions: tuple[int, ...]
    degraded: str | None = None
    refusing: str | None = None


class Partitions(NamedTuple):
    """Over how many partitions the state of clients is spread, and that of links between them."""

    clients: int
    links: int


class Worker:
    """Runs the stages in turn, in one thread; see the module docstring. `member` makes it a static member of its groups.

    The `reloader`, where given, is asked for another policy between two batches.
    """

    def __init__(
        self,
        config: Config,
        baseline: Baseline | None,
        clock: Clock,
        *,
        stage: Stage = Stage.ALL,
        member: str | None = None,
        metrics: Metrics | None = None,
        reloader: PolicyReloader | None = None,
    ) -> None:
        self._config = config
        self._reloader = reloader
        self._baseline = baseline
        self._clock = clock
        self._runs = frozenset(OWN if stage == Stage.ALL else {stage})
        if config.kafka.keyed:
            self._runs -= {Stage.INGEST}
        if not references_of(config, baseline):
            self._runs -= {Stage.LINK}
        self._stage = stage
        self._receivers = receivers(config) if stage in {Stage.ALL, Stage.SHIP} else []
        self._member = member
        self._topics = Topics.under(config.kafka.prefix)
        self._ingest: IngestStage | None = None
        self._detect: DetectStage | None = None
        self._link: LinkStage | None = None
        self._deliveries: Deliveries | None = None
        self._metrics = metrics or Metrics()
        self._watch: TopicMonitor | None = None
        self._checked_s = time.monotonic()
        self._ours = Peer(Deployment.of(config, baseline), clock.now_ms())
        self._standing_by: str | None = None
        self._standing_since_s: float | None = None
        self._generations: tuple[int, ...] = ()

    def status(self) -> Status:
        """Return the status; may be called from another thread."""
        detect, ingest, link = self._detect, self._ingest, self._link
        stages = {Stage.INGEST: ingest, Stage.DETECT: detect, Stage.LINK: link}
        started = all(stage is not None for name, stage in stages.items() if name in self._runs)
        deliveries = self._deliveries
        troubles = [part.trouble for part in (self._watch, deliveries, link) if part is not None]
        troubles = [self._standing_by, *troubles, detect.learning.trouble if detect is not None else None]
        if self._stage == Stage.SHIP:  # elsewhere readiness does not wait for deliveries
            started = deliveries is not None and deliveries.ready
        return Status(
            ticked_s=self._metrics.beat_s,
            ready=self._standing_by is not None or (started and all(stage is None or stage.ready for stage in (detect, link))),
            read=ingest.read if ingest is not None else 0,
            processed=detect.processed if detect is not None else 0,
            partitions=tuple(detect.partitions) if detect is not None else (),
            degraded="; ".join(filter(None, troubles)) or None,
            refusing=next((stage.refusals.trouble for stage in (ingest, detect) if stage and stage.refusals.trouble), None),
        )

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set, then commit and leave.

        Raises `ServiceError` at the start when Kafka cannot be used with these settings, and later when another process has the
        same member name or another deployment stays; `SnapshotError` when the saved state cannot be used.
        """
        connection = Connection(self._config.kafka, self._ours.client_id)
        partitions = self._wait_for_broker(connection, stop)
        if partitions is not None:
            self._go_on(connection, partitions, stop)

    def _wait_for_broker(self, connection: Connection, stop: threading.Event) -> Partitions | None:
        """Return the numbers of partitions, once the broker is there; None when stopped before."""
        pause_s = 1.0
        while not stop.is_set():
            try:
                return self._check_topics(connection)
            except ServiceError as error:
                if isinstance(error, FatalError) or self._listens():
                    raise
                log.warning(AWAY, cause=str(error), in_seconds=pause_s)
                self._pause(stop, pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return None

    def _check_topics(self, connection: Connection) -> Partitions:
        admin = connection.admin()
        try:
            keyed = self._config.kafka.keyed and self._stage != Stage.SHIP
            inputs = self._config.kafka.input_topics if keyed or Stage.INGEST in self._runs else ()
            partitions = topics_of.check(admin, self._topics, inputs=inputs, keyed=keyed)
            return Partitions(partitions, topics_of.partitions_of(admin, [self._topics.links])[self._topics.links])
        except KafkaError as error:
            raise connection.failure(error, "the topics cannot be checked") from error
        finally:
            admin.close()

    def _go_on(self, connection: Connection, partitions: Partitions, stop: threading.Event) -> None:
        pause_s = 1.0
        self._watch = TopicMonitor(connection, self._watched())
        try:
            while not stop.is_set():
                try:
                    self._stand_by(connection, stop)
                    if stop.is_set():
                        return
                    self._open(connection, partitions, stop)
                    while not stop.is_set() and not self._has_to_leave(connection):
                        self._turn()
                        pause_s = 1.0
                except MemberFencedError as error:
                    self._abandon()
                    raise ServiceError(
                        f"another process took over as member {self._member!r} of group {self._config.kafka.group_id!r}: "
                        "give each process a member name of its own"
                    ) from error
                except (ServiceError, KafkaError) as error:
                    failure = (
                        error if isinstance(error, FatalError) else connection.failure(error, "the service cannot continue")
                    )
                    if isinstance(failure, FatalError):
                        self._abandon()
                        raise failure from error
                    self._watch.check()  # for a missing topic the client reports another cause
                    missing = self._watch.trouble
                    log.warning(AWAY if missing is None else GONE, cause=missing or str(error), in_seconds=pause_s)
                    self._abandon()
                    self._pause(stop, pause_s)
                    pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        finally:
            self._close()

    def _stand_by(self, connection: Connection, stop: threading.Event) -> None:
        """Wait until our settings are in force for the groups, or we are asked to stop.

        Raises `FatalError` when another deployment is still in force after `deployment.PATIENCE_S`.
        """
        if self._stage == Stage.SHIP:  # it delivers every decision, whichever deployment made it
            return
        told_s = float("-inf")
        while not stop.is_set() and (theirs := self._in_force(connection)) is not None:
            now = time.monotonic()
            self._standing_since_s = now if self._standing_since_s is None else self._standing_since_s
            self._metrics.degraded(self._role, {"deployment": True})
            kafka = self._config.kafka
            sentence = deployment.refusal(self._ours, theirs, kafka.prefix, kafka.group_id)
            if now > self._standing_since_s + deployment.PATIENCE_S:
                raise FatalError(sentence)
            self._standing_by = f"standing by: {sentence}"
            if now > told_s + deployment.TELL_EVERY_S:
                told_s = now
                log.warning(
                    "standing by", cause=sentence, ends_in_seconds=round(self._standing_since_s + deployment.PATIENCE_S - now)
                )
            self._pause(stop, deployment.ASK_EVERY_S)
        self._metrics.degraded(self._role, {"deployment": False})
        self._standing_by = self._standing_since_s = None

    @property
    def _role(self) -> StageName:
        return "ingest" if self._stage == Stage.INGEST else "link" if self._stage == Stage.LINK else "detect"

    def _in_force(self, connection: Connection) -> Peer | None:
        """Return a worker whose settings are in force for our groups instead of ours, if there is one."""
        group = self._config.kafka.group_id
        names = {Stage.INGEST: f"{group}.ingest", Stage.DETECT: group, Stage.LINK: link_group(group)}
        groups = [name for stage, name in names.items() if self._stage in {stage, Stage.ALL}]
        admin = connection.admin()
        try:
            siblings = None if self._member is None else self._member.rpartition("-")[0] + "-"
            return deployment.in_force(self._ours, deployment.peers(admin, groups), siblings)
        finally:
            admin.close()

    def _has_to_leave(self, connection: Connection) -> bool:
        """After each change of a group, check its members; leave before processing anything where others were first."""
        generations = tuple(stage.generation for stage in (self._ingest, self._detect, self._link) if stage is not None)
        if generations == self._generations:
            return False
        theirs = self._in_force(connection)
        self._generations = generations
        if theirs is not None:
            self._leave()
        return theirs is not None

    def _watched(self) -> list[str]:
        """Return the topics that the stages need."""
        reads = Stage.INGEST in self._runs or (self._config.kafka.keyed and Stage.DETECT in self._runs)
        return [*self._topics.policies(), *(self._config.kafka.input_topics if reads else ())]

    def _pause(self, stop: threading.Event, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not stop.is_set() and (left := until - time.monotonic()) > 0:
            self._metrics.beat()  # so that waiting does not look stuck
            stop.wait(min(left, 1.0))

    def _open(self, connection: Connection, partitions: Partitions, stop: threading.Event) -> None:
        clients, models = partitions
        if Stage.INGEST in self._runs and self._ingest is None:
            self._ingest = IngestStage(
                self._config, connection, self._topics, clients, self._clock, self._baseline, self._metrics, self._member
            )
            self._metrics.beat()
        if Stage.DETECT in self._runs and self._detect is None:
            self._detect = DetectStage(
                self._config,
                self._baseline,
                connection,
                self._topics,
                clients,
                self._clock,
                self._member,
                self._metrics,
                stop,
                models,
            )
            self._metrics.beat()
        if Stage.LINK in self._runs and self._link is None:
            given = Given(
                self._config,
                self._baseline,
                connection,
                self._topics,
                models,
                self._clock,
                self._member,
                self._metrics,
                stop,
            )
            self._link = LinkStage(given)
        if self._receivers and self._deliveries is None:
            share = 1.0 if self._stage == Stage.SHIP else SHARE / len(self._receivers)
            group = self._config.kafka.group_id
            dependencies = Dependencies(connection, self._topics, group, self._metrics, self._member, share)
            self._deliveries = Deliveries(self._receivers, dependencies)

    def _reload(self) -> None:
        """Take another policy, if there is one. A stage that is opened later begins with it."""
        config = None if self._reloader is None else self._reloader.due()
        if config is not None:
            self._config = config
            for sentence in unmeasured.tell(config, self._baseline):
                log.warning("budgets", finding=sentence)
            for stage in (self._detect, self._link):
                if stage is not None:
                    stage.adopt(config)

    def _turn(self) -> None:
        self._metrics.beat()
        self._reload()
        stages = [stage for stage in (self._ingest, self._detect, self._link) if stage is not None]
        wait_ms = POLL_MS if len(stages) < 2 else TURN_MS
        done = 0
        for stage in stages:
            # Links need not be found at once: where the others have work, they do not wait for sketches.
            done += stage.step(0 if stage is self._link and len(stages) > 1 else wait_ms)
        if self._deliveries is not None:
            self._deliveries.step(POLL_MS if self._stage == Stage.SHIP else 0)
        self._check_broker(idle=done == 0)

    def _check_broker(self, *, idle: bool) -> None:
        """Raise `ServiceError` when nothing has come since the broker is away: the client itself never reports that."""
        now = time.monotonic()
        if not idle:
            self._checked_s = now
        elif now > self._checked_s + IDLE_S:
            if not self._listens():
                raise ServiceError("nothing listens at any of [kafka] bootstrap_servers")
            self._checked_s = time.monotonic()

    def _listens(self) -> bool:
        """Return whether anything listens at one of the brokers. An invalid address counts, since the probe refuses it."""
        return any(map(_listens, self._config.kafka.bootstrap_servers))

    def _abandon(self) -> None:
        """Drop the stages without a commit; their uncommitted work is repeated. Deliveries restart by themselves."""
        for stage in (self._ingest, self._detect, self._link):
            if stage is not None:
                stage.abandon()
        self._ingest = self._detect = self._link = None

    def _leave(self) -> None:
        """Commit and leave the groups of the log and its queries."""
        stages = self._ingest, self._detect, self._link
        self._ingest = self._detect = self._link = None
        _closed(*stages)

    def _close(self) -> None:
        self._leave()
        _closed(self._deliveries)
        self._deliveries = None
        if self._watch is not None:
            self._watch.close()


def _closed(*stages: IngestStage | DetectStage | LinkStage | Deliveries | None) -> None:
    for stage in stages:
        if stage is not None:
            try:
                stage.close()
            except ServiceError as error:
                log.warning("closed without a last commit", cause=str(error))


def _listens(where: str) -> bool:
    host, _, port = where.rpartition(":")
    if not port.isdigit():
        return True
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=LISTEN_S).close()
    except (OSError, OverflowError):
        return False
    return True
