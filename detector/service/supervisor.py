"""The supervisor: it runs the service as one worker in this process, or as several worker processes.

Python computes on one core per process, so a machine needs as many workers as it has cores; Kafka assigns the partitions to
them. A worker that dies is restarted, with a longer pause each time; uncommitted work is repeated. A worker that fails to start
three times in a row has settings that cannot work: the supervisor then ends with that worker's error message. It ends at once
where a restart is no use: a permission is missing, or another deployment is at work.

Each of several workers is a static member of the group, named after the group, the host and its number. A restart within the
session timeout then moves no partitions. So only one supervisor of a group may run on a host; a second one fails, since the
health ports are taken. A single worker is a dynamic member, as orchestrators give each start another host name. Another worker
gets its partitions within a second after an orderly end, and after the session timeout when it dies.

SIGHUP makes every worker read the policy again, see `reload`; a worker that is started later begins with the policy in force.

A process that is asked to end does so within ten seconds, even while it waits for a broker. The next owner of its partitions
repeats what it could not commit.
"""

import gc
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from types import FrameType
from typing import TypeAlias

import structlog

from detector.baseline import doubts, unmeasured
from detector.baseline.secret import known_seed, require
from detector.baseline.settings import policy_settings
from detector.baseline.store import Baseline
from detector.clock import SystemClock
from detector.config import Config
from detector.engine.kernels import compiling
from detector.engine.warm import rehearse
from detector.errors import ConfigError, DetectorError, FatalError, ServiceError
from detector.ingest.formats.routing import joining_formats
from detector.service.intake import Intake
from detector.service.reload import Asked, PolicyReloader, Reader
from detector.service.sharded.references import references_of
from detector.service.telemetry import logs
from detector.service.telemetry.health import HealthServer
from detector.service.telemetry.metrics import Metrics
from detector.service.worker import Stage, Worker
from detector.sinks.registry import receivers

GRACE_S = 8.0
YOUNG_S = 30.0  # a worker that dies within this time failed to start
MOST_FAILED_STARTS = 3
LONGEST_PAUSE_S = 30.0
SWITCH_S = 0.0005  # for which a Kafka client's thread waits for the computing one; Python's default is ten times as long
NO_USE = 3  # exit status of a worker that must not be restarted

log = structlog.get_logger(__name__)

BaselineLoader: TypeAlias = Callable[[Config], Baseline | None]


def serve(
    config: Config,
    baseline_loader: BaselineLoader,
    *,
    stage: Stage = Stage.ALL,
    workers: int = 1,
    reread: Reader | None = None,
) -> None:
    """Run the service until SIGTERM or SIGINT; return after an orderly end. Call it from the main thread.

    `baseline_loader` is called in every worker process, so it must be a module-level function. So is `reread`, which reads the
    configuration again on SIGHUP; without it SIGHUP is ignored.

    Raises `ConfigError` when the settings name nothing to do, `ServiceError` (or what the loader raises) when a worker cannot
    start.
    """
    check(config, stage)
    start_logs(config)
    if workers > 1 and stage in {Stage.ALL, Stage.INGEST} and (apart := joining_formats(config, config.kafka.input_topics)):
        log.warning(
            "requests and answers are joined only where one worker reads both: let both have one key, or run one ingest worker",
            formats=apart,
            workers=workers,
        )
    asked = _asked_by_signal()
    if workers == 1:
        reload = None if reread is None else (asked, reread)
        _work(config, baseline_loader, stage, number=0, member=None, stop=_stop_on_signals(), reload=reload)
    else:
        _Supervisor(config, baseline_loader, stage, workers, reread).run(_stop_on_signals(), asked)


def check(config: Config, stage: Stage) -> None:
    """Raise `ConfigError` when a stage has nothing to read, or lacks the secret seed that decisions need."""
    kafka = config.kafka
    if not kafka.bootstrap_servers:
        raise ConfigError("[kafka] bootstrap_servers is not set: there is no broker to run on")
    if kafka.keyed and stage == Stage.INGEST:
        raise ConfigError("[kafka] keyed is true, so there is no ingest stage: run --stage detect")
    if stage in {Stage.ALL, Stage.SHIP}:
        ready = receivers(config)  # so that an unusable secret or certificate is reported before the start
    if stage == Stage.SHIP:
        if not ready:
            raise ConfigError("neither [elasticsearch] hosts nor [[deliveries]] is set: there is nowhere to deliver to")
        return
    require(config)
    if kafka.keyed and (apart := joining_formats(config, kafka.input_topics)):
        raise ConfigError(
            f"[kafka] keyed is true, and the format {apart[0]} logs requests and answers apart, which only the ingest "
            "stage joins: set keyed = false"
        )
    if not kafka.input_topics and stage != Stage.LINK and (kafka.keyed or stage != Stage.DETECT):
        raise ConfigError("[kafka] input_topics is empty: name the topics of the prediction logs")


