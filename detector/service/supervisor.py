"""The supervisor: runs the service as one worker in this process, or as several in processes of their own.

Python computes on one core per process, so a machine is filled by as many workers as it has cores; Kafka deals the partitions
out among them. A worker that dies is started anew, later each time; what it had not committed is done again. One that cannot
even start, three times in a row, has settings that cannot work: then everything ends, with the sentence it died with. So it
does at once where a new start is no use: a permission is missing, or another deployment is at work.

Each of several workers is a static member of the group, named after the group, the host and its number, so that a restart
within the session timeout moves no partitions. That is why only one supervisor of a group may run on a host; the second finds
the health ports taken. A single worker is a dynamic member: it is what an orchestrator runs, which gives each start another
host name. When it ends in order its partitions are somebody else's within a second, and when it dies, after its session.

Asked to end, a process ends within ten seconds whatever it does, waiting for a broker included; what it could not commit is
done again by whoever has its partitions next.
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
from types import FrameType
from typing import TypeAlias

import structlog

from detector.baseline.secret import known_seed, require
from detector.baseline.store import Baseline
from detector.clock import SystemClock
from detector.config import Config
from detector.engine.kernels import compiling
from detector.engine.warm import rehearse
from detector.errors import ConfigError, DetectorError, FatalError, ServiceError
from detector.service.telemetry import logs
from detector.service.telemetry.health import HealthServer
from detector.service.telemetry.metrics import Metrics
from detector.service.worker import Stage, Worker
from detector.sinks.registry import receivers

GRACE_S = 8.0
YOUNG_S = 30.0  # a worker that dies younger than this failed to start
MOST_FAILED_STARTS = 3
LONGEST_PAUSE_S = 30.0
SWITCH_S = 0.0005  # so long the threads of the Kafka clients wait for the one that computes; ten times as long by default
NO_USE = 3  # exit status of a worker that need not be started again

log = structlog.get_logger(__name__)

BaselineLoader: TypeAlias = Callable[[Config], Baseline | None]


def serve(config: Config, baseline_loader: BaselineLoader, *, stage: Stage = Stage.ALL, workers: int = 1) -> None:
    """Run the service until SIGTERM or SIGINT; return when it has ended in order. To be called from the main thread.

    `baseline_loader` is called in every worker, so it has to be a function of a module.

    Raises `ConfigError` when the settings name nothing to do, `ServiceError` (or what the loader raises) when a worker cannot
    start.
    """
    check(config, stage)
    start_logs(config)
    if workers == 1:
        _work(config, baseline_loader, stage, number=0, member=None, stop=_stop_on_signals())
    else:
        _Supervisor(config, baseline_loader, stage, workers).run(_stop_on_signals())


def check(config: Config, stage: Stage) -> None:
    """Raise `ConfigError` when a stage has nothing to read, or may not decide without a secret seed."""
    kafka = config.kafka
    if not kafka.bootstrap_servers:
        raise ConfigError("[kafka] bootstrap_servers is not set: there is no broker to run on")
    if kafka.keyed and stage == Stage.INGEST:
        raise ConfigError("[kafka] keyed is true, so there is no ingest stage: run --stage detect")
    if stage in {Stage.ALL, Stage.SHIP}:
        ready = receivers(config)  # a secret or certificate that cannot be used is told now
    if stage == Stage.SHIP:
        if not ready:
            raise ConfigError("neither [elasticsearch] hosts nor [[deliveries]] is set: there is nowhere to ship to")
        return
    require(config)
    if not kafka.input_topics and (kafka.keyed or stage != Stage.DETECT):
        raise ConfigError("[kafka] input_topics is empty: name the topics of the prediction logs")


def start_logs(config: Config) -> None:
    """Set up this process's logs as configured."""
    secrets = [*config.kafka.secrets(), *config.delivery_secrets()]
    logs.configure(config.service.log_level, seed=known_seed(config) or 0, secrets=secrets)
    for name in ("elastic_transport", "elasticsearch"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what fails there gets its sentence from us


def member_name(group: str, number: int) -> str:
    """Return the name of a static member: the same for each start on this host."""
    return f"{group}-{socket.gethostname()}-{number}"


def warm_up(baseline: Baseline | None, metrics: Metrics) -> None:
    """Load the kernels, and compile those that are not cached, before the group waits for us."""
    started = time.monotonic()
    compiled = 0

    def tell(_kernel: str) -> None:
        nonlocal compiled
        compiled += 1
        metrics.beat()
        if compiled == 1:
            log.info("compiling, once for this version: not ready until it is done")

    with compiling(tell):
        rehearse(baseline.models if baseline else None)
    if compiled:
        log.info("compiled", kernels=compiled, seconds=round(time.monotonic() - started, 1))


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()

    def ask(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    return stop


def _work(
    config: Config, load: BaselineLoader, stage: Stage, *, number: int, member: str | None, stop: threading.Event
) -> None:
    """Run one worker in this process, with its health server."""
    ended, warm = threading.Event(), threading.Event()
    threading.Thread(target=_see_it_end, args=(stop, ended), name="grace", daemon=True).start()
    try:
        metrics = Metrics()
        baseline = None if stage == Stage.SHIP else load(config)
        worker = Worker(config, baseline, SystemClock(), stage=stage, member=member, metrics=metrics)
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
                health_port=health.port,
            )
            if stage in {Stage.ALL, Stage.DETECT}:
                warm_up(baseline, metrics)
            warm.set()
            metrics.beat()
            gc.freeze()  # what is loaded by now stays; the collector need not walk it again
            sys.setswitchinterval(SWITCH_S)
            worker.run(stop)
    finally:
        ended.set()
    log.info("worker ended")


def _see_it_end(stop: threading.Event, ended: threading.Event) -> None:
    """End the process when it was asked to and cannot: a broker that is away holds commits up for minutes."""
    stop.wait()
    if not ended.wait(GRACE_S):
        log.warning("ended without a last commit: what came after the one before will be done again", waited_seconds=GRACE_S)
        os._exit(1)


def _child(config: Config, load: BaselineLoader, stage: Stage, number: int, last_words: Pipe) -> None:
    """Be a worker process: tell the parent the sentence of an error, and end when the parent has."""
    stop = _stop_on_signals()
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101  # this is a child

    def outlive_nobody() -> None:
        wait([parent.sentinel])
        stop.set()

    threading.Thread(target=outlive_nobody, name="parent", daemon=True).start()
    start_logs(config)
    try:
        _work(config, load, stage, number=number, member=member_name(config.kafka.group_id, number), stop=stop)
    except DetectorError as error:
        with suppress(OSError):
            last_words.send(str(error))
        raise SystemExit(NO_USE if isinstance(error, FatalError) else 1) from None


@dataclass(slots=True)
class _Post:
    """The place of one worker: who holds it, since when, and how its holders fared."""

    number: int
    process: BaseProcess | None = None
    ear: Pipe | None = None
    started_s: float = 0.0
    failed_starts: int = 0
    due_s: float = field(default=0.0)


class _Supervisor:
    """Keeps a number of workers running."""

    def __init__(self, config: Config, load: BaselineLoader, stage: Stage, workers: int) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._settings = (config, load, stage)
        self._posts = [_Post(number) for number in range(workers)]

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; raises `ServiceError` when a worker keeps dying at its start."""
        try:
            while not stop.is_set():
                for post in self._posts:
                    if post.process is None and time.monotonic() >= post.due_s:
                        self._start(post)
                # Signals set `stop` but do not end a wait for processes, so it is short.
                wait([post.process.sentinel for post in self._posts if post.process is not None], timeout=0.2)
                for post in self._posts:
                    if post.process is not None and not post.process.is_alive() and not stop.is_set():
                        self._mourn(post)
        finally:
            self._end()

    def _start(self, post: _Post) -> None:
        post.ear, mouth = self._context.Pipe(duplex=False)
        post.process = self._context.Process(
            target=_child, args=(*self._settings, post.number, mouth), name=f"worker-{post.number}"
        )
        post.process.start()
        mouth.close()
        post.started_s = time.monotonic()
        log.info("worker process started", number=post.number, process_id=post.process.pid)

    def _mourn(self, post: _Post) -> None:
        assert post.process is not None  # noqa: S101  # callers looked
        post.process.join()
        said = _heard(post.ear)
        young = time.monotonic() - post.started_s < YOUNG_S
        post.failed_starts = post.failed_starts + 1 if young else 1
        status = post.process.exitcode
        post.process = None
        if status == NO_USE or (young and post.failed_starts >= MOST_FAILED_STARTS):
            raise ServiceError(
                said or f"worker {post.number} cannot start: it ended {post.failed_starts} times, status {status}"
            )
        pause_s = min(2.0 ** (post.failed_starts - 1), LONGEST_PAUSE_S)
        post.due_s = time.monotonic() + pause_s
        log.warning("worker process died", number=post.number, status=status, cause=said, again_in_seconds=pause_s)

    def _end(self) -> None:
        """Ask every worker to end, wait as long as they have for it, and then end them."""
        living = [post.process for post in self._posts if post.process is not None]
        for process in living:
            process.terminate()
        until = time.monotonic() + GRACE_S + 1
        for process in living:
            process.join(max(until - time.monotonic(), 0.1))
            if process.is_alive():
                process.kill()
                process.join()


def _heard(ear: Pipe | None) -> str | None:
    if ear is None:
        return None
    with ear:
        try:
            return str(ear.recv()) if ear.poll() else None
        except (EOFError, OSError):
            return None
