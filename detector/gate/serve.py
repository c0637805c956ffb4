"""Runs the gate: one event loop that answers, one thread that follows the decisions."""

import asyncio
import gc
import signal
import sys
import time
from collections.abc import Callable
from typing import Final

import structlog

from detector.clock import Clock, SystemClock
from detector.config import Config
from detector.errors import ConfigError, ServiceError
from detector.gate.files import FileSource
from detector.gate.follow import Follower, Source
from detector.gate.identity import Identity
from detector.gate.judge import Judge
from detector.gate.metrics import GateMetrics
from detector.gate.protocol import Desk, GateProtocol
from detector.gate.shelf import Shelf

__all__ = ["serve"]

BACKLOG: Final = 1024
SWEEP_S: Final = 5.0
SWITCH_S: Final = 0.001  # by default a request would wait 5 ms for the thread that reads or sweeps many decisions
SOURCES: Final = (
    "there are no decisions to obey: set [kafka] bootstrap_servers, or follow the decisions.jsonl of a run with "
    "--decisions FILE ([gate] decisions_file)"
)

log = structlog.get_logger(__name__)


def serve(config: Config, started: Callable[[int], None] = lambda _port: None) -> None:
    """Answer sub-requests until SIGINT or SIGTERM; `started` is called with the port.

    Raises `ConfigError` for settings that cannot be used, `ServiceError` when the address cannot be listened on.
    """
    clock = SystemClock()
    shelf = Shelf()
    identity = Identity(config.gate)
    follower = Follower(config.gate, _source(config, clock), shelf, identity, clock)
    judge = Judge(config.gate, shelf, identity, clock)

    def gauges() -> dict[str, float | dict[str, int]]:
        found = shelf.gauges(knows_addresses=config.gate.address_header is not None)
        return found | {"matched_decisions": float(len(judge.matched))}

    desk = Desk(config.gate, judge, shelf, GateMetrics(gauges))
    follower.start()
    gc.freeze()
    sys.setswitchinterval(SWITCH_S)
    try:
        asyncio.run(_listen(config, desk, started))
    finally:
        follower.stop()


def _source(config: Config, clock: Clock) -> Source:
    if config.gate.decisions_file is not None:
        return FileSource(config.gate.decisions_file, clock)
    if not config.kafka.bootstrap_servers:
        raise ConfigError(SOURCES)
    from detector.gate.topic import TopicSource  # noqa: PLC0415  # the Kafka client takes memory, and a file needs none

    return TopicSource(config.kafka, clock)


async def _listen(config: Config, desk: Desk, started: Callable[[int], None]) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    host, port = config.gate.host, config.gate.port
    try:
        server = await loop.create_server(lambda: GateProtocol(desk), host, port, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise ServiceError(
            f"cannot listen on {host}:{port}: {why}: set [gate] port (DETECTOR_GATE__PORT) to a free one, or to 0 for any"
        ) from error
    started(int(server.sockets[0].getsockname()[1]))
    async with server:
        while not ended.is_set():
            try:
                await asyncio.wait_for(ended.wait(), SWEEP_S)
            except TimeoutError:
                desk.sweep(time.monotonic())
        server.close()
        for connection in list(desk.open):
            connection.close()
    log.info("the gate has ended")