def start_logs(config: Config) -> None:
    """Set up this process's logs as configured."""
    secrets = [*config.kafka.secrets(), config.intake.secret(), *config.delivery_secrets()]
    logs.configure(config.service.log_level, seed=known_seed(config) or 0, secrets=secrets)
    for name in ("elastic_transport", "elasticsearch"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # we report these errors ourselves


def member_name(group: str, number: int) -> str:
    """Return the name of a static member: the same for each start on this host."""
    return f"{group}-{socket.gethostname()}-{number}"


def warm_up(baseline: Baseline | None, metrics: Metrics) -> None:
    """Load the kernels, and compile those that are not cached, before joining the group."""
    started = time.monotonic()
    compiled = 0

    def tell(_kernel: str) -> None:
        nonlocal compiled
        compiled += 1
        metrics.beat()
        if compiled == 1:
            log.info("compiling kernels, once for this version: not ready until this is done")

    with compiling(tell):
        rehearse(baseline.models if baseline else None)
    if compiled:
        log.info("kernels compiled", kernels=compiled, seconds=round(time.monotonic() - started, 1))


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()

    def ask(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    return stop


def _asked_by_signal() -> threading.Event:
    """Return an event that SIGHUP sets."""
    asked = threading.Event()

    def ask(_signal: int, _frame: FrameType | None) -> None:
        asked.set()

    signal.signal(signal.SIGHUP, ask)
    return asked


def _work(
    config: Config,
    load: BaselineLoader,
    stage: Stage,
    *,
    number: int,
    member: str | None,
    stop: threading.Event,
    reload: tuple[Asked, Reader] | None = None,
) -> None:
    """Run one worker in this process, with its health server."""
    ended, warm = threading.Event(), threading.Event()
    threading.Thread(target=_enforce_grace, args=(stop, ended), name="grace", daemon=True).start()
    try:
        metrics = Metrics()
        baseline = None if stage == Stage.SHIP else load(config)
        if stage == Stage.LINK and not references_of(config, baseline):
            raise ConfigError(
                "there is nothing to do for this stage: links are sought in models with a baseline ([baseline] path), where "
                "[links] enabled is true"
            )
        reloader = None if reload is None else PolicyReloader(config, *reload, metrics)
        worker = Worker(config, baseline, SystemClock(), stage=stage, member=member, metrics=metrics, reloader=reloader)
        with HealthServer(
            config.service,
            metrics,
            lambda: worker.status().ready,
            offset=number,
            degraded=lambda: worker.status().degraded,
            refusing=lambda: worker.status().refusing,
            starting=lambda: None if warm.is_set() else "compiling",
        ) as health:
            log.info(
                "worker starts",
                stage=stage.value,
                member=member,
                baseline=baseline.version if baseline else None,
                shadow=config.policy.shadow,
                policy=policy_settings(config).version,
                health_port=health.port,
            )
            if baseline and number == 0:
                for model, notes in baseline.notes.items():
                    for sentence in doubts.tell(notes):
                        log.warning("baseline", model=model, finding=sentence)
            for sentence in unmeasured.tell(config, baseline) if number == 0 else ():
                log.warning("budgets", finding=sentence)
            if stage in {Stage.ALL, Stage.DETECT, Stage.LINK}:
                warm_up(baseline, metrics)
            warm.set()
            metrics.beat()
            gc.freeze()  # what is loaded by now stays; the collector need not walk it again
            sys.setswitchinterval(SWITCH_S)
            with Intake(config, metrics, offset=number):
                worker.run(stop)
    finally:
        ended.set()
    log.info("worker ended")


def _enforce_grace(stop: threading.Event, ended: threading.Event) -> None:
    """End the process when it does not end by itself: a broker that is away delays commits for minutes."""
    stop.wait()
    if not ended.wait(GRACE_S):
        log.warning("ended without a last commit: uncommitted work will be repeated", waited_seconds=GRACE_S)
        os._exit(1)


def _child(
    config: Config, load: BaselineLoader, stage: Stage, number: int, messages: Pipe, reload: tuple[Asked, Reader] | None
) -> None:
    """Run as a worker process: send the message of an error to the parent, and end when the parent has ended."""
    stop = _stop_on_signals()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the parent says when
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101  # this is a child

    def end_with_parent() -> None:
        wait([parent.sentinel])
        stop.set()

    threading.Thread(target=end_with_parent, name="parent", daemon=True).start()
    start_logs(config)
    try:
        member = member_name(config.kafka.group_id, number)
        _work(config, load, stage, number=number, member=member, stop=stop, reload=reload)
    except DetectorError as error:
        with suppress(OSError):
            messages.send(str(error))
        raise SystemExit(NO_USE if isinstance(error, FatalError) else 1) from None


@dataclass(slots=True)
class _Slot:
    """One worker's slot: its process, when that started, and how often it failed to start."""

    number: int
    process: BaseProcess | None = None
    receiving: Pipe | None = None
    asked: Event | None = None
    started_s: float = 0.0
    failed_starts: int = 0
    due_s: float = field(default=0.0)


class _Supervisor:
    """Keeps a fixed number of worker processes running."""

    def __init__(self, config: Config, load: BaselineLoader, stage: Stage, workers: int, reread: Reader | None) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._config = config
        self._settings = (load, stage)
        self._reread = reread
        self._slots = [_Slot(number) for number in range(workers)]

    def run(self, stop: threading.Event, asked: threading.Event) -> None:
        """Work until `stop` is set; raises `ServiceError` when a worker keeps dying at its start.

        While `asked` is set, the workers are told to read the policy again.
        """
        reloader = None if self._reread is None else PolicyReloader(self._config, asked, self._reread)
        try:
            while not stop.is_set():
                if reloader is not None and asked.is_set():
                    self._config = reloader.due() or self._config
                    for slot in self._slots:
                        if slot.asked is not None:
                            slot.asked.set()
                for slot in self._slots:
                    if slot.process is None and time.monotonic() >= slot.due_s:
                        self._start(slot)
                # Signals set `stop` but do not end a wait for processes, so it is short.
                wait([slot.process.sentinel for slot in self._slots if slot.process is not None], timeout=0.2)
                for slot in self._slots:
                    if slot.process is not None and not slot.process.is_alive() and not stop.is_set():
                        self._handle_death(slot)
        finally:
            self._end()

    def _start(self, slot: _Slot) -> None:
        slot.receiving, sending = self._context.Pipe(duplex=False)
        slot.asked = self._context.Event()
        reload = None if self._reread is None else (slot.asked, self._reread)
        slot.process = self._context.Process(
            target=_child,
            args=(self._config, *self._settings, slot.number, sending, reload),
            name=f"worker-{slot.number}",
        )
        slot.process.start()
        sending.close()
        slot.started_s = time.monotonic()
        log.info("worker process started", number=slot.number, process_id=slot.process.pid)

    def _handle_death(self, slot: _Slot) -> None:
        assert slot.process is not None  # noqa: S101  # callers have checked
        slot.process.join()
        said = _message_of(slot.receiving)
        young = time.monotonic() - slot.started_s < YOUNG_S
        slot.failed_starts = slot.failed_starts + 1 if young else 1
        status = slot.process.exitcode
        slot.process = None
        if status == NO_USE or (young and slot.failed_starts >= MOST_FAILED_STARTS):
            raise ServiceError(
                said or f"worker {slot.number} cannot start: it ended {slot.failed_starts} times, status {status}"
            )
        pause_s = min(2.0 ** (slot.failed_starts - 1), LONGEST_PAUSE_S)
        slot.due_s = time.monotonic() + pause_s
        log.warning("worker process died", number=slot.number, status=status, cause=said, again_in_seconds=pause_s)

    def _end(self) -> None:
        """Ask every worker to end, wait for the grace period, then kill those still running."""
        living = [slot.process for slot in self._slots if slot.process is not None]
        for process in living:
            process.terminate()
        until = time.monotonic() + GRACE_S + 1
        for process in living:
            process.join(max(until - time.monotonic(), 0.1))
            if process.is_alive():
                process.kill()
                process.join()


def _message_of(receiving: Pipe | None) -> str | None:
    if receiving is None:
        return None
    with receiving:
        try:
            return str(receiving.recv()) if receiving.poll() else None
        except (EOFError, OSError):
            return None
